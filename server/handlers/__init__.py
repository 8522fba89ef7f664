"""What each API answers: one file for each group of APIs, named in ``server/served_apis.py``.

| file | answers |
|---|---|
| `api_versions.py` | ApiVersions |
| `produce.py`, `fetch.py` | Produce and Fetch: the data path, over codecs and response slots of their own |
| `list_offsets.py` | ListOffsets, OffsetForLeaderEpoch |
| `producer_ids.py` | InitProducerId |
| `metadata.py`, `topic_partitions.py` | Metadata, DescribeTopicPartitions |
| `cluster.py` | DescribeCluster, DescribeQuorum, DescribeLogDirs |
| `topics.py`, `partitions.py`, `configs.py` | what changes or tells topics, partitions and configs |
| `groups.py` | groups: FindCoordinator to DeleteGroups |
| `heartbeat.py`, `offset_commit.py`, `offset_fetch.py` | what members ask often, over codecs of their own |
| `client_metrics.py` | clients' own metrics (KIP-714) |
"""
