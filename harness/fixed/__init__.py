"""What stands behind prepare.py. The folder is locked: only train.py changes.

settings            what was asked for: a profile, a budget, a data set, from the environment
store               where data lies, and the manifest of what is there
port                a run's side of its referee
tokenizer, loader   what a run reads: the tokenizer, batches, rows
corpus, encode      text to shards, and which of it is scored; shards to a tokenizer, tokens and rows
attention, lean     attention over windows; operations that take less memory
backends            the attention kernels, and the first correct one
device, meter       what the hardware can do; the clock, the progress line and the summary of a run
probes, referee     what the referee asks, to find look-ahead and memory; the referee, a process of its own

Each imports from those above it alone, and none imports prepare.py or train.py.
"""
