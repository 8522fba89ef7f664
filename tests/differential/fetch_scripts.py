"""Scripts of Fetch: limits, offsets, epochs, who asks, and sessions (KIP-227), in the versions that differ in them.

Where klamm differs on purpose, the request is left out, or what differs is, and the reason stands here:

- a partition that is named twice: klamm answers both, Apache Kafka the last one;
- negative sizes and isolation levels that are none: UNKNOWN_SERVER_ERROR in Apache Kafka, the nearest sound value here;
- a partition that is not there beside one that waits: klamm answers at once, Apache Kafka when the wait is over;
- a session for no partitions: klamm gives none, which the protocol allows at any time;
- a deleted topic in a session that goes by ids: UNKNOWN_TOPIC_ID whatever has its name by now, where Apache Kafka says
  UNKNOWN_TOPIC_OR_PARTITION or INCONSISTENT_TOPIC_ID: clients look for new metadata after each of them;
- the current leader beside NOT_LEADER_OR_FOLLOWER: whoever is told that is not a consumer;
- a last batch that is not whole: only whole ones are compared.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.messages import request_class
from klamm.protocol.schema import field_named
from klamm.records.batch import iter_batches
from tests.differential.admin_scripts import TIMEOUT, named, say
from tests.differential.conversation import METADATA_DELAY_S, Conversation, Script
from tests.differential.produce_scripts import batch, delete_records, produce

BY_NAME, BY_ID = 12, 18
SESSIONS_SINCE, CURRENT_EPOCH_SINCE, LAST_EPOCH_SINCE = 7, 9, 12
ANYTHING = 1 << 24
MANY = 1 << 20


class Asked(NamedTuple):
    """What is asked of one partition."""

    partition: int
    offset: int = 0
    size_max: int = MANY
    current_epoch: int = -1
    last_epoch: int = -1


class Reader:
    """Fetches from topics whose ids it knows, and writes down what is compared."""

    def __init__(self, c: Conversation, **topic_ids: UUID) -> None:
        self._c = c
        self._topic_ids = {"nosuch": UUID(int=99)} | topic_ids

    def __call__(self, label: str, *asked: Asked, topic: str = "f", version: int = BY_ID, **values: Any) -> int:
        """Fetch, and return the session id."""
        of_topic = {"topic_id": self._topic_ids[topic], "topic": named(self._c, topic)}
        partitions = tuple(
            {
                "partition": one.partition,
                "fetch_offset": one.offset,
                "partition_max_bytes": one.size_max,
                "current_leader_epoch": one.current_epoch,
                "last_fetched_epoch": one.last_epoch,
            }
            for one in asked
        )
        forgotten = values.pop("forgotten", ())
        replica_state = field_named(request_class(ApiKey.FETCH), "replica_state").inner
        filled = {
            "max_wait": timedelta(milliseconds=values.pop("wait_ms", 0)),
            "min_bytes": 1,
            "max_bytes": ANYTHING,
            "topics": ({**of_topic, "partitions": partitions},) if asked else (),
            "forgotten_topics_data": ({**of_topic, "partitions": forgotten},) if forgotten else (),
            "replica_state": replica_state(replica_id=values.pop("replica_id", -1), replica_epoch=-1),
        }
        response = self._c.ask(ApiKey.FETCH, version, label=label, **(filled | values))
        entry, _ = self._c.transcript.pop()
        partitions_found = sorted(
            (found.topic.replace(f"-{self._c.run}", "") or str(self._c.known(found.topic_id)), *_compared(one))
            for found in response.responses
            for one in found.partitions
        )
        answer = response.error_code.name, response.session_id != 0, len(response.node_endpoints), partitions_found
        self._c.transcript.append((entry, answer))
        return int(response.session_id)


def _compared(one: Any) -> tuple[Any, ...]:
    batches = [] if one.records is None else [header[:1] + header[2:] for _, header in iter_batches(one.records)]
    aborted = None if one.aborted_transactions is None else len(one.aborted_transactions)
    diverging = one.diverging_epoch.epoch, one.diverging_epoch.end_offset
    offsets = one.high_watermark, one.last_stable_offset, one.log_start_offset
    return (
        one.partition_index,
        one.error_code.name,
        *offsets,
        diverging,
        str(aborted),
        one.preferred_read_replica,
        str(batches),
    )


def filled_topic(c: Conversation) -> Reader:
    """Make a topic: small batches in partition 0, a large one and a small one in partition 1, nothing in the others."""
    reader = Reader(c, f=c.topic("f", 4))
    for count in (3, 2, 5):
        produce(c, "small", batch(count, value=bytes(100)), "f")
    produce(c, "large", batch(4, value=bytes(3_000)), "f", 1)
    produce(c, "small", batch(), "f", 1)
    return reader


def fetches_in_every_version(c: Conversation) -> None:
    read = filled_topic(c)
    for version in range(API_VERSIONS[ApiKey.FETCH].min, API_VERSIONS[ApiKey.FETCH].max + 1):
        read("all", Asked(0), Asked(1), Asked(2), version=version)
        read("the end", Asked(0, 10), version=version)
        read("out of range", Asked(0, 11), Asked(1, -1), Asked(2, 1), version=version)
        read("no such partition", Asked(9), Asked(-1), version=version)
        read("no such topic", Asked(0), topic="nosuch", version=version)
        read("nothing", version=version)
        read("committed", Asked(0), Asked(2), Asked(9), version=version, isolation_level=1)
        read("out of range, committed", Asked(0, 11), version=version, isolation_level=1)
        if version >= CURRENT_EPOCH_SINCE:
            read("current epochs", Asked(0, current_epoch=0), Asked(1, current_epoch=5), version=version)
        if version >= LAST_EPOCH_SINCE:
            right = Asked(0, 3, last_epoch=0), Asked(3, last_epoch=-1)
            read("last epochs", *right, Asked(1, 5, last_epoch=3), Asked(2, 99, last_epoch=0), version=version)


def fetch_limits(c: Conversation) -> None:
    """The first batch is always whole; what a request may wait for."""
    read = filled_topic(c)
    for offset in range(11):
        read(f"from {offset}", Asked(0, offset))
    for size in (0, 1, 60, 300, 400, 500, 600, 700, 800, 1_000, 1_200, 5_000):
        read(f"{size} of each", Asked(0, size_max=size), Asked(1, size_max=size))
        read(f"{size} of each, the large one first", Asked(1, size_max=size), Asked(0, size_max=size))
        read(f"{size} in all", Asked(0), Asked(1), max_bytes=size)
        read(f"{size} in all, nothing first", Asked(2), Asked(1), Asked(0), max_bytes=size)
    for size in (0, -1, 10**6, 2**31 - 1):
        read(f"at least {size}", Asked(0), min_bytes=size, wait_ms=50)
        read(f"at least {size} of nothing", Asked(2), min_bytes=size, wait_ms=50)
    for asked in (Asked(2, 5), Asked(9), Asked(2, current_epoch=9), Asked(2, last_epoch=7)):
        read(f"an error does not wait: {asked}", asked, wait_ms=30_000)
    read("nothing does not wait", wait_ms=30_000)
    read("less than nothing", Asked(2), wait_ms=-1)
    for version in (BY_NAME, BY_ID):
        for replica_id in (-3, -2, 0, 1, 2):
            read(f"broker {replica_id}", Asked(0), replica_id=replica_id, version=version)
    read("another cluster", Asked(0), cluster_id="another")


def fetches_of_deleted_records(c: Conversation) -> None:
    read = filled_topic(c)
    for start in (4, -1):
        delete_records(c, "f", 0, start)
        for offset in (0, 2, 3, 4, 5, 9, 10, 11):
            read(f"deleted below {start}, from {offset}", Asked(0, offset), Asked(0 + 1, 4))
            read(f"deleted below {start}, epoch 0 from {offset}", Asked(0, offset, last_epoch=0))


def fetch_sessions(c: Conversation) -> None:
    read = filled_topic(c)
    for version in (SESSIONS_SINCE, BY_NAME, BY_ID - 5, BY_ID):
        _session(c, read, version)
        _ends_of_sessions(read, version)
    session = read("by name", Asked(0), session_epoch=0, version=BY_NAME)
    read("then by id", session_id=session, session_epoch=1, version=BY_ID)
    read("and by name again", session_id=session, session_epoch=1, version=BY_NAME)
    session = read("by id", Asked(0), session_epoch=0)
    read("then by name", session_id=session, session_epoch=1, version=BY_NAME)
    read("and by id again", session_id=session, session_epoch=1)


def _session(c: Conversation, read: Reader, version: int) -> None:
    session = read("all", Asked(0), Asked(1), Asked(2), session_epoch=0, version=version)
    steps: tuple[tuple[str, tuple[Asked, ...], tuple[int, ...]], ...] = (
        ("nothing new", (), ()),
        ("out of range", (Asked(0, 10_000),), ()),
        ("still out of range", (), ()),
        ("in range", (Asked(0, size_max=1),), ()),
        ("at their ends", (Asked(0, 10), Asked(1, 5)), ()),
        ("at their ends again", (), ()),
        ("forgotten", (), (1,)),
        ("forgotten twice, and what it never had", (), (1, 7)),
        ("asked for and forgotten", (Asked(1),), (1,)),
        ("no such partition", (Asked(8),), ()),
        ("still no such partition", (), ()),
        ("all forgotten", (), (0, 1, 2, 8)),
        ("after that", (), ()),
    )
    for epoch, (label, asked, forgotten) in enumerate(steps, 1):
        values: dict[str, Any] = {"session_id": session, "version": version}
        read(label, *asked, session_epoch=epoch, forgotten=forgotten, **values)
        if epoch == 2:
            read("an epoch too far", session_epoch=9, **values)
            read("the same epoch", session_epoch=2, **values)
    delete_records(c, "f", 3, -1)


def _ends_of_sessions(read: Reader, version: int) -> None:
    session = read("all", Asked(0), session_epoch=0, version=version)
    other = read("another in its place", Asked(1), session_id=session, session_epoch=0, version=version)
    for label, one, epoch in (
        ("the old one", session, 1),
        ("the new one", other, 1),
        ("its end", other, -1),
        ("after its end", other, 2),
        ("one that never was", 12_345, 1),
        ("none with an epoch", 0, 5),
        ("none with a negative epoch", 0, -2),
    ):
        asked = () if one == other and epoch > 0 else (Asked(1),)
        read(label, *asked, session_id=one, session_epoch=epoch, version=version)
    session = read("waits", Asked(2), session_epoch=0, version=version, wait_ms=20)
    read("waits again", session_id=session, session_epoch=1, version=version, wait_ms=20)


def sessions_of_deleted_topics(c: Conversation) -> None:
    """By name, what has it by now is read."""
    read = Reader(c, f=c.topic("f", 1))
    produce(c, "two", batch(2), "f")
    session = read("by name", Asked(0), session_epoch=0, version=BY_NAME)
    topics = ({"name": named(c, "f"), "topic_id": None},)
    say(c, ApiKey.DELETE_TOPICS, topics=topics, timeout=TIMEOUT)
    c.settle()
    time.sleep(METADATA_DELAY_S)
    for epoch in (1, 2):
        read("deleted", session_id=session, session_epoch=epoch, version=BY_NAME)
    c.topic("f", 1)
    read("made anew", session_id=session, session_epoch=3, version=BY_NAME)
    read("by its old id", Asked(0))


SCRIPTS: tuple[Script, ...] = (
    fetches_in_every_version,
    fetch_limits,
    fetches_of_deleted_records,
    fetch_sessions,
    sessions_of_deleted_topics,
)
