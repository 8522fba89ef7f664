"""The hand-written ApiVersions and Metadata against kio, which knows every schema."""

import contextlib
import sys
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client import wire
from klamm.model.errors import ErrorCode
from klamm.protocol import messages
from klamm.protocol.errors import ProtocolError

VERSIONS = range(wire.METADATA_VERSION_MIN, wire.METADATA_VERSION_MAX + 1)


class _Classes:
    """The classes of a response by name, in klamm's module and in that of kio's class it extends."""

    def __init__(self, newest: type) -> None:
        self._modules = [sys.modules[each.__module__] for each in newest.__mro__]

    def __getattr__(self, name: str) -> Any:
        return next(getattr(module, name) for module in self._modules if hasattr(module, name))


def _response(topic_count: int) -> object:
    newest = messages.response_class(wire.METADATA_KEY)
    module = _Classes(newest)
    none = messages.wire_error(ErrorCode.NONE)
    partitions = tuple(
        module.MetadataResponsePartition(
            error_code=none, partition_index=index, leader_id=index % 3, leader_epoch=7, replica_nodes=(1, 2, 3),
            isr_nodes=(2,), offline_replicas=(3,),
        )
        for index in range(3)
    )  # fmt: skip
    return newest(
        throttle_time=timedelta(0),
        brokers=(module.MetadataResponseBroker(node_id=1, host="höst", port=9092, rack=None),
                 module.MetadataResponseBroker(node_id=2, host="b2", port=9093, rack="r")),
        cluster_id="id",
        controller_id=2,
        topics=tuple(
            module.MetadataResponseTopic(
                error_code=none, name=f"topic-{number}", topic_id=UUID(int=number + 1), is_internal=number == 1,
                partitions=partitions, topic_authorized_operations=5,
            )
            for number in range(topic_count)
        ),
        error_code=none,
    )  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("topic_count", [0, 2, 200])
def test_metadata_reads_as_kio_wrote_it(version: int, topic_count: int) -> None:
    frame = messages.encode_response(wire.METADATA_KEY, version, _response(topic_count), 9)
    found = wire.decode_metadata(memoryview(frame)[4:], version)
    assert found.brokers == [wire.BrokerNode(1, "höst", 9092, None), wire.BrokerNode(2, "b2", 9093, "r")]
    assert (found.cluster_id, found.controller_id) == ("id", 2)
    assert [topic.name for topic in found.topics] == [f"topic-{number}" for number in range(topic_count)]
    if topic_count:
        part = found.topics[0].partitions[1]
        epoch = 7 if version >= 7 else -1
        offline = (3,) if version >= 5 else ()
        assert part == wire.PartitionMetadata(0, 1, 1, epoch, (1, 2, 3), (2,), offline)
        assert found.topics[0].topic_id == (UUID(int=1).bytes if version >= 10 else bytes(16))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("topics", [None, [], ["a", "ü" * 100]])
def test_a_metadata_request_says_what_kio_reads_and_never_creates(version: int, topics: list[str] | None) -> None:
    from klamm.protocol.header import parse_request_header

    frame = memoryview(wire.encode_metadata(5, "client", version, topics))
    header = parse_request_header(frame[4:])
    request = messages.decode_request(wire.METADATA_KEY, version, frame[4:][header.body_position :])
    assert (header.correlation_id, header.client_id) == (5, "client")
    assert (None if request.topics is None else [topic.name for topic in request.topics]) == topics
    assert request.allow_auto_topic_creation is False


@given(st.binary(max_size=200), st.sampled_from(list(VERSIONS)))
def test_random_bytes_are_a_protocol_error_and_nothing_else(data: bytes, version: int) -> None:
    for decode in (wire.decode_metadata, wire.decode_api_versions):
        with contextlib.suppress(ProtocolError):
            decode(memoryview(data), version)


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_cut_response_is_a_protocol_error(cut: int) -> None:
    frame = memoryview(messages.encode_response(wire.METADATA_KEY, 13, _response(2), 9))[4:]
    with pytest.raises(ProtocolError):
        wire.decode_metadata(frame[:cut], 13)


def test_a_large_answer_is_decoded_anew_only_when_it_differs() -> None:
    def frame(count: int, correlation_id: int) -> memoryview:
        return memoryview(messages.encode_response(wire.METADATA_KEY, 13, _response(count), correlation_id))[4:]

    decoder = wire.MetadataDecoder()
    assert len(frame(900, 1)) >= wire.METADATA_KEPT_SIZE_BYTES_MIN
    first = decoder.decode(frame(900, 1), 13, None)
    assert decoder.decode(frame(900, 2), 13, None) is first
    assert decoder.decode(frame(900, 3), 13, ["topic-1"]) is not first, "another question, perhaps another answer"
    changed = decoder.decode(frame(901, 4), 13, None)
    assert len(changed.topics) == 901
    assert decoder.decode(frame(900, 5), 13, None) == first


def test_the_answers_kept_are_few() -> None:
    decoder = wire.MetadataDecoder()
    frame = memoryview(messages.encode_response(wire.METADATA_KEY, 13, _response(900), 1))[4:]
    first = decoder.decode(frame, 13, ["a"])
    for name in map(str, range(wire.METADATA_KEPT_MAX)):
        decoder.decode(frame, 13, [name])
    assert decoder.decode(frame, 13, ["a"]) is not first
