"""The hand-written exchanges of lag against the schemas: what one writes the other reads."""

import struct
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client import groups_wire, offset_fetch_wire
from klamm.client.groups import ListedGroup
from klamm.client.lag_times import find_time
from klamm.client.requests import _Shapes
from klamm.model.errors import CorruptMessageError, ErrorCode, InvalidRecordError
from klamm.protocol import messages
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import parse_request_header
from klamm.records.batch import HEADER_SIZE
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch

NONE = messages.wire_error(ErrorCode.NONE)


def _read(frame: bytes, api_key: int) -> Any:
    (size,) = struct.unpack_from(">i", frame)
    assert size == len(frame) - 4
    header = parse_request_header(memoryview(frame)[4:])
    assert (header.api_key, header.correlation_id, header.client_id) == (api_key, 5, "clïent")
    return messages.decode_request(api_key, header.api_version, memoryview(frame)[4 + header.body_position :])


def _shapes(api_key: int) -> Any:
    return _Shapes(messages.response_class(api_key))


@pytest.mark.parametrize("version", range(6))
def test_groups_are_listed_as_the_schema_has_them(version: int) -> None:
    request = _read(groups_wire.encode_list_groups(version, 5, "clïent"), groups_wire.LIST_GROUPS)
    assert (request.states_filter, request.types_filter) == ((), ())
    if version >= groups_wire.TYPES_SINCE:
        written = groups_wire.encode_list_groups(version, 5, "clïent", ["Stable", "Üb"], ["share"])
        request = _read(written, groups_wire.LIST_GROUPS)
        assert (request.states_filter, request.types_filter) == (("Stable", "Üb"), ("share",))
    shape = _shapes(groups_wire.LIST_GROUPS)
    response = shape.ListGroupsResponse(
        throttle_time=timedelta(0),
        error_code=NONE,
        groups=(shape.ListedGroup(group_id="ü", protocol_type="consumer", group_state="Stable", group_type="Share"),),
    )
    frame = messages.encode_response(groups_wire.LIST_GROUPS, version, response, 9)
    code, groups = groups_wire.decode_list_groups(memoryview(frame)[4:], version, 3)
    state, kind = "Stable" if version >= 4 else "", "share" if version >= 5 else ""
    assert (code, groups) == (0, [ListedGroup("ü", state, kind, "consumer", 3)])


@pytest.mark.parametrize("version", [8, 9])
@pytest.mark.parametrize("metadata", ["", "x", None])
def test_offsets_are_fetched_as_the_schema_has_them(version: int, metadata: str | None) -> None:
    written = offset_fetch_wire.encode_offset_fetch(version, 5, "clïent", ["a", "ü" * 90])
    request = _read(written, offset_fetch_wire.OFFSET_FETCH)
    assert [(group.group_id, group.topics) for group in request.groups] == [("a", None), ("ü" * 90, None)]
    assert request.require_stable is False
    shape = _shapes(offset_fetch_wire.OFFSET_FETCH)
    partitions = tuple(
        shape.OffsetFetchResponsePartitions(
            partition_index=index, committed_offset=2**40 + index, committed_leader_epoch=7, error_code=NONE,
            metadata=metadata if index == 1 else "",
        )
        for index in range(200)
    )  # fmt: skip
    topics = tuple(
        shape.OffsetFetchResponseTopics(name=name, topic_id=UUID(int=1), partitions=partitions) for name in ("t", "ü")
    )
    groups = tuple(shape.OffsetFetchResponseGroup(group_id=name, topics=topics, error_code=NONE) for name in ("a", "b"))
    response = shape.OffsetFetchResponse(throttle_time=timedelta(0), groups=groups)
    frame = messages.encode_response(offset_fetch_wire.OFFSET_FETCH, version, response, 9)
    found = offset_fetch_wire.decode_offset_fetch(memoryview(frame)[4:])
    assert [each.group for each in found] == ["a", "b"]
    assert found[0].topics == {name: [(n, 2**40 + n, 7, 0) for n in range(200)] for name in ("t", "ü")}
    assert found[0].metadata == ({("t", 1): "x", ("ü", 1): "x"} if metadata else {})


@given(st.binary(max_size=80))
def test_bytes_that_are_no_response_are_refused_and_nothing_else_happens(data: bytes) -> None:
    frame = memoryview(b"\0\0\0\x01" + data)
    for decode in (
        lambda: groups_wire.decode_list_groups(frame, 5, 1),
        lambda: groups_wire.decode_list_groups(frame, 0, 1),
        lambda: offset_fetch_wire.decode_offset_fetch(frame),
    ):
        try:
            decode()
        except ProtocolError:
            continue


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-(10**6), 10**6)), min_size=1, max_size=40),
    st.sampled_from(list(Codec)),
    st.integers(0, 60),
)
def test_the_time_of_a_record_is_its_own_whatever_the_codec_and_the_gaps(
    steps: list[tuple[int, int]], codec: Codec, before: int
) -> None:
    records: list[Record] = []
    offset = 100
    for step, time in steps:
        records.append(Record(offset, 10**12 + time, None, b"v" * step))
        offset += 1 + step
    data = bytes(build_batch(records, codec=codec))
    asked = 100 + before
    expected = next((record for record in records if record.offset >= asked), None)
    found = find_time(data, asked)
    if expected is None:
        assert found == (max(asked, records[-1].offset + 1), 0)
    else:
        assert found == (expected.offset, expected.timestamp_ms, "create", True)


def test_a_batch_that_was_cut_off_tells_what_it_holds_or_how_much_it_takes() -> None:
    records = [Record(n, 10**12 + n, None, bytes(100)) for n in range(50)]
    plain = bytes(build_batch(records))
    assert find_time(plain[: HEADER_SIZE + 500], 2) == (2, 10**12 + 2, "create", True)
    assert find_time(plain[: HEADER_SIZE + 500], 40) == (40, len(plain))
    packed = bytes(build_batch(records, codec=Codec.ZSTD))
    assert find_time(packed[: HEADER_SIZE + 5], 2) == (2, len(packed))
    assert find_time(packed[:30], 2) == (2, 0)
    assert find_time(b"", 2) == (2, 0)


def test_a_marker_of_a_transaction_is_not_a_record_to_read() -> None:
    marker = build_batch([Record(7, 10**12, b"\0\0\0\1", b"")], is_transactional=True, is_control=True)
    assert find_time(bytes(marker), 7) == (8, 0)
    data = bytes(marker) + bytes(build_batch([Record(8, 10**12 + 5, None, None)]))
    assert find_time(data, 7) == (8, 10**12 + 5, "create", True)


def test_append_time_is_the_batchs_and_says_so() -> None:
    batch = build_batch([Record(0, 1, None, None), Record(1, 2, None, None)], log_append_time_ms=10**12 + 9)
    assert find_time(bytes(batch[:HEADER_SIZE]), 0) == (0, 10**12 + 9, "append", True)


@given(st.binary(max_size=200))
def test_what_is_no_batch_is_refused_or_asked_for_again(data: bytes) -> None:
    try:
        find_time(data, 5)
    except (CorruptMessageError, InvalidRecordError):
        return


def test_a_batch_that_claims_a_negative_size_is_refused() -> None:
    batch = build_batch([Record(0, 1, None, None)])
    struct.pack_into(">i", batch, 8, -1000)
    with pytest.raises(CorruptMessageError):
        find_time(bytes(batch), 5)


def _fetched(groups: dict[str, dict[str, dict[int, tuple[int, int, str]]]]) -> memoryview:
    shape = _shapes(offset_fetch_wire.OFFSET_FETCH)
    answered = tuple(
        shape.OffsetFetchResponseGroup(
            group_id=group, error_code=NONE,
            topics=tuple(
                shape.OffsetFetchResponseTopics(
                    name=topic, topic_id=UUID(int=1),
                    partitions=tuple(
                        shape.OffsetFetchResponsePartitions(
                            partition_index=index, committed_offset=offset, committed_leader_epoch=epoch,
                            metadata=metadata, error_code=NONE,
                        )
                        for index, (offset, epoch, metadata) in partitions.items()
                    ),
                )
                for topic, partitions in topics.items()
            ),
        )
        for group, topics in groups.items()
    )  # fmt: skip
    response = shape.OffsetFetchResponse(throttle_time=timedelta(0), groups=answered)
    return memoryview(messages.encode_response(offset_fetch_wire.OFFSET_FETCH, 8, response, 9))[4:]


_PARTITIONS = st.dictionaries(
    st.integers(0, 5), st.tuples(st.integers(-1, 2**62), st.integers(-1, 9), st.sampled_from(["", "", "", "m"])),
    min_size=1, max_size=4,
)  # fmt: skip
_TOPICS = st.dictionaries(st.sampled_from(["t", "u", "a-longer-name"]), _PARTITIONS, max_size=3)


@given(st.lists(_TOPICS, min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_groups_that_look_alike_are_read_as_what_they_are(kinds: list[Any], chosen: list[int]) -> None:
    groups = {f"g{number}": kinds[kind % len(kinds)] for number, kind in enumerate(chosen)}
    shifted = {
        name: {
            topic: {index: (offset // (place + 1), epoch, text) for index, (offset, epoch, text) in parts.items()}
            for topic, parts in topics.items()
        }
        for place, (name, topics) in enumerate(groups.items())
    }
    decoder = offset_fetch_wire.OffsetFetchDecoder()
    for frame in (_fetched(shifted), _fetched(shifted)):  # what the first taught stays for the second
        for each in decoder.decode(frame):
            wanted = shifted[each.group]
            assert each.topics == {
                topic: [(index, offset, epoch, 0) for index, (offset, epoch, _) in parts.items()]
                for topic, parts in wanted.items()
            }
            assert each.layout.partitions == [(topic, index) for topic, parts in wanted.items() for index in parts]
            assert list(each.offsets) == [offset for parts in wanted.values() for offset, _, _ in parts.values()]
            assert each.metadata == {
                (topic, index): text for topic, parts in wanted.items() for index, (_, _, text) in parts.items() if text
            }
