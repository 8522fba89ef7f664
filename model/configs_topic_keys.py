"""The table of topic configs: Kafka's 33 keys.

Defaults and ranges are Apache Kafka 4.3's. Keys whose documentation says "Accepted" change nothing here; Kafka has
them, so tools that copy a topic's configs must be able to set them.
"""

from __future__ import annotations

from typing import Any, Final

from klamm.model.configs import LONG_MAX, ConfigKey, ConfigType, Synonym, UpdateMode, table

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
RECORD_BATCH_OVERHEAD_BYTES: Final = 12  # Kafka counts base offset and length on top of 1 MiB
SEGMENT_BYTES_MIN: Final = 1_048_576  # since Kafka 4.0 (KIP-1030)


def _key(
    name: str,
    kind: ConfigType,
    default: str,
    documentation: str,
    *synonyms: str | Synonym,
    **limits: Any,  # noqa: ANN401 - handed on to ConfigKey, which types them
) -> ConfigKey:
    named = tuple(Synonym(one) if isinstance(one, str) else one for one in synonyms)
    return ConfigKey(name, kind, default, documentation, synonyms=named, update_mode=UpdateMode.DYNAMIC, **limits)


_BOOLEAN, _STRING, _INT, _LONG = ConfigType.BOOLEAN, ConfigType.STRING, ConfigType.INT, ConfigType.LONG
_DOUBLE, _LIST = ConfigType.DOUBLE, ConfigType.LIST
_FOREVER: Final = str(LONG_MAX)
_THROTTLED: Final = r"[0-9]+:[0-9]+"
COMPRESSION_TYPES: Final = ("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer")
TIMESTAMP_TYPES: Final = ("CreateTime", "LogAppendTime")

TOPIC_CONFIGS: Final = table(
    [
        _key(
            "cleanup.policy",
            _LIST,
            "delete",
            "What becomes of old segments: 'delete' drops them by age and size, 'compact' keeps the last record of "
            "each key. Both can be named; an empty list keeps everything.",
            "log.cleanup.policy",
            choices=("compact", "delete"),
        ),
        _key(
            "compression.gzip.level",
            _INT,
            "-1",
            "Level used when compression.type is gzip; -1 is the codec's own default. "
            "Accepted: it is always the codec's own.",
            "compression.gzip.level",
            minimum=1,
            maximum=9,
            exception=-1,
        ),
        _key(
            "compression.lz4.level",
            _INT,
            "9",
            "Level used when compression.type is lz4. Accepted: it is always the codec's own.",
            "compression.lz4.level",
            minimum=1,
            maximum=17,
        ),
        _key(
            "compression.type",
            _STRING,
            "producer",
            "How record batches are kept: 'producer' as they came, 'uncompressed', or re-compressed with the named "
            "codec where they came otherwise.",
            "compression.type",
            choices=COMPRESSION_TYPES,
        ),
        _key(
            "compression.zstd.level",
            _INT,
            "3",
            "Level used when compression.type is zstd. Accepted: it is always the codec's own.",
            "compression.zstd.level",
            minimum=-131_072,
            maximum=22,
        ),
        _key(
            "delete.retention.ms",
            _LONG,
            str(DAY_MS),
            "How long a delete marker stays in a compacted log, so that readers from the start can see it.",
            "log.cleaner.delete.retention.ms",
            minimum=0,
        ),
        _key(
            "file.delete.delay.ms",
            _LONG,
            str(MINUTE_MS),
            "How long a segment dropped from the log stays on disk. Accepted.",
            "log.segment.delete.delay.ms",
            minimum=0,
        ),
        _key(
            "flush.messages",
            _LONG,
            _FOREVER,
            "Flush to disk after this many records. 1 flushes every append.",
            "log.flush.interval.messages",
            minimum=1,
        ),
        _key(
            "flush.ms",
            _LONG,
            _FOREVER,
            "Flush to disk when a record has waited this long.",
            "log.flush.interval.ms",
            "log.flush.scheduler.interval.ms",
            minimum=0,
        ),
        _key(
            "follower.replication.throttled.replicas",
            _LIST,
            "",
            "Followers whose replication is throttled, as partition:broker pairs, or * for all. "
            "Accepted: one broker is the cluster.",
            pattern=_THROTTLED,
        ),
        _key(
            "index.interval.bytes",
            _INT,
            "4096",
            "Bytes between two entries of the offset index. Accepted: the index is in the segment's footer.",
            "log.index.interval.bytes",
            minimum=0,
        ),
        _key(
            "leader.replication.throttled.replicas",
            _LIST,
            "",
            "Leaders whose replication is throttled, as partition:broker pairs, or * for all. "
            "Accepted: one broker is the cluster.",
            pattern=_THROTTLED,
        ),
        _key(
            "local.retention.bytes",
            _LONG,
            "-2",
            "Size kept locally when older segments are in remote storage; -2 means retention.bytes. Accepted: there is "
            "no remote storage.",
            "log.local.retention.bytes",
            minimum=-2,
        ),
        _key(
            "local.retention.ms",
            _LONG,
            "-2",
            "Time kept locally when older segments are in remote storage; -2 means retention.ms. Accepted: there is no "
            "remote storage.",
            "log.local.retention.ms",
            minimum=-2,
        ),
        _key(
            "max.compaction.lag.ms",
            _LONG,
            _FOREVER,
            "The longest that a record of a compacted topic may stay uncompacted.",
            "log.cleaner.max.compaction.lag.ms",
            minimum=1,
        ),
        _key(
            "max.message.bytes",
            _INT,
            str(1_048_576 + RECORD_BATCH_OVERHEAD_BYTES),
            "The largest record batch accepted, after compression.",
            "message.max.bytes",
            minimum=0,
        ),
        _key(
            "message.timestamp.after.max.ms",
            _LONG,
            str(HOUR_MS),
            "How far in the future of the broker's clock a record's CreateTime may lie.",
            "log.message.timestamp.after.max.ms",
            minimum=0,
        ),
        _key(
            "message.timestamp.before.max.ms",
            _LONG,
            _FOREVER,
            "How far in the past of the broker's clock a record's CreateTime may lie.",
            "log.message.timestamp.before.max.ms",
            minimum=0,
        ),
        _key(
            "message.timestamp.type",
            _STRING,
            "CreateTime",
            "Whether a record keeps its producer's time or gets the time of its append.",
            "log.message.timestamp.type",
            choices=TIMESTAMP_TYPES,
        ),
        _key(
            "min.cleanable.dirty.ratio",
            _DOUBLE,
            "0.5",
            "The share of a compacted log that must be uncompacted before it is compacted again.",
            "log.cleaner.min.cleanable.ratio",
            minimum=0,
            maximum=1,
        ),
        _key(
            "min.compaction.lag.ms",
            _LONG,
            "0",
            "How long a record of a compacted topic stays uncompacted at least.",
            "log.cleaner.min.compaction.lag.ms",
            minimum=0,
        ),
        _key(
            "min.insync.replicas",
            _INT,
            "1",
            "How many replicas must be in sync for a write with acks=all to be accepted.",
            "min.insync.replicas",
            minimum=1,
        ),
        _key(
            "preallocate",
            _BOOLEAN,
            "false",
            "Whether to allocate a segment's file in full when it is made. Accepted: a tail of zeros would weaken "
            "recovery.",
            "log.preallocate",
        ),
        _key(
            "remote.log.copy.disable",
            _BOOLEAN,
            "false",
            "Whether remote storage is read-only. Accepted: there is no remote storage.",
        ),
        _key(
            "remote.log.delete.on.disable",
            _BOOLEAN,
            "false",
            "Whether remote segments go when remote storage is switched off. Accepted: there is no remote storage.",
        ),
        _key(
            "remote.storage.enable",
            _BOOLEAN,
            "false",
            "Whether segments move to remote storage. Only false is accepted.",
        ),
        _key(
            "retention.bytes",
            _LONG,
            "-1",
            "The size a partition may reach before its oldest segments are deleted; -1 for no limit.",
            "log.retention.bytes",
        ),
        _key(
            "retention.ms",
            _LONG,
            str(7 * DAY_MS),
            "The age at which a segment is deleted; -1 for no limit.",
            "log.retention.ms",
            Synonym("log.retention.minutes", MINUTE_MS),
            Synonym("log.retention.hours", HOUR_MS),
            minimum=-1,
        ),
        _key(
            "segment.bytes",
            _INT,
            "1073741824",
            "The size at which a segment is closed and the next begins.",
            "log.segment.bytes",
            minimum=SEGMENT_BYTES_MIN,
        ),
        _key(
            "segment.index.bytes",
            _INT,
            "10485760",
            "The largest size of a segment's index. Accepted: the index is in the segment's footer.",
            "log.index.size.max.bytes",
            minimum=4,
        ),
        _key(
            "segment.jitter.ms",
            _LONG,
            "0",
            "The most that is taken off segment.ms at random, so that not all partitions roll at once. Accepted.",
            "log.roll.jitter.ms",
            Synonym("log.roll.jitter.hours", HOUR_MS),
            minimum=0,
        ),
        _key(
            "segment.ms",
            _LONG,
            str(7 * DAY_MS),
            "The age at which a segment is closed even if it is not full.",
            "log.roll.ms",
            Synonym("log.roll.hours", HOUR_MS),
            minimum=1,
        ),
        _key(
            "unclean.leader.election.enable",
            _BOOLEAN,
            "false",
            "Whether a replica that was not in sync may lead when no other can, at the cost of records. "
            "Accepted: one broker is the cluster.",
            "unclean.leader.election.enable",
        ),
    ]
)
