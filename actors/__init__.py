"""The pykka runtime, and one thin actor per concept.

| file | owns |
|---|---|
| `runtime.py`, `mailbox.py`, `future.py` | `LoopActor`, its mailbox and ref, what an ask answers with |
| `dispatchers.py`, `ports.py`, `thread_names.py` | who runs actors, and how they reach the world |
| `supervisor.py` | actors that failed are started anew |
| `simulation.py`, `simulated_network.py` | the same actors in virtual time, from a seed |
| `messages.py` | what is said to a partition |
| `partition.py`, `partition_appends.py`, `admission.py` | one replica of a partition: what it appends, as leader |
| `follower.py` | and as follower |
| `waiting.py`, `held.py`, `partition_flushes.py` | who and what waits, for what; when it is flushed |
| `upkeep.py`, `log_jobs.py`, `producer_loading.py` | its log's upkeep, and what of it is done on the disk's threads |
| `partition_ports.py`, `refusals.py` | how a partition reaches the world, and what is told when the disk refuses |
| `replica_fetcher.py` | copies a partition from its leader |
| `controller.py`, `controller_ports.py`, `metadata_log.py` | the cluster's metadata |
| `metadata_recovery.py` | and its log, once a flush has failed |
| `group_coordinator.py` | the groups of one partition of `__consumer_offsets` |
| `coordinator_appends.py`, `coordinator_log.py` | what it decided, on its way into the log; the log |
| `disk.py`, `exporter.py` | what waits for the disk; what is told of the broker |
| `log_cleaner.py`, `cleaner_worker.py` | which log is compacted next; a round of it, on a thread |
"""
