"""An async Kafka client, shared by the command line and the brokers.

| folder | owns |
|---|---|
| `lag*.py` | lag of groups: read (`lag.py`), what it means (`lag_report.py`), over time (`lag_history.py`) |
| `*_wire.py`, `wire_reader.py` | exchanges written by hand: importing `kio` takes longer than a broker to answer |
| `journal.py`, `undo.py`, `redo.py` | what was changed, how it is taken back, and made again |
| `declared*.py`, `reconcile*.py`, `steps.py` | declarative files: read, compared with what is there, carried out |
| `recording/` | a cluster's state sampled into Arrow files, and served again as a cluster |
| `answers.py`, `offsets_watch.py` | what is asked again and again: the same answer is not decoded again |
| `in_process.py` | a cluster that a function answers for, on which every operation works |
| `decoding/` | keys and values as something a person or a filter can use |
| `registry/` | schema registries |
| `messages/` | records: fetched raw, searched, written without loss, sent |
"""
