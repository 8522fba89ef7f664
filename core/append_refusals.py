"""What a producer is told whose batch a topic's configs refuse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.model.errors import ErrorCode, KafkaError, MessageTooLargeError
from klamm.records.batch import BatchHeader

if TYPE_CHECKING:
    from klamm.core.partition import PartitionSettings


def too_large(size: int, settings: PartitionSettings) -> MessageTooLargeError:
    """Return the error of a batch of ``size`` bytes, header included, that is over ``max.message.bytes``."""
    return MessageTooLargeError(
        f"The record batch of {size} bytes is over max.message.bytes={settings.max_message_bytes}."
    )


def append_time_refused() -> KafkaError:
    """Return the error of a batch that says it has the broker's time, for a topic that gives it that."""
    msg = "Invalid timestamp type in message: a producer does not set LogAppendTime"
    return KafkaError(msg, code=ErrorCode.INVALID_TIMESTAMP)


def timestamp_refused(header: BatchHeader, now_ms: int, settings: PartitionSettings) -> KafkaError:
    """Return the error of a batch whose first or latest timestamp is out of bounds.

    Kafka looks at every record; these two are what the header tells without decoding.
    """
    msg = (
        f"timestamps {header.base_timestamp} to {header.max_timestamp} are not between "
        f"message.timestamp.before.max.ms={settings.timestamp_before_max_ms} before and "
        f"message.timestamp.after.max.ms={settings.timestamp_after_max_ms} after the broker's {now_ms}"
    )
    return KafkaError(msg, code=ErrorCode.INVALID_TIMESTAMP)
