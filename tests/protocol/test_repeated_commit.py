"""A commit that comes again is known by its bytes, and read without decoding them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.header import parse_request_header
from klamm.protocol.messages import encode_request, request_class
from klamm.protocol.offset_commit_codec import LEADER_EPOCH_SINCE
from klamm.protocol.repeated_commit import RepeatedCommitCodec, offset_positions
from klamm.server.message_types import request_types

VERSIONS = range(API_VERSIONS[ApiKey.OFFSET_COMMIT].min, API_VERSIONS[ApiKey.OFFSET_COMMIT].max + 1)
KNOWN_VERSIONS = [version for version in VERSIONS if version >= LEADER_EPOCH_SINCE]
TOPIC_ID = UUID(int=7)
RESPONSE = b"\0\0\0\x0e\0\0\0\1the answer"
SIZE = 4
TWO_TOPICS = ((3, 42, 1), (0, 7, -1)), ((1, 2**62, 2**31 - 1),)
MOVED = ((3, 43, 2), (0, 2**62 + 5, 0)), ((1, -1, -1),)


def frame(
    version: int, topics: Any = TWO_TOPICS, correlation_id: int = 1, metadata: str | None = "", generation: int = 5
) -> bytes:
    types = request_types(ApiKey.OFFSET_COMMIT)
    request = request_class(ApiKey.OFFSET_COMMIT)(
        group_id="group",
        generation_id_or_member_epoch=generation,
        member_id="member",
        topics=tuple(
            types.OffsetCommitRequestTopic(
                name=f"topic-{number}",
                topic_id=TOPIC_ID,
                partitions=tuple(
                    types.OffsetCommitRequestPartition(
                        partition_index=partition,
                        committed_offset=offset,
                        committed_leader_epoch=epoch,
                        committed_metadata=metadata,
                    )
                    for partition, offset, epoch in partitions
                ),
            )
            for number, partitions in enumerate(topics)
        ),
    )
    return bytes(encode_request(ApiKey.OFFSET_COMMIT, version, request, correlation_id, "tests"))


def positions(request: bytes, version: int) -> list[int] | None:
    header = parse_request_header(request[SIZE:])
    return offset_positions(memoryview(request), header.body_position + SIZE, version)


def codec(version: int) -> RepeatedCommitCodec:
    request = frame(version)
    found = positions(request, version)
    assert found is not None
    return RepeatedCommitCodec(request, found, RESPONSE)


@pytest.mark.parametrize("version", KNOWN_VERSIONS)
@pytest.mark.parametrize("metadata", ["", None])
def test_a_commit_that_comes_again_says_its_offsets(version: int, metadata: str | None) -> None:
    first = frame(version, metadata=metadata)
    found = positions(first, version)
    assert found is not None
    again = frame(version, MOVED, 2**31 - 1, metadata)
    read = RepeatedCommitCodec(first, found, RESPONSE).read(again)
    assert read is not None
    correlation_id, (offsets, leader_epochs) = read
    assert correlation_id == 2**31 - 1
    assert [*zip(offsets, leader_epochs, strict=True)] == [one[1:] for topic in MOVED for one in topic]


@pytest.mark.parametrize("version", KNOWN_VERSIONS)
def test_any_other_byte_makes_it_another_request(version: int) -> None:
    known, request = codec(version), frame(version)
    found = positions(request, version)
    assert found is not None
    free = {*range(8, 12), *(at + index for at in found for index in range(12))}
    for position in range(len(request)):
        changed = bytearray(request)
        changed[position] ^= 1
        assert (known.read(bytes(changed)) is not None) == (position in free), position


def test_the_answer_is_the_first_one_with_another_correlation_id() -> None:
    assert codec(9).response(2**31 - 2) == RESPONSE[:4] + b"\x7f\xff\xff\xfe" + RESPONSE[8:]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_commit_with_metadata_or_without_leader_epochs_is_not_known(version: int) -> None:
    assert positions(frame(version, metadata="m"), version) is None
    assert (positions(frame(version), version) is None) == (version not in KNOWN_VERSIONS)
