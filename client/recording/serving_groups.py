"""Answers about groups from a recorded state: who there is, who is in it, what is committed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from struct import Struct
from typing import Any, Final
from uuid import UUID

from klamm.client.recording.state import Row, State, hides_groups
from klamm.client.requests import response_shapes
from klamm.model.errors import ErrorCode
from klamm.protocol import messages

_NOW: Final = timedelta(0)
_NO_ID: Final = UUID(int=0)
_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")


def listed_groups(state: State, broker: int, request: Any) -> Any:  # noqa: ANN401 (messages are generated)
    """Answer ListGroups."""
    shape = response_shapes(16)
    states = {str(each).lower() for each in request.states_filter}
    types = {str(each).lower() for each in request.types_filter}
    groups: list[Any] = []
    for row in state.values():
        if row.kind != "group" or row.broker != broker:
            continue
        about = row.json()
        if (states and about["state"].lower() not in states) or (types and about["type"].lower() not in types):
            continue
        groups.append(
            shape.ListedGroup(
                group_id=row.name, protocol_type=about["protocol"], group_state=about["state"], group_type=about["type"]
            )
        )
    return shape.ListGroupsResponse(throttle_time=_NOW, error_code=_code(ErrorCode.NONE), groups=tuple(groups))


def coordinators(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer FindCoordinator for groups that were recorded."""
    shape = response_shapes(10)
    found: list[Any] = []
    for key in request.coordinator_keys:
        row = state.get(("group", str(key), "", -1))
        error = ErrorCode.NONE if row is not None else ErrorCode.GROUP_ID_NOT_FOUND
        broker = -1 if row is None else row.broker
        found.append(
            shape.Coordinator(key=key, node_id=broker, host="", port=-1, error_code=_code(error), error_message=None)
        )
    return shape.FindCoordinatorResponse(throttle_time=_NOW, coordinators=tuple(found))


def offsets(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer OffsetFetch."""
    shape = response_shapes(9)
    wanted = {str(group.group_id) for group in request.groups}
    commits: dict[str, dict[tuple[str, int], Row]] = {name: {} for name in wanted}
    for row in state.values():
        if row.kind == "commit" and row.name in wanted:
            commits[row.name][row.topic, row.partition] = row
    groups: list[Any] = []
    for group in request.groups:
        known = commits[str(group.group_id)]
        places: Iterable[tuple[str, int]] = known
        if group.topics is not None:
            places = [(str(topic.name), int(index)) for topic in group.topics for index in topic.partition_indexes]
        topics: dict[str, list[Any]] = {}
        for topic, index in places:
            commit = known.get((topic, index))
            text = "" if commit is None or not commit.body else commit.json()["metadata"]
            topics.setdefault(topic, []).append(
                shape.OffsetFetchResponsePartitions(
                    partition_index=index, committed_offset=-1 if commit is None else commit.offset,
                    committed_leader_epoch=-1 if commit is None else commit.end, metadata=text,
                    error_code=_code(ErrorCode.NONE),
                )
            )  # fmt: skip
        groups.append(
            shape.OffsetFetchResponseGroup(
                group_id=group.group_id, error_code=_code(ErrorCode.NONE),
                topics=tuple(
                    shape.OffsetFetchResponseTopics(name=topic, topic_id=_NO_ID, partitions=tuple(parts))
                    for topic, parts in topics.items()
                ),
            )
        )  # fmt: skip
    return shape.OffsetFetchResponse(throttle_time=_NOW, groups=tuple(groups))


def share_offsets(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer DescribeShareGroupOffsets."""
    shape = response_shapes(90)
    groups: list[Any] = []
    for group in request.groups:
        topics: dict[str, list[Any]] = {}
        for row in state.values():
            if row.kind == "commit" and row.name == str(group.group_id):
                lag = row.json().get("share_lag") if row.body else None
                topics.setdefault(row.topic, []).append(
                    shape.DescribeShareGroupOffsetsResponsePartition(
                        partition_index=row.partition, start_offset=row.offset, leader_epoch=0,
                        lag=-1 if lag is None else lag, error_code=_code(ErrorCode.NONE), error_message=None,
                    )
                )  # fmt: skip
        groups.append(
            shape.DescribeShareGroupOffsetsResponseGroup(
                group_id=group.group_id, error_code=_code(ErrorCode.NONE), error_message=None,
                topics=tuple(
                    shape.DescribeShareGroupOffsetsResponseTopic(
                        topic_name=topic, topic_id=_NO_ID, partitions=tuple(parts)
                    )
                    for topic, parts in topics.items()
                ),
            )
        )  # fmt: skip
    return shape.DescribeShareGroupOffsetsResponse(throttle_time=_NOW, groups=tuple(groups))


def described_groups(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer DescribeGroups: members with what they subscribed to and have, as consumers' bytes."""
    shape = response_shapes(15)
    groups: list[Any] = []
    for name in request.groups:
        about = _members(state, str(name))
        members = () if about is None else tuple(
            shape.DescribedGroupMember(
                member_id=member_id, group_instance_id=instance_id, client_id=client_id, client_host=host,
                member_metadata=_subscription(subscribed), member_assignment=_assignment(assigned),
            )
            for member_id, instance_id, client_id, host, assigned, subscribed in about["members"]
        )  # fmt: skip
        groups.append(
            shape.DescribedGroup(
                error_code=_found(state, name, about), error_message=_missing(about), group_id=name, members=members,
                group_state="" if about is None else about["state"],
                protocol_type="" if about is None else about["protocol"],
                protocol_data="" if about is None else about["assignor"] or "",
            )
        )  # fmt: skip
    return shape.DescribeGroupsResponse(throttle_time=_NOW, groups=tuple(groups))


def consumer_groups(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer ConsumerGroupDescribe (KIP-848)."""
    shape = response_shapes(69)
    groups = tuple(_described(shape, state, name, static=True) for name in request.group_ids)
    return shape.ConsumerGroupDescribeResponse(throttle_time=_NOW, groups=groups)


def share_groups(state: State, _broker: int, request: Any) -> Any:  # noqa: ANN401
    """Answer ShareGroupDescribe (KIP-932)."""
    shape = response_shapes(77)
    groups = tuple(_described(shape, state, name, static=False) for name in request.group_ids)
    return shape.ShareGroupDescribeResponse(throttle_time=_NOW, groups=groups)


def _described(shape: Any, state: State, name: Any, *, static: bool) -> Any:  # noqa: ANN401
    about = _members(state, str(name))
    members: list[Any] = []
    for member_id, instance_id, client_id, host, assigned, subscribed in [] if about is None else about["members"]:
        now = _assigned(shape, assigned)
        only = {"instance_id": instance_id, "subscribed_topic_regex": None, "target_assignment": now} if static else {}
        members.append(
            shape.Member(
                member_id=member_id, rack_id=None, member_epoch=0, client_id=client_id, client_host=host,
                subscribed_topic_names=tuple(subscribed), assignment=now, **only,
            )
        )  # fmt: skip
    epoch = -1 if about is None or about["epoch"] is None else about["epoch"]
    return shape.DescribedGroup(
        error_code=_found(state, name, about), error_message=_missing(about), group_id=name, group_epoch=epoch,
        group_state="" if about is None else about["state"], assignment_epoch=epoch,
        assignor_name="" if about is None else about["assignor"] or "", members=tuple(members),
    )  # fmt: skip


def _assigned(shape: Any, assigned: Iterable[tuple[str, int]]) -> Any:  # noqa: ANN401
    topics: dict[str, list[int]] = {}
    for topic, index in assigned:
        topics.setdefault(topic, []).append(index)
    return shape.Assignment(
        topic_partitions=tuple(
            shape.TopicPartitions(topic_id=_NO_ID, topic_name=topic, partitions=tuple(indexes))
            for topic, indexes in topics.items()
        )
    )


def _members(state: State, name: str) -> dict[str, Any] | None:
    row = state.get(("members", name, "", -1))
    return None if row is None else row.json()


def _found(state: State, name: Any, about: dict[str, Any] | None) -> Any:  # noqa: ANN401
    """Return whether a group was described; where some may have been hidden nobody knows whether there was this one."""
    if about is not None:
        return _code(ErrorCode.NONE)
    unknown = ("group", str(name), "", -1) not in state and hides_groups(state)
    return _code(ErrorCode.GROUP_AUTHORIZATION_FAILED if unknown else ErrorCode.GROUP_ID_NOT_FOUND)


def _missing(about: dict[str, Any] | None) -> str | None:
    return None if about is not None else "the recording has no members of it"


def _subscription(topics: Iterable[str]) -> bytes:
    """Return a ConsumerProtocolSubscription of version 0, as ``decode_subscription`` reads it."""
    names = list(topics)
    return _INT16.pack(0) + _INT32.pack(len(names)) + b"".join(_text(name) for name in names) + _INT32.pack(-1)


def _assignment(assigned: Iterable[tuple[str, int]]) -> bytes:
    """Return a ConsumerProtocolAssignment of version 0, as ``decode_assignment`` reads it."""
    topics: dict[str, list[int]] = {}
    for topic, index in assigned:
        topics.setdefault(topic, []).append(index)
    encoded = _INT16.pack(0) + _INT32.pack(len(topics))
    for topic, indexes in topics.items():
        encoded += _text(topic) + _INT32.pack(len(indexes)) + b"".join(_INT32.pack(index) for index in indexes)
    return encoded + _INT32.pack(-1)


def _text(text: str) -> bytes:
    data = text.encode()
    return _INT16.pack(len(data)) + data


def _code(error: ErrorCode) -> Any:  # noqa: ANN401 (an enum of kio's)
    return messages.wire_error(error)
