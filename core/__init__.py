"""Every rule as a pure state machine: event in, effects out. No socket, file, thread, clock or randomness.

| file | decides |
|---|---|
| `partition.py` | who may append, at which offset; the high watermark |
| `append_refusals.py` | what a producer is told whose batch a topic's configs refuse |
| `producer_state.py` | sequences of idempotent producers, and duplicates |
| `log_cleaning.py` | which log is compacted next, and how far |
| `replica_fetcher.py` | what a follower asks its leader for, and where their logs part |
| `controller*.py` | topics, partitions, configs, brokers |
| `metadata_*.py` | what the metadata log says, the picture it gives, what changed |
| `client_metrics.py` | who is to push which metrics when (KIP-714) |
| `effective_configs.py` | which of a config's layers counts |
| `steps.py` | decisions about many things, in steps |
| `groups/` | consumer groups and committed offsets |
"""
