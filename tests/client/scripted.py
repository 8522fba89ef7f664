"""A cluster that a test arranges: topics, groups and brokers as plain values, answered as a broker would."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from klamm.client.in_process import InProcessCluster
from klamm.client.offsets_wire import EARLIEST_LOCAL
from klamm.client.requests import _Shapes, milliseconds
from klamm.client.settings import Address
from klamm.model.errors import ErrorCode
from klamm.protocol import messages

METADATA, LIST_OFFSETS, FETCH, OFFSET_FETCH, LIST_GROUPS, SHARE_OFFSETS, DESCRIBE_GROUPS = 3, 2, 1, 9, 16, 90, 15
VERSIONS = {1: (4, 18), 2: (1, 11), 3: (0, 13), 9: (1, 10), 15: (0, 6), 16: (0, 5), 90: (0, 1)}


@dataclass
class Part:
    """One partition; ``batches`` are (base offset, next offset, bytes).

    What lies below ``local_start`` is only in tiered storage; ``fetch_error`` is of Fetch alone.
    """

    end: int = 0
    start: int = 0
    local_start: int = 0
    stable: int | None = None
    leader: int = 1
    error: ErrorCode = ErrorCode.NONE
    fetch_error: ErrorCode = ErrorCode.NONE
    batches: list[tuple[int, int, bytes]] = field(default_factory=list)


@dataclass
class Group:
    """One group; an offset of -1 is no commit."""

    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    kind: str = "Classic"
    coordinator: int = 1
    error: ErrorCode = ErrorCode.NONE


class Scripted:
    """Answers; ``before`` is called with the API key of each request and may change anything.

    Attributes:
        asked: (broker id, API key) of every request so far.
        tiered_reads: (topic, partition, offset) of what was fetched from tiered storage.
    """

    def __init__(self, topics: dict[str, list[Part]], groups: dict[str, Group], brokers: int = 1) -> None:
        self.topics = topics
        self.groups = groups
        self.asked: list[tuple[int, int]] = []
        self.tiered_reads: list[tuple[str, int, int]] = []
        self.before: Callable[[int, int], Any] = lambda _broker, _api: None
        self.brokers = {number: Address("127.0.0.1", 9000 + number) for number in range(1, brokers + 1)}

    def cluster(self) -> InProcessCluster:
        return InProcessCluster(self.brokers, self.answer, VERSIONS)

    async def answer(self, broker: int, api: int, request: Any) -> Any:
        self.asked.append((broker, api))
        waiting = self.before(broker, api)
        if waiting is not None:
            await waiting
        shape = _Shapes(messages.response_class(api))
        answers = {
            METADATA: self._metadata, LIST_GROUPS: self._list_groups, OFFSET_FETCH: self._offset_fetch,
            LIST_OFFSETS: self._list_offsets, FETCH: self._fetch, SHARE_OFFSETS: self._share_offsets,
            DESCRIBE_GROUPS: self._describe_groups,
        }  # fmt: skip
        return answers[api](broker, request, shape)

    def count(self, api: int) -> int:
        return sum(asked == api for _, asked in self.asked)

    def _metadata(self, _broker: int, request: Any, shape: Any) -> Any:
        wanted = list(self.topics) if request.topics is None else [str(topic.name) for topic in request.topics]
        return shape.MetadataResponse(
            throttle_time=timedelta(0),
            brokers=tuple(
                shape.MetadataResponseBroker(node_id=number, host=each.host, port=each.port, rack=None)
                for number, each in self.brokers.items()
            ),
            cluster_id="scripted",
            controller_id=1,
            topics=tuple(
                shape.MetadataResponseTopic(
                    error_code=_code(ErrorCode.NONE if name in self.topics else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
                    name=name, topic_id=UUID(int=7), is_internal=False, topic_authorized_operations=0,
                    partitions=tuple(
                        shape.MetadataResponsePartition(
                            error_code=_code(ErrorCode.NONE), partition_index=index, leader_id=part.leader,
                            leader_epoch=1, replica_nodes=(1,), isr_nodes=(1,), offline_replicas=(),
                        )
                        for index, part in enumerate(self.topics.get(name, ()))
                    ),
                )
                for name in wanted
            ),
            error_code=_code(ErrorCode.NONE),
        )  # fmt: skip

    def _list_groups(self, broker: int, _request: Any, shape: Any) -> Any:
        return shape.ListGroupsResponse(
            throttle_time=timedelta(0),
            error_code=_code(ErrorCode.NONE),
            groups=tuple(
                shape.ListedGroup(group_id=name, protocol_type="consumer", group_state="Stable", group_type=each.kind)
                for name, each in self.groups.items()
                if each.coordinator == broker
            ),
        )

    def _describe_groups(self, _broker: int, request: Any, shape: Any) -> Any:
        return shape.DescribeGroupsResponse(
            throttle_time=timedelta(0),
            groups=tuple(
                shape.DescribedGroup(
                    error_code=_code(ErrorCode.NONE), error_message=None, group_id=name, group_state="Empty",
                    protocol_type="consumer", protocol_data="range", members=(),
                )
                for name in request.groups
            ),
        )  # fmt: skip

    def _offset_fetch(self, _broker: int, request: Any, shape: Any) -> Any:
        groups = []
        for asked in request.groups:
            group = self.groups[str(asked.group_id)]
            topics: dict[str, list[Any]] = {}
            for (topic, index), offset in group.offsets.items():
                topics.setdefault(topic, []).append(
                    shape.OffsetFetchResponsePartitions(
                        partition_index=index, committed_offset=offset, committed_leader_epoch=-1, metadata="",
                        error_code=_code(ErrorCode.NONE),
                    )
                )  # fmt: skip
            groups.append(
                shape.OffsetFetchResponseGroup(
                    group_id=asked.group_id, error_code=_code(group.error),
                    topics=tuple(
                        shape.OffsetFetchResponseTopics(name=topic, topic_id=UUID(int=7), partitions=tuple(parts))
                        for topic, parts in topics.items()
                    ),
                )
            )  # fmt: skip
        return shape.OffsetFetchResponse(throttle_time=timedelta(0), groups=tuple(groups))

    def _share_offsets(self, _broker: int, request: Any, shape: Any) -> Any:
        groups = []
        for asked in request.groups:
            group = self.groups[str(asked.group_id)]
            groups.append(
                shape.DescribeShareGroupOffsetsResponseGroup(
                    group_id=asked.group_id, error_code=_code(group.error), error_message=None,
                    topics=tuple(
                        shape.DescribeShareGroupOffsetsResponseTopic(
                            topic_name=topic, topic_id=UUID(int=7),
                            partitions=(
                                shape.DescribeShareGroupOffsetsResponsePartition(
                                    partition_index=index, start_offset=offset, leader_epoch=0, lag=5,
                                    error_code=_code(ErrorCode.NONE), error_message=None,
                                ),
                            ),
                        )
                        for (topic, index), offset in group.offsets.items()
                    ),
                )
            )  # fmt: skip
        return shape.DescribeShareGroupOffsetsResponse(throttle_time=timedelta(0), groups=tuple(groups))

    def _list_offsets(self, broker: int, request: Any, shape: Any) -> Any:
        topics = []
        for topic in request.topics:
            parts = []
            for asked in topic.partitions:
                part = self.topics[str(topic.name)][asked.partition_index]
                error = part.error if part.leader == broker else ErrorCode.NOT_LEADER_OR_FOLLOWER
                local = max(part.start, part.local_start)
                is_local = milliseconds(asked.timestamp) == EARLIEST_LOCAL
                parts.append(
                    shape.ListOffsetsPartitionResponse(
                        partition_index=asked.partition_index, error_code=_code(error), leader_epoch=1,
                        offset=-1 if error is not ErrorCode.NONE else local if is_local else part.end,
                    )
                )  # fmt: skip
            topics.append(shape.ListOffsetsTopicResponse(name=topic.name, partitions=tuple(parts)))
        return shape.ListOffsetsResponse(throttle_time=timedelta(0), topics=tuple(topics))

    def _fetch(self, _broker: int, request: Any, shape: Any) -> Any:
        topics = []
        for topic in request.topics:
            name = str(topic.topic)
            parts = []
            for asked in topic.partitions:
                part = self.topics[name][asked.partition]
                data = b"".join(batch for _, after, batch in part.batches if after > asked.fetch_offset)
                early = asked.fetch_offset < part.start
                if not early and asked.fetch_offset < part.local_start:
                    self.tiered_reads.append((name, asked.partition, asked.fetch_offset))
                parts.append(
                    shape.PartitionData(
                        partition_index=asked.partition,
                        error_code=_code(ErrorCode.OFFSET_OUT_OF_RANGE if early else part.fetch_error),
                        high_watermark=part.end,
                        last_stable_offset=part.end if part.stable is None else part.stable,
                        log_start_offset=part.start,
                        aborted_transactions=None,
                        preferred_read_replica=-1,
                        records=b"" if early else data[: asked.partition_max_bytes],
                    )
                )
            topics.append(shape.FetchableTopicResponse(topic=name, topic_id=UUID(int=7), partitions=tuple(parts)))
        return shape.FetchResponse(
            throttle_time=timedelta(0), error_code=_code(ErrorCode.NONE), session_id=0, responses=tuple(topics)
        )


def _code(error: ErrorCode) -> Any:
    return messages.wire_error(error)
