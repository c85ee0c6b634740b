"""One run: its folder, its supervisor, its referee; from launch to what is left of it."""
