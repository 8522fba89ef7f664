"""OffsetCommit, with a codec of its own: after Fetch and Heartbeat it is what consumers ask most."""

from __future__ import annotations

from struct import Struct
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from klamm.core.groups.messages import CommitOffsets, CommitOffsetsResult, CommittedTopic
from klamm.model.errors import ErrorCode, KafkaError
from klamm.model.ids import NO_TOPIC_ID, TopicId, TopicName
from klamm.protocol.apis import ApiKey
from klamm.protocol.offset_commit_codec import (
    TOPIC_ID_SINCE,
    AnsweredTopic,
    CommitTopic,
    OffsetCommitRequest,
    decode_offset_commit,
    encode_offset_commit_response,
)
from klamm.server.apis import AnsweredSlot
from klamm.server.repeated_commit import repeated_commit
from klamm.telemetry.journal import Committed

if TYPE_CHECKING:
    from klamm.core.metadata_image import TopicImage
    from klamm.protocol.header import RequestHeader
    from klamm.server.apis import Receive
    from klamm.server.connection import Connection
    from klamm.server.node import Node
    from klamm.server.response_slot import ResponseSlot
    from klamm.telemetry.journal import Journal

_SIZE: Final = Struct(">i")
_ACCEPTED: Final = CommitOffsetsResult(ErrorCode.NONE, {})


class OffsetCommitResponse(AnsweredSlot):
    """The response to one commit: partitions that do not exist are refused, each by itself."""

    __slots__ = ("_asked", "_header", "_images", "_journal", "_missing", "_node", "_received", "_request", "_unknown")

    def __init__(self, node: Node, connection: Connection, header: RequestHeader, request: OffsetCommitRequest) -> None:
        super().__init__(connection)
        self._node = node
        self._header = header
        self._request = request
        self._received: bytes | None = None
        self._journal: Journal | None = node.journal
        by_id = header.api_version >= TOPIC_ID_SINCE
        self._missing = ErrorCode.UNKNOWN_TOPIC_ID if by_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        image = node.image
        self._images: list[TopicImage | None] = [
            image.topic_by_id(TopicId(topic.topic_id or NO_TOPIC_ID))
            if by_id
            else image.topics.get(TopicName(topic.name or ""))
            for topic in request.topics
        ]
        self._unknown = False
        self._asked: CommitOffsets | None = None

    def keep(self, frame: memoryview) -> None:
        """Keep the request, so that it is answered on the spot when it comes again."""
        self._received = _SIZE.pack(len(frame)) + frame

    def start(self) -> None:
        """Ask the coordinator for what exists; answer at once if nothing does."""
        request, version = self._request, self._header.api_version
        committed: list[CommittedTopic] = []
        for topic, image in zip(request.topics, self._images, strict=True):
            if image is None:
                self._unknown = True
                continue
            count = len(image.partitions)
            partitions = tuple([one for one in topic.partitions if 0 <= one[0] < count])
            self._unknown = self._unknown or len(partitions) != len(topic.partitions)
            if partitions:
                topic_id = image.topic_id if version >= TOPIC_ID_SINCE else NO_TOPIC_ID
                committed.append(CommittedTopic(image.name, topic_id, partitions))
            else:
                self._unknown = True
        if not committed:
            self.answer(_ACCEPTED)
            return
        group_id, generation_id, member_id, group_instance_id, retention_time_ms, _ = request
        self._asked = CommitOffsets(
            group_id, member_id, group_instance_id, generation_id, retention_time_ms, tuple(committed), version
        )
        try:
            self._node.groups.tell(group_id, self._asked, self.answer)
        except KafkaError as refused:
            self.answer(refused)

    def encode(self, answer: CommitOffsetsResult | KafkaError) -> bytearray:
        """Return the response frame."""
        result = CommitOffsetsResult(answer.error_code, {}) if isinstance(answer, KafkaError) else answer
        if self._journal is not None and self._asked is not None and result.error is ErrorCode.NONE:
            self._note(self._journal, self._asked, result)
        if self._unknown or result.refused:
            pairs = zip(self._request.topics, self._images, strict=True)
            # As Apache Kafka: a topic that exists is left out where no partition of it is asked for.
            asked = [(topic, image) for topic, image in pairs if topic.partitions or image is None]
            topics = [self._answered(topic, image, result) for topic, image in asked]
        else:
            error = int(result.error)
            topics = [
                AnsweredTopic(name, topic_id, [(one[0], error) for one in partitions])
                for name, topic_id, partitions in self._request.topics
            ]
        header = self._header
        frame = encode_offset_commit_response(header.api_version, header.correlation_id, topics)
        if self._received is not None and result.error is ErrorCode.NONE and not result.refused:
            self._learn(self._received, bytes(frame))
        return frame

    def _learn(self, received: bytes, response: bytes) -> None:
        """Have the connection answer this commit when it comes again, if all was committed in the turn it came in."""
        if self._unknown or self._asked is None or not self.connection.reading:
            return
        repeated = repeated_commit(self._node, self._header, received, self._asked, response)
        if repeated is not None:
            self.connection.known.add(repeated)

    def _answered(self, topic: CommitTopic, image: TopicImage | None, result: CommitOffsetsResult) -> AnsweredTopic:
        if image is None:
            errors = [(one[0], int(self._missing)) for one in topic.partitions]
        else:
            name, known, refused = image.name, range(len(image.partitions)), result.refused
            unknown, error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, result.error
            errors = [
                (one[0], int(refused.get((name, one[0]), error) if one[0] in known else unknown))
                for one in topic.partitions
            ]
        return AnsweredTopic(topic.name, topic.topic_id, errors)

    def _note(self, journal: Journal, asked: CommitOffsets, result: CommitOffsetsResult) -> None:
        """Note what was committed, for telemetry."""
        refused = result.refused
        offsets = [(topic.topic, one[0], one[1]) for topic in asked.topics for one in topic.partitions]
        if refused:
            offsets = [one for one in offsets if (one[0], one[1]) not in refused]
        journal.add(Committed(asked.group_id, self._header.client_id, tuple(offsets), perf_counter_ns()))


def receive_offset_commit(node: Node, connection: Connection, header: RequestHeader, frame: memoryview) -> ResponseSlot:
    """Commit offsets of the partitions that exist."""
    request = decode_offset_commit(frame, header.body_position, header.api_version)
    slot = OffsetCommitResponse(node, connection, header, request)
    if connection.known.may_repeat(len(frame)):
        slot.keep(frame)
    slot.start()
    return slot


RECEIVERS: Final[dict[ApiKey, Receive]] = {ApiKey.OFFSET_COMMIT: receive_offset_commit}
