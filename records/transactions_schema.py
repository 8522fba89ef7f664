"""The records of ``__transaction_state``: what a transaction coordinator knows of each transactional id. Only read.

Source: transaction-coordinator/src/main/resources/common/message of Apache Kafka 4.3;
KIP-98, KIP-360, KIP-890, KIP-939.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from klamm.records.schema_codec import (
    COMPACT_STRING,
    I16,
    I32,
    INT8,
    INT32,
    INT64,
    STRING,
    Array,
    Int,
    Kind,
    Layout,
    Length,
)

STATES: Final = (
    "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
)  # fmt: skip
"""Names of ``transaction_status``, as DescribeTransactions has them."""


class TransactionKey(NamedTuple):
    """A transactional id."""

    transactional_id: str


class TransactionTopic(NamedTuple):
    """Partitions of a topic that the transaction wrote to."""

    topic: str
    partition_ids: tuple[int, ...]


class TransactionValue(NamedTuple):
    """The newest transaction of a transactional id; -1 where there is no producer id or epoch."""

    producer_id: int
    producer_epoch: int
    transaction_timeout_ms: int
    transaction_status: str
    transaction_partitions: tuple[TransactionTopic, ...]
    transaction_last_update_timestamp_ms: int
    transaction_start_timestamp_ms: int
    previous_producer_id: int = -1
    next_producer_id: int = -1
    client_transaction_version: int = 0
    next_producer_epoch: int = -1


@lru_cache
def _value(version: int) -> Layout:
    flexible = version >= 1
    length = Length(None if flexible else I32)
    topic = Layout(TransactionTopic, (COMPACT_STRING if flexible else STRING, Array(INT32, length)), flexible=flexible)
    tagged = ((INT64, -1), (INT64, -1), (_INT16, 0), (_INT16, -1)) if flexible else ()
    fields = (INT64, _INT16, INT32, _Status(), Array(topic, length), INT64, INT64)
    return Layout(TransactionValue, fields, tagged, flexible=flexible)


class _Status:
    """A transaction's state, by name."""

    def write(self, out: bytearray, value: str) -> None:
        INT8.write(out, STATES.index(value))

    def read(self, view: bytes, position: int) -> tuple[str, int]:
        number, position = INT8.read(view, position)
        return STATES[number] if 0 <= number < len(STATES) else f"unknown ({number})", position


_INT16: Final = Int(I16)
TRANSACTION_KINDS: Final[dict[int, Kind]] = {0: Kind(Layout(TransactionKey, (STRING,)), _value, 1)}
