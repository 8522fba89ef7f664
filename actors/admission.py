"""Admitting an append where that is rare: looking into its records, which the hot path does not, or only checking."""

from __future__ import annotations

from klamm.actors.messages import CheckBatch
from klamm.core.append_refusals import too_large
from klamm.core.partition import ACKS_ALL, FLUSH_NEVER, PartitionSettings, PartitionState
from klamm.model.errors import ErrorCode, KafkaError, KafkaStorageError
from klamm.records.batch import BatchHeader, check_produced_batch, read_header
from klamm.records.compression import Codec
from klamm.records.record import decode_records
from klamm.records.rewrite import check_keys, check_times, recompressed, timestamps_outside
from klamm.storage.partition_log import PartitionLog


def rewritten(view: memoryview, settings: PartitionSettings, partition: str, now_ms: int) -> memoryview:
    """Decode where the topic asks for it: keys, ages, or another codec than the producer's.

    Raises:
        MessageTooLargeError: The batch is too large as it was sent.
        InvalidRecordError: A record of a compacted topic has no key.
        CorruptMessageError: The records cannot be decoded.
        KafkaError: INVALID_TIMESTAMP, which names the records that are too old or too far ahead.
    """
    if len(view) > settings.max_message_bytes:
        raise too_large(len(view), settings)
    if settings.compacted:
        check_keys(view, partition)
    if not settings.log_append_time and settings.timestamp_before_max_ms != FLUSH_NEVER:
        check_times(view, now_ms - settings.timestamp_before_max_ms, now_ms + settings.timestamp_after_max_ms)
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
        if settings.log_append_time:  # it was refused for saying that its records have the broker's time
            return tuple((position, error.message) for position, _ in enumerate(decode_records(view)))
        return timestamps_outside(
            view, now_ms - settings.timestamp_before_max_ms, now_ms + settings.timestamp_after_max_ms
        )
    except KafkaError:
        return ()


def answer_check(message: CheckBatch, state: PartitionState, log: PartitionLog, now_ms: int, partition: str) -> None:
    """Answer as an append would be answered, with the offset it would get; nothing is written, nothing is kept.

    Everything that was admitted must have been written.
    """
    view = message.records
    try:
        header = check_produced_batch(view)
        _check_unsequenced(header)
        header = read_header(rewritten(view[: header.size], state.settings, partition, now_ms))
        base_offset = state.admit(header, ACKS_ALL, now_ms)
    except KafkaError as error:
        error.record_errors = error.record_errors or records_refused(error, view, now_ms, state.settings)
        message.reply.appended(message.slot, error, -1, -1, log.log_start_offset)
        return
    except Exception:
        message.reply.appended(message.slot, offline(), -1, -1, -1)
        raise
    finally:
        state.not_appended()
    assert isinstance(base_offset, int), "only batches with sequence numbers repeat another"
    message.reply.appended(message.slot, None, base_offset, -1, log.log_start_offset)


def _check_unsequenced(header: BatchHeader) -> None:
    if header.producer_id >= 0:
        msg = "a batch with sequence numbers cannot only be checked: the next one would depend on it"
        raise KafkaError(msg, code=ErrorCode.INVALID_REQUEST)


def offline() -> KafkaStorageError:
    """Return what whoever asks a partition is told once its actor has failed."""
    return KafkaStorageError("the partition is offline: see the broker's log")
