"""What is looked at in an append's records themselves, on the rare ways that need it: the hot path decodes none."""

from __future__ import annotations

from klamm.core.partition import PartitionSettings
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.compression import Codec
from klamm.records.rewrite import check_keys, recompressed, timestamps_outside


def rewritten(view: memoryview, settings: PartitionSettings, partition: str) -> memoryview:
    """Decode where the topic asks for it: keys of a compacted topic, another codec than the producer's.

    Raises:
        InvalidRecordError: A record of a compacted topic has no key.
        CorruptMessageError: The records cannot be decoded.
    """
    if settings.compacted:
        check_keys(view, partition)
    if settings.compression_type == "producer":
        return view
    return recompressed(view, Codec[settings.compression_type.upper()])


def records_refused(
    error: KafkaError, view: memoryview, now_ms: int, settings: PartitionSettings
) -> tuple[tuple[int, str], ...]:
    """Name the records whose times a batch was refused for; none where it was for something else, or unreadable."""
    if error.error_code is not ErrorCode.INVALID_TIMESTAMP:
        return ()
    try:
        return timestamps_outside(
            view, now_ms - settings.timestamp_before_max_ms, now_ms + settings.timestamp_after_max_ms
        )
    except KafkaError:
        return ()
