"""Arrow segments, the partition log, checkpoints, recovery.

| file | owns |
|---|---|
| `partition_log.py`, `segmented_log.py` | the log of one partition: what a partition's owner calls |
| `log_directory.py` | the data directory: lock, format version, checkpoint, clean-shutdown marker |
| `filesystem.py` | the only way to files |
| `disk_filesystem.py`, `memory_filesystem.py`, `faulty_filesystem.py` | to the disk's, to memory, to a bad disk's |
| `log_opening.py`, `log_reading.py`, `log_state.py` | how a log is opened, how it is read, what it says of itself |
| `file_removal.py` | large files that were removed, given back to the disk bit by bit |
| `segment.py`, `segment_ends.py` | one segment: append and read; close it, cut it short |
| `segment_file.py`, `file_watch.py` | its file, open or not; what others do to it |
| `slicing.py`, `group_walk.py`, `verified_ranges.py` | cutting what a fetch sends out of row groups; walking them |
| `file_ranges.py`, `page_cache.py`, `read_buffers.py` | what a fetch sends unread; memory to read into |
| `arrow_format.py`, `row_group.py`, `footer.py`, `row.py`, `flatbuffer.py` | the bytes of a segment |
| `index.py`, `timestamps.py` | finding offsets and times |
| `recovery.py` | the walk after an unclean stop, and the quarantine |
| `cleaning.py`, `cleaned.py`, `offset_map.py` | compaction: one round over a log; the last offset of each key |
| `retention.py`, `epochs.py`, `snapshots.py`, `checkpoint.py` | what is too old; epochs, producers, all logs' states |
| `handles.py`, `settings.py`, `errors.py` | open files, what may be set, what can go wrong |
| `inspect.py`, `known_segments.py` | looking into a data directory without a broker; what should be there |

A log opens through `LogDirectory.open(filesystem, path)` and `PartitionLog.open(directory.handles, …)`. Nothing here
imports pyarrow: any Arrow reader opens a sealed segment, none is needed to make one.
"""
