"""OffsetFetch responses by hand against kio, which knows every schema."""

from uuid import UUID

import pytest

from klamm.model.errors import ErrorCode
from klamm.protocol import messages
from klamm.protocol import offset_fetch_response as by_hand
from klamm.protocol.header import response_header
from klamm.records.offsets_schema import OffsetCommitValue

KEY = 9


@pytest.mark.parametrize("version", [8, 9, 10])
@pytest.mark.parametrize("metadata", ["", "mëta" * 40])
def test_a_response_by_hand_says_what_the_schema_says(version: int, metadata: str) -> None:
    ids = {"t": UUID(int=7), "ü" * 100: UUID(int=8)}
    offsets = {
        0: OffsetCommitValue(2**40, 3, "", 0),
        200: OffsetCommitValue(0, -1, metadata, 0),
        7: OffsetCommitValue(-1, -1, "", 0),
    }
    unknown = ErrorCode.UNKNOWN_TOPIC_ID.value
    topics = [
        (ids[name].bytes if version >= 10 else by_hand.topic_name(name), 0, offsets.keys(), offsets.values())
        for name in ids
    ]
    refused = (UUID(int=9).bytes if version >= 10 else by_hand.topic_name("x"), unknown, (1,), (offsets[7],))
    frame = response_header(5, KEY, version) + b"".join(
        [
            by_hand.begin(2),
            by_hand.begin_group("g", 3),
            by_hand.encode_topics(topics),
            by_hand.encode_topics([refused]),
            by_hand.end_group(0),
            by_hand.begin_group("gröup", 0),
            by_hand.end_group(ErrorCode.NOT_COORDINATOR.value),
            by_hand.NO_TAGS,
        ]
    )
    correlation_id, response = messages.decode_response(KEY, version, frame)
    assert correlation_id == 5
    first, second = response.groups
    assert (first.group_id, second.group_id, second.topics) == ("g", "gröup", ())
    assert messages.error_of(second.error_code) is ErrorCode.NOT_COORDINATOR
    for topic, name in zip(first.topics, ids, strict=False):
        assert (topic.topic_id if version >= 10 else topic.name) == (ids[name] if version >= 10 else name)
        assert [
            (each.partition_index, each.committed_offset, each.committed_leader_epoch, each.metadata, each.error_code)
            for each in topic.partitions
        ] == [
            (index, value.offset, value.leader_epoch, value.metadata, messages.wire_error(ErrorCode.NONE))
            for index, value in offsets.items()
        ]
    assert messages.error_of(first.topics[2].partitions[0].error_code) is ErrorCode.UNKNOWN_TOPIC_ID
