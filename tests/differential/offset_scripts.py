"""Scripts that ask where things are in partitions: ListOffsets and OffsetForLeaderEpoch, in every version.

Where klamm differs on purpose, the request is left out and the reason stands here:

- the record with the greatest time, once it is deleted: Apache Kafka answers with its offset below the log's start,
  klamm with the greatest that is left;
- isolation levels that are none: UNKNOWN_SERVER_ERROR in Apache Kafka.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.records.record import Record, build_batch
from tests.differential.admin_scripts import named
from tests.differential.conversation import Conversation, Script
from tests.differential.produce_scripts import batch, delete_records, make, produce
from tests.support.process import wait_until

TIMEOUT = timedelta(seconds=20)
TIMES = (1_000, 5_000, 3_000, 5_000)
"""Of a batch's records: the greatest is there twice, and the last is not the greatest alone."""
MAX_TIMESTAMP = -3
ASKED = (-1, -2, -3, -4, -5, -6, -7, 0, 1_000, 1_001, 3_000, 4_000, 5_000, 5_001, 2**40)
"""Latest, earliest, the record with the greatest time, the specials of newer versions, one that is none, and times."""


def filled_topic(c: Conversation) -> None:
    """Make a topic whose partition 0 holds two batches, and whose partition 1 is empty."""
    topic_id = c.topic("a", partitions=2)
    batch = bytes(build_batch([Record(offset, at, None, b"x") for offset, at in enumerate(TIMES)], base_offset=0))
    data = ({"topic_id": topic_id, "partition_data": ({"index": 0, "records": batch},)},)

    def appended() -> bool:  # Apache Kafka's broker learns of a topic after its controller has answered
        response = c.quietly(ApiKey.PRODUCE, transactional_id=None, acks=-1, timeout=TIMEOUT, topic_data=data)
        return int(response.responses[0].partition_responses[0].error_code) == 0

    for _ in range(2):
        wait_until(appended, 60, "the batch is appended")


def list_offsets(c: Conversation, version: int, name: str, index: int, timestamp: int, epoch: int, level: int) -> None:
    wanted = {"partition_index": index, "timestamp": timestamp, "current_leader_epoch": epoch}
    c.ask(
        ApiKey.LIST_OFFSETS,
        version,
        label=f"{name} {index} at {timestamp}, epoch {epoch}",
        replica_id=-1,
        isolation_level=level,
        timeout=timedelta(0),
        topics=({"name": f"{name}-{c.run}", "partitions": (wanted,)},),
    )


def offsets_by_time(c: Conversation) -> None:
    filled_topic(c)
    of = API_VERSIONS[ApiKey.LIST_OFFSETS]
    for version in range(of.min, of.max + 1):
        for timestamp in ASKED:
            for index in (0, 1):
                list_offsets(c, version, "a", index, timestamp, -1, int(version >= 2 and timestamp % 2))
        list_offsets(c, version, "a", 9, -1, -1, 0)
        list_offsets(c, version, "nosuch", 0, -1, -1, 0)
        if version >= 4:
            for epoch in (0, 7):
                list_offsets(c, version, "a", 0, -1, epoch, 0)


def ends_of_epochs(c: Conversation) -> None:
    filled_topic(c)
    of = API_VERSIONS[ApiKey.OFFSET_FOR_LEADER_EPOCH]
    for version in range(of.min, of.max + 1):
        for name, index in (("a", 0), ("a", 1), ("a", 9), ("nosuch", 0)):
            for current, epoch in ((-1, 0), (-1, 5), (0, 0), (7, 0), (-1, -1)):
                wanted = {"partition": index, "current_leader_epoch": current, "leader_epoch": epoch}
                c.ask(
                    ApiKey.OFFSET_FOR_LEADER_EPOCH,
                    version,
                    label=f"{name} {index}, epoch {epoch} of {current}",
                    replica_id=-1,
                    topics=({"topic": f"{name}-{c.run}", "partitions": (wanted,)},),
                )


def offsets_of_deleted_records(c: Conversation) -> None:
    """The beginning moves; times before it lead to it. Records without a time are found by none."""
    filled_topic(c)
    for start in (3, 4, 6, 8):
        delete_records(c, "a", 0, start)
        for timestamp in ASKED:
            if timestamp != MAX_TIMESTAMP:
                list_offsets(c, 11, "a", 0, timestamp, -1, int(timestamp < 0))
    for at in (-1, 0, 100):
        for index in (0, 1):
            produce(c, f"at {at}", batch(2, at=at), "a", index)
        for timestamp in ASKED:
            list_offsets(c, 11, "a", 1, timestamp, -1, 0)


def offsets_by_append_time(c: Conversation) -> None:
    """The broker's own times: which record, and none after the last."""
    make(c, append={"message.timestamp.type": "LogAppendTime"})
    for _ in range(3):
        produce(c, "at the broker's time", batch(2, at=5), "append")

    def find(timestamp: int, label: str) -> int:
        partition = {"partition_index": 0, "timestamp": timestamp, "current_leader_epoch": -1}
        topics = ({"name": named(c, "append"), "partitions": (partition,)},)
        values = {"replica_id": -1, "isolation_level": 0, "timeout": timedelta(0), "topics": topics}
        (found,) = c.quietly(ApiKey.LIST_OFFSETS, **values).topics[0].partitions
        c.transcript.append((label, (found.error_code.name, found.offset, found.timestamp > 5, found.leader_epoch)))
        return int(found.timestamp)

    for timestamp in (-1, -2, -4, -5, -6, 0, 2**50):
        find(timestamp, f"at {timestamp}")
    last = find(MAX_TIMESTAMP, "the greatest")
    c.transcript.pop()  # batches of one millisecond are alike: which of them it is differs from run to run
    find(last + 1, "behind the greatest")


def who_asks(c: Conversation) -> None:
    """Consumers, their debuggers and brokers, about several partitions, none, or the same twice."""
    filled_topic(c)
    a, of = named(c, "a"), API_VERSIONS[ApiKey.LIST_OFFSETS]
    for version in (of.min, 6, of.max):
        for replica_id in (-3, -2, -1, 0, 1, 2):
            _ask(c, version, replica_id, (a, ((0, -1), (1, -1), (9, -1), (-1, -1))), ("a b", ((0, -1),)))
        _ask(c, version, -1)
    response = _ask(c, of.max, -1, (a, ((0, -1), (0, -2), (1, -1))))
    c.transcript.pop()
    found = {(one.partition_index, one.error_code.name, one.offset) for one in response.topics[0].partitions}
    c.transcript.append(("twice", sorted(found)))
    for version in (2, 3, 4):
        for replica_id in (-2, -1, 0, 1, 5):
            for epoch in (-2, -1, 0, 1, 2**31 - 1):
                wanted = tuple(
                    {"partition": one, "current_leader_epoch": -1, "leader_epoch": epoch} for one in (0, 1, 7)
                )
                topics = tuple({"topic": name, "partitions": wanted} for name in (a, "nosuch", "a b"))
                label = f"epoch {epoch} for {replica_id}"
                c.ask(ApiKey.OFFSET_FOR_LEADER_EPOCH, version, label=label, replica_id=replica_id, topics=topics)
    c.ask(ApiKey.OFFSET_FOR_LEADER_EPOCH, label="none", replica_id=-1, topics=())


def _ask(c: Conversation, version: int, replica_id: int, *topics: tuple[str, tuple[tuple[int, int], ...]]) -> Any:
    asked = tuple(
        {
            "name": name,
            "partitions": tuple(
                {"partition_index": index, "timestamp": at, "current_leader_epoch": -1} for index, at in partitions
            ),
        }
        for name, partitions in topics
    )
    values = {"replica_id": replica_id, "isolation_level": 0, "timeout": timedelta(0), "topics": asked}
    return c.ask(ApiKey.LIST_OFFSETS, version, label=f"for {replica_id}", **values)


SCRIPTS: tuple[Script, ...] = (
    offsets_by_time,
    ends_of_epochs,
    offsets_of_deleted_records,
    offsets_by_append_time,
    who_asks,
)
