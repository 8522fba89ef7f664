"""Scripts that ask where things are in partitions: ListOffsets and OffsetForLeaderEpoch, in every version."""

from __future__ import annotations

from datetime import timedelta

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.records.record import Record, build_batch
from tests.differential.conversation import Conversation, Script
from tests.support.process import wait_until

TIMEOUT = timedelta(seconds=20)
TIMES = (1_000, 5_000, 3_000, 5_000)
"""Of a batch's records: the greatest is there twice, and the last is not the greatest alone."""
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


SCRIPTS: tuple[Script, ...] = (offsets_by_time, ends_of_epochs)
