"""The bench's own arithmetic: a wrong ratio would praise or blame the broker for nothing."""
