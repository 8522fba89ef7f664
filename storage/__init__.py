"""Arrow segments, the partition log, checkpoints, recovery."""
