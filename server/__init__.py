"""Listener, connections, one handler file per group of APIs, node assembly.

| file | owns |
|---|---|
| `connection.py` | one client: requests to their handlers |
| `frames.py`, `receive_buffer.py` | received bytes to frames; the memory they stay in |
| `responses.py`, `response_slot.py` | the responses, in the order of the requests; one of them |
| `file_sender.py` | ranges of files on a connection's socket |
| `listener.py` | the listening socket |
| `apis.py`, `served_apis.py` | what an API is; the table of all that are served |
| `handlers/` | one file for each group of APIs |
| `slices.py` | large requests and answers worked on in slices, others in between |
| `fetch_response.py`, `fetch_sessions.py` | the response to a Fetch; what consumers read (KIP-227) |
| `fetch_reads.py` | how one partition is read for them |
| `partitions.py` | a partition, as requests find it |
| `partition_table.py` | the partitions of this node, their actors, their recovery |
| `large_changes.py` | many new partitions or settings, acted on in slices |
| `unopened.py` | partitions whose logs the disk would not open: tried again until it does |
| `group_coordinators.py` | the group coordinators of this node |
| `encoded_offsets.py` | OffsetFetch's answers about whole groups, kept as bytes until a commit changes them |
| `controller.py` | the controller of this node: its log, what is asked of it |
| `log_cleaning.py` | the log cleaner of this node |
| `data_store.py` | the data directory and the logs in it |
| `node.py` | one broker put together: start, stop |
| `stopping.py`, `off_the_loop.py` | what a stop waits for, and how long; what waits for a disk, awaited on the loop |
| `telemetry.py`, `teller.py` | what a node tells of itself: collected on the loop, told on a thread |
| `state_rounds.py`, `metrics.py`, `group_lag.py` | what it looks at for that |
| `own_topics.py`, `exporters.py`, `exports_wanted.py` | where it tells it |
| `embedded.py`, `pytest_plugin.py` | a broker inside another program, and in a test |
| `serve.py`, `options.py`, `listeners.py` | a broker as a process; where it listens |
| `replica_fetchers.py`, `replica_fetch_port.py` | which partitions are copied, and how a follower reaches its leader |
| `topic_settings.py`, `operations.py` | what configs mean below; the operations that answers name |
| `message_types.py`, `error_responses.py`, `requests.py`, `event_loop.py` | helpers of the handlers |
| `replies.py` | an actor's answer, awaited on the loop |
| `repeated_request.py`, `repeated_*.py` | requests that come again, nearly the same |
| `produce_response.py` | the response to a Produce, made of its partitions' answers |
"""
