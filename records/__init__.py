"""Record batch v2: header, checksum, records, compression. No I/O.

| file | owns |
|---|---|
| `batch.py` | the header of a batch, its checks, and what a broker changes in place |
| `checksum.py` | CRC-32C |
| `compression.py` | the codecs, in the framings of Kafka clients, with a limit on what comes out |
| `record.py` | records inside a batch, decoded and encoded; batches that the broker writes |
| `rewrite.py` | what a topic's config may make of a produced batch |
| `compaction.py` | what compaction makes of a batch |
| `schema_codec.py` | how Kafka's generated record schemas are laid out |
| `offsets_schema.py` | the records of `__consumer_offsets` |
| `commit_batch.py` | the batch of a commit that comes again |
| `share_groups_schema.py` | those of share groups there |
| `streams_groups_schema.py` | those of streams groups |
| `transactions_schema.py` | the records of `__transaction_state` |
| `flow_schema.py`, `state_schema.py` | the records of `__klamm_flow` and `__klamm_state` |
| `group_partition.py` | which partition of `__consumer_offsets` a group is in |
"""
