"""An async Kafka client, and every operation on a cluster: what the command line and the screens are two faces of.

Nothing here prints, asks or draws. An operation takes a :class:`~klamm.client.cluster.Cluster` and returns what it
found, and the errors beside it: one broker, group or partition that fails harms no other.

**Reaching a cluster**

| file | owns |
|---|---|
| `contexts.py`, `context_file.py`, `settings.py`, `secrets.py` | from flags, environment and files to settings |
| `property_names.py`, `importers.py` | properties that clients have; other tools' files made into contexts |
| `folders.py` | where this user's files are |
| `connection.py`, `sasl.py`, `tls.py` | one connection: opened step by step, requests pipelined, why it failed |
| `cluster.py` | all connections, who leads and coordinates, and the gate that every change passes |
| `requests.py`, `errors.py`, `text.py` | what operations share: requests, errors, how things are written |
| `*wire.py`, `wire_reader.py` | exchanges written by hand: importing `kio` takes longer than a broker to answer |
| `answers.py`, `offsets_watch.py` | what is asked again and again: the same answer is not decoded again |
| `doctor.py` | why a cluster does not answer |

**Operations, by what they are about**

| file | owns |
|---|---|
| `clusters.py`, `cluster_rights.py` | brokers, quorum, features; what the user may do with all of it |
| `state.py` | what klamm brokers tell about themselves |
| `topics.py`, `topic_sample.py`, `blast.py` | topics; a sample of their records; what hangs on one |
| `partitions.py` | leaders and moves |
| `configs.py`, `acls.py`, `users.py`, `quotas.py`, `transactions.py` | one file each |
| `offsets.py`, `positions.py` | offsets of partitions; `-1h`, `+100`, `@TIME` as offsets |
| `groups.py`, `committed.py` | groups and their members; what they have committed |
| `lag.py`, `lag_commits.py`, `lag_report.py` | lag of groups: read, and what it amounts to |
| `lag_times.py`, `lag_history.py`, `lag_watch.py` | lag as time, and over time |
| `copying.py`, `cloning.py` | a topic's records into another; a topic made like another |
| `resending.py`, `redriving.py` | records sent again: single ones, dead letters |

**Changes, and how they are taken back**

| file | owns |
|---|---|
| `guard.py` | how much has to be confirmed before a change, and what came of it |
| `deleting.py` | topics and their oldest records deleted; changes of quotas, clones, … are planned in those files |
| `operations.py`, `journal.py`, `undo.py`, `redo.py` | what takes a change back: as data, kept, carried out, undone |
| `declared*.py`, `reconcile*.py`, `steps.py` | declarative files: read, compared with what is there, carried out |

**Folders**

| folder | owns |
|---|---|
| `messages/` | records: fetched raw, searched, written without loss, sent |
| `decoding/` | keys and values as something a person or a filter can use |
| `registry/` | schema registries |
| `tracing/` | the life of one message |
| `recording/`, `in_process.py` | a cluster's state sampled into Arrow files; served again as a cluster |
"""
