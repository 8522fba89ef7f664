"""What klamm brokers say they are doing: whole rounds of ``__klamm_state`` (``klamm.records.state_schema``).

Only klamm brokers have that topic. Whether this is one, and tells, is asked of its configs first: asking another broker
for the topic could create it there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from klamm.client.cluster import RETRY_BACKOFF_S, Cluster
from klamm.client.configs import describe_configs
from klamm.client.errors import ClientError, ResponseError
from klamm.client.offsets import LATEST, list_offsets
from klamm.client.requests import check, shapes
from klamm.records.batch import iter_batches
from klamm.records.record import decode_records
from klamm.records.state_schema import (
    TOPIC,
    ActorState,
    BrokerState,
    ClientState,
    PartitionStatus,
    RoundState,
    StateRecord,
    decode_record,
)

FETCH: Final = 1
ENABLE_KEY: Final = "klamm.telemetry.enable"
MAX_WAIT: Final = timedelta(milliseconds=500)
PARTITION_SIZE_MAX: Final = 4 * 1024 * 1024
NOT_KLAMM: Final = "NOT_KLAMM"
TELEMETRY_OFF: Final = "TELEMETRY_OFF"
RATE_MS_MIN: Final = 500
"""Rounds closer than this make poor rates."""

BUCKET_FIRST: Final = 14
"""The first bucket of durations ends at 2 ** 14 ns (``klamm.records.state_schema.RequestState``)."""
_TRIES: Final = 6
_OFFSET_OUT_OF_RANGE: Final = 1
_LEADER_NOT_AVAILABLE: Final = 5


class NotTellingError(ClientError):
    """The cluster is none of klamm, or does not tell."""


class Round(NamedTuple):
    """What one broker was doing at one moment: everything by name."""

    broker_id: int
    number: int
    time_ms: int
    broker: BrokerState
    actors: dict[str, ActorState]
    partitions: dict[str, PartitionStatus]
    clients: dict[str, ClientState]


def quantile_ms(before: Round, now: Round, api: str, share: float) -> float | None:
    """Return how long all but ``1 - share`` of an API's requests took at most between two rounds, in milliseconds.

    Interpolated within powers of two; None where there were none, or the broker does not count them.
    """
    old = next((each.buckets for each in before.broker.requests if each.api == api), ())
    new = next((each.buckets for each in now.broker.requests if each.api == api), ())
    counts = [count - (old[place] if place < len(old) else 0) for place, count in enumerate(new)]
    wanted = sum(counts) * share
    if wanted <= 0:
        return None
    passed = 0
    for place, count in enumerate(counts):
        if passed + count >= wanted:
            upper = 2.0 ** (BUCKET_FIRST + min(place, len(counts) - 2)) / 1e6
            lower = upper / 2 if place else 0.0
            return lower + (upper - lower) * (wanted - passed) / count
        passed += count
    return None


async def ensure_tells(cluster: Cluster) -> None:
    """Check that the brokers are klamm's and tell about themselves.

    Raises:
        NotTellingError: They are not, or do not.
    """
    broker_id = min(await cluster.brokers())
    found, errors = await describe_configs(cluster, [("broker", str(broker_id))], [ENABLE_KEY])
    for error in errors.values():
        raise error
    values = [entry.value for entries in found.values() for entry in entries if entry.name == ENABLE_KEY]
    if not values:
        msg = "this is no klamm broker: Kafka's protocol does not tell about actors or connected clients"
        raise NotTellingError(NOT_KLAMM, msg, "clients that are in groups: klamm group members")
    if values != ["true"]:
        msg = f"broker {broker_id} does not tell about itself: {ENABLE_KEY} is {values[0]}"
        raise NotTellingError(TELEMETRY_OFF, msg, f"start it with -X {ENABLE_KEY}=true, or Broker(telemetry=True)")


async def read_round(cluster: Cluster) -> Round:
    """Return what the broker is doing now.

    Raises:
        NotTellingError: It is no klamm broker, or does not tell.
        ClientError: The cluster does not answer.
    """
    async for found in watch_rounds(cluster):
        return found
    msg = "rounds never end"
    raise AssertionError(msg)


async def two_rounds(cluster: Cluster) -> tuple[Round, Round]:
    """Return two looks at what the broker is doing, about a second apart: their differences are rates.

    Raises:
        NotTellingError: It is no klamm broker, or does not tell.
        ClientError: The cluster does not answer.
    """
    first: Round | None = None
    async for found in watch_rounds(cluster):
        if first is None:
            first = found
        elif found.time_ms - first.time_ms >= RATE_MS_MIN:
            return first, found
    msg = "rounds never end"
    raise AssertionError(msg)


async def watch_rounds(cluster: Cluster) -> AsyncIterator[Round]:
    """Yield what the broker is doing, about once a second, for as long as it is asked.

    Raises:
        NotTellingError: It is no klamm broker, or does not tell.
        ClientError: The cluster does not answer.
    """
    await ensure_tells(cluster)
    collected: dict[int, list[StateRecord]] = {}
    async for record in _records(cluster):
        if record.value is None:
            continue
        broker_id = record.key.broker
        if isinstance(record.value, RoundState):
            taken = [one for one in collected.pop(broker_id, []) if one.round == record.round]
            if len(taken) == record.value.record_count:
                yield _round(broker_id, record.round, record.value, taken)
        else:
            collected.setdefault(broker_id, []).append(record)


def _round(broker_id: int, number: int, end: RoundState, records: list[StateRecord]) -> Round:
    found = Round(broker_id, number, end.time_ms, BrokerState(), {}, {}, {})
    for record in records:
        name, value = record.key.name, record.value
        match value:
            case BrokerState():
                found = found._replace(broker=value)
            case ActorState():
                found.actors[name] = value
            case PartitionStatus():
                found.partitions[name] = value
            case ClientState():
                found.clients[name] = value
            case _:
                pass
    return found


async def _records(cluster: Cluster) -> AsyncIterator[StateRecord]:
    """Yield the records of the topic from its end on."""
    topic_id, leader, offset = await _end(cluster)
    wait = timedelta(0)  # the first fetch says that somebody watches; it need not wait for what is not there yet
    while True:
        response = await cluster.ask(FETCH, _request(topic_id, offset, wait), leader)
        wait = MAX_WAIT
        for topic in response.responses:
            for partition in topic.partitions:
                if int(partition.error_code.value) == _OFFSET_OUT_OF_RANGE:  # the log's end has moved: begin anew
                    topic_id, leader, offset = await _end(cluster)
                    continue
                check(partition.error_code, None, TOPIC)
                for record_offset, record in _decoded(bytes(partition.records or b"")):
                    if record_offset >= offset:
                        offset = record_offset + 1
                        if record is not None:
                            yield record


def _decoded(records: bytes) -> Iterator[tuple[int, StateRecord | None]]:
    for position, _ in iter_batches(records):
        for record in decode_records(records, position):
            yield record.offset, decode_record(record.key, record.value)


async def _end(cluster: Cluster) -> tuple[UUID, int, int]:
    """Return the topic's id, leader and end offset; asking for it makes it, which takes the broker a moment."""

    async def attempt() -> tuple[UUID, int, int]:
        metadata = await cluster.metadata([TOPIC])
        topic = metadata.topics[0]
        if topic.error_code or not topic.partitions or topic.partitions[0].leader < 0:
            raise ResponseError(topic.error_code or _LEADER_NOT_AVAILABLE, None, name=TOPIC)
        ends, errors = await list_offsets(cluster, metadata, {(TOPIC, 0): LATEST})
        for error in errors.values():
            raise error
        return UUID(bytes=bytes(topic.topic_id)), topic.partitions[0].leader, ends[TOPIC, 0].offset

    for number in range(_TRIES):
        try:
            return await attempt()
        except ResponseError:
            await asyncio.sleep(RETRY_BACKOFF_S * 2**number)
    return await attempt()


def _request(topic_id: UUID, offset: int, wait: timedelta) -> Any:  # noqa: ANN401 (a generated class)
    shape = shapes(FETCH)
    partition = shape.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=PARTITION_SIZE_MAX)
    return shape.FetchRequest(
        max_wait=wait,
        min_bytes=1,
        max_bytes=PARTITION_SIZE_MAX,
        isolation_level=0,
        session_id=0,
        session_epoch=-1,
        topics=(shape.FetchTopic(topic=TOPIC, topic_id=topic_id, partitions=(partition,)),),
        forgotten_topics_data=(),
    )
