"""What every other folder speaks of: ids, errors, configs. No I/O, and nothing of ours above it.

| file | owns |
|---|---|
| `ids.py` | the identifiers, as types |
| `errors.py` | Kafka's error codes, and the exceptions that carry one |
| `configs.py` | topic and broker configs: Kafka's key names, defaults, ranges, documentation |
"""
