"""Produce and Fetch by hand, with kio as the oracle, and request headers."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.model.errors import UnsupportedVersionError
from klamm.protocol.apis import ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.fetch import FetchedPartition, decode_fetch, encode_fetch_response
from klamm.protocol.header import RequestHeader, parse_request_header, response_header
from klamm.protocol.kio_loader import load_request_schema, load_response_schema
from klamm.protocol.pieces import Piece
from klamm.protocol.produce import NodeEndpoint, ProducedPartition, decode_produce, encode_produce_response
from klamm.protocol.varint import Buffer
from tests.protocol.random_messages import bytes_by_kio, random_message

PRODUCE_VERSIONS = range(3, 14)
FETCH_VERSIONS = range(4, 19)
NO_ID = UUID(int=0)
EXAMPLES = settings(max_examples=30, deadline=None)
"""For each of the versions, so several hundred in all; a slow machine is no failure."""

int16 = st.integers(-(2**15), 2**15 - 1)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
names = st.text(max_size=20) | st.just("n" * 200)
ids = st.integers(1, 2**128 - 1).map(lambda number: UUID(int=number))
leaders = st.none() | st.tuples(int32, int32)
endpoints = st.lists(st.builds(NodeEndpoint, int32, names, int32, st.none() | names), max_size=2)
record_errors = st.lists(st.tuples(int32, st.none() | names), max_size=2)
produced = st.builds(
    ProducedPartition,
    int32,
    st.integers(0, 100),
    int64,
    st.integers(-1, 2**40),
    int64,
    st.none() | names,
    leaders,
    record_errors,
)
produced_topics = st.lists(st.tuples(names, ids, st.lists(produced, max_size=3)), max_size=3)
chunks = st.lists(st.binary(min_size=1, max_size=200), max_size=3)
fetched_without_records = st.builds(
    FetchedPartition,
    int32,
    st.integers(0, 100),
    int64,
    int64,
    int64,
    st.none() | st.lists(st.tuples(int64, int64), max_size=2),
    int32,
    st.none() | st.tuples(int32, int64),
    leaders,
    st.just(()),
    provenance=st.just(()),  # klamm's own: see test_replica_fetch.py
)
fetched = st.tuples(fetched_without_records, chunks).map(
    lambda pair: pair[0]._replace(buffers=pair[1], size=sum(map(len, pair[1])))
)
fetched_topics = st.lists(st.tuples(names, ids, st.lists(fetched, max_size=3)), max_size=3)


def classes(schema: type[Any]) -> Any:
    return sys.modules[schema.__module__]


def of_version(schema: type[Any], **values: Any) -> Any:
    """Return an instance with those of the values that its version has."""
    present = {each.name for each in fields(schema)}
    return schema(**{name: value for name, value in values.items() if name in present})


def leader(module: Any, given_leader: tuple[int, int] | None) -> dict[str, Any]:
    if given_leader is None or not hasattr(module, "LeaderIdAndEpoch"):
        return {}
    return {"current_leader": module.LeaderIdAndEpoch(leader_id=given_leader[0], leader_epoch=given_leader[1])}


def endpoints_by_kio(module: Any, given_endpoints: list[NodeEndpoint]) -> tuple[Any, ...]:
    return tuple(module.NodeEndpoint(**each._asdict()) for each in given_endpoints if hasattr(module, "NodeEndpoint"))


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
def test_a_produce_request_is_decoded_as_kio_does(version: int) -> None:
    source = random.Random(version)
    schema = load_request_schema(ApiKey.PRODUCE, version)
    for _ in range(100):
        expected: Any = random_message(schema, source)
        body = b"head" + bytes_by_kio(schema, expected)
        request = decode_produce(memoryview(body), 4, version)
        assert (request.transactional_id, request.acks) == (expected.transactional_id, expected.acks)
        assert timedelta(milliseconds=request.timeout_ms) == expected.timeout
        assert len(request.topics) == len(expected.topic_data)
        for (name, topic_id, partitions), topic in zip(request.topics, expected.topic_data, strict=True):
            assert name == getattr(topic, "name", None)
            assert (topic_id or NO_ID) == (getattr(topic, "topic_id", None) or NO_ID)
            assert partitions == [(each.index, each.records) for each in topic.partition_data]


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
@pytest.mark.parametrize("size", [0, 1, 126, 127, 16_383, 16_384, 3_000_000])
def test_the_records_of_one_partition_are_a_view_of_the_frame(version: int, size: int) -> None:
    schema = load_request_schema(ApiKey.PRODUCE, version)
    module = classes(schema)
    partition = module.PartitionProduceData(index=3, records=bytes(size))
    topic = of_version(module.TopicProduceData, name="orders", topic_id=UUID(int=7), partition_data=(partition,))
    request = of_version(schema, transactional_id=None, acks=-1, timeout=timedelta(seconds=1), topic_data=(topic,))
    frame = bytearray(bytes_by_kio(schema, request))
    [(name, topic_id, [(index, records)])] = decode_produce(memoryview(frame), 0, version).topics
    assert (name, topic_id) == (("orders", None) if version < 13 else (None, UUID(int=7)))
    assert index == 3
    assert records is not None
    assert len(records) == size
    if size:
        start = frame.index(bytes(size), 20)
        frame[-4 if version >= 9 else -1] = 9
        assert records[-1] == 9, f"records at {start} were copied"


@pytest.mark.parametrize("version", PRODUCE_VERSIONS)
@EXAMPLES
@given(topics=produced_topics, throttle_ms=st.integers(0, 2**31 - 1), nodes=endpoints)
def test_a_produce_response_has_kio_s_bytes(
    version: int, topics: list[tuple[str, UUID, list[ProducedPartition]]], throttle_ms: int, nodes: list[NodeEndpoint]
) -> None:
    schema = load_response_schema(ApiKey.PRODUCE, version)
    module = classes(schema)
    responses = tuple(
        of_version(
            module.TopicProduceResponse,
            name=name,
            topic_id=topic_id,
            partition_responses=tuple(
                of_version(
                    module.PartitionProduceResponse,
                    index=each.partition,
                    error_code=each.error_code,
                    base_offset=each.base_offset,
                    log_append_time=append_time(each.log_append_time_ms),
                    log_start_offset=each.log_start_offset,
                    **errors_of_records(module, each.record_errors),
                    error_message=each.error_message,
                    **leader(module, each.current_leader),
                )
                for each in partitions
            ),
        )
        for name, topic_id, partitions in topics
    )
    expected = of_version(
        schema,
        responses=responses,
        throttle_time=timedelta(milliseconds=throttle_ms),
        node_endpoints=endpoints_by_kio(module, nodes),
    )
    frame = encode_produce_response(version, 99, topics, throttle_ms, nodes)
    body = response_header(99, ApiKey.PRODUCE, version) + bytes_by_our_plans(schema, expected)
    assert bytes(frame) == pack(">i", len(body)) + body


def errors_of_records(module: Any, errors: Sequence[tuple[int, str | None]]) -> dict[str, Any]:
    """Return the field of a version that has one."""
    if not hasattr(module, "BatchIndexAndErrorMessage"):
        return {}
    made = (
        module.BatchIndexAndErrorMessage(batch_index=position, batch_index_error_message=why)
        for position, why in errors
    )
    return {"record_errors": tuple(made)}


def append_time(milliseconds: int) -> datetime | None:
    return None if milliseconds == -1 else datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def bytes_by_our_plans(schema: type[Any], message: Any) -> bytes:
    """Encode by the plans, which take plain numbers for kio's enumerations; other tests hold them to kio's bytes."""
    from klamm.protocol.encoder import encode

    frame = bytearray()
    encode(schema, frame, message)
    return bytes(frame)


@pytest.mark.parametrize("version", FETCH_VERSIONS)
def test_a_fetch_request_is_decoded_as_kio_does(version: int) -> None:
    source = random.Random(version)
    schema = load_request_schema(ApiKey.FETCH, version)
    for _ in range(100):
        expected: Any = random_message(schema, source)
        request = decode_fetch(memoryview(b"xy" + bytes_by_kio(schema, expected)), 2, version)
        replica = getattr(expected, "replica_state", None)
        assert request.replica_id == (expected.replica_id if replica is None else replica.replica_id)
        assert request.replica_epoch == (-1 if replica is None else replica.replica_epoch)
        assert timedelta(milliseconds=request.max_wait_ms) == expected.max_wait
        assert request[3:6] == (expected.min_bytes, expected.max_bytes, expected.isolation_level)
        assert request.session_id == getattr(expected, "session_id", 0)
        assert request.session_epoch == getattr(expected, "session_epoch", -1)
        assert request.rack_id == getattr(expected, "rack_id", "")
        for (name, topic_id, partitions), topic in zip(request.topics, expected.topics, strict=True):
            assert name == getattr(topic, "topic", None)
            assert (topic_id or NO_ID) == (getattr(topic, "topic_id", None) or NO_ID)
            for partition, each in zip(partitions, topic.partitions, strict=True):
                for field, value in partition._asdict().items():
                    assert value == getattr(each, field, -1)
        forgotten = getattr(expected, "forgotten_topics_data", ())
        for (name, topic_id, indexes), topic in zip(request.forgotten, forgotten, strict=True):
            assert name == getattr(topic, "topic", None)
            assert (topic_id or NO_ID) == (getattr(topic, "topic_id", None) or NO_ID)
            assert tuple(indexes) == topic.partitions


@pytest.mark.parametrize("version", FETCH_VERSIONS)
@EXAMPLES
@given(topics=fetched_topics, throttle_ms=st.integers(0, 2**31 - 1), nodes=endpoints)
def test_a_fetch_response_has_kio_s_bytes_and_the_log_s_buffers(
    version: int, topics: list[tuple[str, UUID, list[FetchedPartition]]], throttle_ms: int, nodes: list[NodeEndpoint]
) -> None:
    schema = load_response_schema(ApiKey.FETCH, version)
    module = classes(schema)
    responses = tuple(
        of_version(
            module.FetchableTopicResponse,
            topic=name,
            topic_id=topic_id,
            partitions=tuple(fetched_by_kio(module, each) for each in partitions),
        )
        for name, topic_id, partitions in topics
    )
    expected = of_version(
        schema,
        throttle_time=timedelta(milliseconds=throttle_ms),
        error_code=70,
        session_id=5,
        responses=responses,
        node_endpoints=endpoints_by_kio(module, nodes),
    )
    buffers = encode_fetch_response(version, 99, 70, 5, topics, throttle_ms, nodes)
    body = response_header(99, ApiKey.FETCH, version) + bytes_by_our_plans(schema, expected)
    assert b"".join(map(bytes_of, buffers)) == pack(">i", len(body)) + body
    for _, _, partitions in topics:
        for partition in partitions:
            assert all(any(chunk is buffer for buffer in buffers) for chunk in partition.buffers)


def bytes_of(piece: Piece) -> Buffer:
    """Return a piece that is bytes."""
    assert isinstance(piece, Buffer)
    return piece


def fetched_by_kio(module: Any, each: FetchedPartition) -> Any:
    aborted = None
    if each.aborted_transactions is not None:
        aborted = tuple(
            module.AbortedTransaction(producer_id=producer_id, first_offset=first_offset)
            for producer_id, first_offset in each.aborted_transactions
        )
    diverging = {}
    if each.diverging_epoch is not None and hasattr(module, "EpochEndOffset"):
        epoch, end_offset = each.diverging_epoch
        diverging = {"diverging_epoch": module.EpochEndOffset(epoch=epoch, end_offset=end_offset)}
    return of_version(
        module.PartitionData,
        partition_index=each.partition,
        error_code=each.error_code,
        high_watermark=each.high_watermark,
        last_stable_offset=each.last_stable_offset,
        log_start_offset=each.log_start_offset,
        aborted_transactions=aborted,
        preferred_read_replica=each.preferred_read_replica,
        records=b"".join(map(bytes_of, each.buffers)),
        **diverging,
        **leader(module, each.current_leader),
    )


@pytest.mark.parametrize("key", [ApiKey.PRODUCE, ApiKey.FETCH])
def test_broken_bytes_are_a_protocol_error_or_another_request(key: ApiKey) -> None:
    decode: Any = decode_produce if key == ApiKey.PRODUCE else decode_fetch
    for version in PRODUCE_VERSIONS if key == ApiKey.PRODUCE else FETCH_VERSIONS:
        source = random.Random(version)
        schema = load_request_schema(key, version)
        for _ in range(100):
            body = bytearray(bytes_by_kio(schema, random_message(schema, source)))
            if source.random() < 0.4:
                del body[source.randrange(len(body) + 1) :]
            for _ in range(source.randrange(4)):
                if body:
                    body[source.randrange(len(body))] = source.choice([0, 1, 127, 128, 255, source.randrange(256)])
            with suppress(ProtocolError):
                decode(memoryview(body), 0, version)


@settings(deadline=None)
@given(st.binary(max_size=80), st.sampled_from(PRODUCE_VERSIONS), st.sampled_from(FETCH_VERSIONS))
def test_any_bytes_are_a_request_or_a_protocol_error(raw: bytes, produce_version: int, fetch_version: int) -> None:
    with suppress(ProtocolError):
        decode_produce(memoryview(raw), 0, produce_version)
    with suppress(ProtocolError):
        decode_fetch(memoryview(raw), 0, fetch_version)
    with suppress(ProtocolError):
        parse_request_header(raw)


@pytest.mark.parametrize("version", [0, 1, 2, 14])
def test_a_produce_version_that_kafka_4_does_not_serve_is_refused(version: int) -> None:
    with pytest.raises(UnsupportedVersionError):
        decode_produce(memoryview(bytes(50)), 0, version)


def test_a_header_is_read_in_either_version() -> None:
    start = pack(">hhih", 3, 8, 5, 3) + b"cli"
    assert parse_request_header(start + b"body") == RequestHeader(3, 8, 5, "cli", 13)
    flexible = pack(">hhih", 3, 9, 5, -1)
    assert parse_request_header(flexible + b"\x00body") == RequestHeader(3, 9, 5, None, 11)
    assert parse_request_header(flexible + b"\x01\x07\x02abbody") == RequestHeader(3, 9, 5, None, 15)
    unknown = parse_request_header(pack(">hhih", 999, 1, 5, -1))
    assert (unknown.api_key, unknown.correlation_id) == (999, 5)


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(9),
        pack(">hhih", 3, 8, 5, 30) + b"cli",
        pack(">hhih", 3, 8, 5, 20_000) + b"\xff" * 20_000,
        pack(">hhih", 3, 9, 5, -1),
        pack(">hhih", 3, 9, 5, -1) + b"\xff\xff\xff\xff\x0f",
        pack(">hhih", 3, 9, 5, -1) + b"\x01\x00\x05a",
    ],
)
def test_a_header_that_cannot_be_is_a_protocol_error(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_request_header(frame)


@pytest.mark.parametrize(
    ("client_id", "read"),
    [(pack(">h", -2), None), (pack(">h", 2) + b"\xffa", "\ufffda"), (pack(">h", 0), "")],
)
def test_a_client_id_is_read_as_kafka_reads_it(client_id: bytes, read: str | None) -> None:
    header = parse_request_header(pack(">hhi", 3, 8, 5) + client_id)
    assert (header.client_id, header.body_position) == (read, 8 + len(client_id))


def test_only_flexible_versions_have_tags_in_the_response_header_and_api_versions_never() -> None:
    assert response_header(1, ApiKey.METADATA, 8) == pack(">i", 1)
    assert response_header(1, ApiKey.METADATA, 9) == pack(">i", 1) + b"\x00"
    assert response_header(1, ApiKey.API_VERSIONS, 4) == pack(">i", 1)
