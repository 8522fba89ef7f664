"""What every other folder speaks of: ids, errors, configs. No I/O, and nothing of ours above it.

| file | owns |
|---|---|
| `ids.py` | the identifiers, as types |
| `errors.py` | Kafka's error codes, and the exceptions that carry one |
| `configs.py` | what a config is: key, type, range, layers |
| `configs_topic.py`, `configs_topic_keys.py` | topic configs: as typed settings; the table of Kafka's keys |
| `configs_broker.py`, `configs_broker_keys.py` | broker configs: as typed settings; all keys in one table |
| `configs_broker_node.py`, `configs_broker_log.py`, `configs_broker_coordinators.py` | its rows |
| `configs_resource.py`, `configs_unused.py` | configs of groups and metric subscriptions; keys that are ignored |
| `own_topics.py` | the topics in which a klamm broker tells about itself |
| `properties.py` | the syntax of `.properties` files |
| `version.py` | the version of klamm |
"""
