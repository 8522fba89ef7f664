"""What the broker tells about itself: its own topics, metrics, traces."""
