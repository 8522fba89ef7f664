"""An async Kafka client, shared by the command line and the brokers.

| folder | owns |
|---|---|
| `decoding/` | keys and values as something a person or a filter can use |
| `registry/` | schema registries |
"""
