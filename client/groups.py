"""Groups: list, describe, delete, remove members; classic (KIP-62), consumer (KIP-848) and share groups.

A group's coordinator is the broker that lists it, so describing all groups takes one ListGroups and one or two more
requests to each broker, not one to each group.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from struct import error as struct_error
from typing import Any, Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError
from klamm.client.requests import failure, shapes

FIND_COORDINATOR: Final = 10
LEAVE_GROUP: Final = 13
DESCRIBE_GROUPS: Final = 15
LIST_GROUPS: Final = 16
DELETE_GROUPS: Final = 42
CONSUMER_GROUP_DESCRIBE: Final = 69
SHARE_GROUP_DESCRIBE: Final = 77
_GROUP_ID_NOT_FOUND: Final = 69
_INT16: Final = Struct(">h")
_INT32: Final = Struct(">i")
GROUP, TRANSACTION = 0, 1

Errors = dict[str, ClientError]


class ListedGroup(NamedTuple):
    """A group as its coordinator lists it; type and state are "" where the broker is too old to say."""

    group_id: str
    state: str
    type: str
    protocol_type: str
    coordinator: int


class Member(NamedTuple):
    """A member and the partitions it has."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    assignments: list[tuple[str, int]]
    subscriptions: list[str]


class DescribedGroup(NamedTuple):
    """A group in full. ``epoch`` is the group epoch of a consumer group."""

    group_id: str
    state: str
    type: str
    protocol_type: str
    assignor: str
    epoch: int | None
    coordinator: int
    members: list[Member]


async def coordinators(cluster: Cluster, keys: Iterable[str], key_type: int = GROUP) -> tuple[dict[str, int], Errors]:
    """Return the coordinator's broker id by key, and errors. One request where the broker takes many keys."""
    wanted = list(dict.fromkeys(keys))
    shape = shapes(FIND_COORDINATOR)
    batch = len(wanted)
    connection = await cluster.any_connection()
    if connection.version_of(FIND_COORDINATOR) < 4:  # noqa: PLR2004 (many keys since version 4, KIP-699)
        batch = 1
    found: dict[str, int] = {}
    errors: Errors = {}

    async def attempt(part: Sequence[str]) -> None:
        request = shape.FindCoordinatorRequest(key_type=key_type, coordinator_keys=tuple(part))
        response = await cluster.ask(FIND_COORDINATOR, request)
        for each in response.coordinators:
            error = failure(each.error_code, each.error_message, each.key)
            if error is None:
                found[each.key] = int(each.node_id)
            elif error.code == "COORDINATOR_NOT_AVAILABLE":  # its topic is being created
                raise error
            else:
                errors[each.key] = error

    for start in range(0, len(wanted), max(1, batch)):
        part = wanted[start : start + batch]
        await cluster.retry(lambda part=part: attempt(part))  # type: ignore[misc] # mypy cannot infer a default's type
    return found, errors


async def list_groups(
    cluster: Cluster, states: Sequence[str] = (), types: Sequence[str] = ()
) -> tuple[list[ListedGroup], list[ClientError]]:
    """Return every group by name, and the errors of brokers that could not say. One request to each broker."""
    shape = shapes(LIST_GROUPS)
    request = shape.ListGroupsRequest(states_filter=tuple(states), types_filter=tuple(types))

    async def send(broker_id: int, request: object) -> Any:  # noqa: ANN401 (a response)
        response = await cluster.ask(LIST_GROUPS, request, broker_id)
        error = failure(response.error_code, None, f"broker {broker_id}")
        if error is not None:
            raise error
        return response

    brokers = await cluster.brokers()

    async def sending(broker_id: int, request: object) -> Any:  # noqa: ANN401 (a response)
        return await cluster.retry(lambda: send(broker_id, request))

    answers, errors = await cluster.per_broker(dict.fromkeys(brokers, request), sending)
    if errors and not answers:
        raise next(iter(errors.values()))
    groups = [
        ListedGroup(str(each.group_id), each.group_state, each.group_type.lower(), each.protocol_type, broker_id)
        for broker_id, answer in answers.items()
        for each in answer.groups
    ]
    return sorted(groups), list(errors.values())


async def find_groups(cluster: Cluster, names: Sequence[str]) -> tuple[list[ListedGroup], Errors, list[ClientError]]:
    """Return the groups with these names, an error for each name without a group, and brokers' errors."""
    groups, broker_errors = await list_groups(cluster)
    by_name = {group.group_id: group for group in groups}
    errors: Errors = {
        name: ResponseError(_GROUP_ID_NOT_FOUND, f"there is no group {name!r}", name=name)
        for name in names
        if name not in by_name
    }
    return [by_name[name] for name in names if name in by_name], errors, broker_errors


async def describe_groups(cluster: Cluster, groups: Sequence[ListedGroup]) -> tuple[list[DescribedGroup], Errors]:
    """Describe groups with their members. One request to each broker for each type of group it has."""
    requests: list[tuple[int, str, list[str]]] = []
    for kind in ("classic", "consumer", "share"):
        by_broker: dict[int, list[str]] = {}
        for group in groups:
            if _kind(group) == kind:
                by_broker.setdefault(group.coordinator, []).append(group.group_id)
        requests += [(broker_id, kind, names) for broker_id, names in by_broker.items()]
    describe = {"classic": _describe_classic, "consumer": _describe_consumer, "share": _describe_share}
    keyed = dict(enumerate(requests))

    async def send(number: int, _: object) -> tuple[list[DescribedGroup], Errors]:
        broker_id, kind, names = keyed[number]
        return await describe[kind](cluster, broker_id, names)

    answers, failures = await cluster.per_broker(keyed, send)
    found: list[DescribedGroup] = []
    errors: Errors = {}
    for described, failed in answers.values():
        found += described
        errors.update(failed)
    for number, error in failures.items():
        errors.update(dict.fromkeys(keyed[number][2], error))
    return sorted(found, key=lambda group: group.group_id), errors


async def delete_groups(cluster: Cluster, groups: Sequence[ListedGroup]) -> tuple[list[str], Errors]:
    """Delete groups with their offsets; return the names that are gone. One request to each coordinator."""
    shape = shapes(DELETE_GROUPS)
    by_broker: dict[int, list[str]] = {}
    for group in groups:
        by_broker.setdefault(group.coordinator, []).append(group.group_id)

    async def send(broker_id: int, names: list[str]) -> Any:  # noqa: ANN401 (a response)
        return await cluster.ask(DELETE_GROUPS, shape.DeleteGroupsRequest(groups_names=tuple(names)), broker_id)

    answers, failures = await cluster.per_broker(by_broker, send)
    done: list[str] = []
    errors: Errors = {}
    for answer in answers.values():
        for each in answer.results:
            error = failure(each.error_code, None, str(each.group_id))
            if error is None:
                done.append(str(each.group_id))
            else:
                errors[str(each.group_id)] = error
    for broker_id, failed in failures.items():
        errors.update(dict.fromkeys(by_broker[broker_id], failed))
    return sorted(done), errors


async def remove_members(
    cluster: Cluster, group: ListedGroup, members: Sequence[Member], reason: str
) -> tuple[list[str], Errors]:
    """Make members leave a classic group; each joins again if it lives. Returns the ids that left."""
    shape = shapes(LEAVE_GROUP)
    request = shape.LeaveGroupRequest(
        group_id=group.group_id,
        members=tuple(
            shape.MemberIdentity(
                member_id="" if member.instance_id else member.member_id,
                group_instance_id=member.instance_id,
                reason=reason,
            )
            for member in members
        ),
    )
    response = await cluster.ask(LEAVE_GROUP, request, group.coordinator)
    error = failure(response.error_code, None, group.group_id)
    if error is not None:
        raise error
    left: list[str] = []
    errors: Errors = {}
    for each, member in zip(response.members, members, strict=True):
        failed = failure(each.error_code, None, member.member_id)
        if failed is None:
            left.append(member.member_id)
        else:
            errors[member.member_id] = failed
    return left, errors


def _kind(group: ListedGroup) -> str:
    return group.type if group.type in {"consumer", "share"} else "classic"


async def _describe_classic(cluster: Cluster, broker_id: int, names: list[str]) -> tuple[list[DescribedGroup], Errors]:
    shape = shapes(DESCRIBE_GROUPS)
    request = shape.DescribeGroupsRequest(groups=tuple(names), include_authorized_operations=False)
    response = await cluster.ask(DESCRIBE_GROUPS, request, broker_id)
    found: list[DescribedGroup] = []
    errors: Errors = {}
    for each in response.groups:
        error = failure(each.error_code, each.error_message, str(each.group_id))
        if error is not None:
            errors[str(each.group_id)] = error
            continue
        members = [
            Member(
                member.member_id,
                member.group_instance_id,
                member.client_id,
                member.client_host,
                decode_assignment(member.member_assignment),
                decode_subscription(member.member_metadata),
            )
            for member in each.members
        ]
        found.append(
            DescribedGroup(
                str(each.group_id),
                each.group_state,
                "classic",
                each.protocol_type,
                each.protocol_data,
                None,
                broker_id,
                members,
            )
        )
    return found, errors


async def _describe_consumer(cluster: Cluster, broker_id: int, names: list[str]) -> tuple[list[DescribedGroup], Errors]:
    return await _describe_new(cluster, broker_id, names, CONSUMER_GROUP_DESCRIBE, "ConsumerGroupDescribeRequest")


async def _describe_share(cluster: Cluster, broker_id: int, names: list[str]) -> tuple[list[DescribedGroup], Errors]:
    return await _describe_new(cluster, broker_id, names, SHARE_GROUP_DESCRIBE, "ShareGroupDescribeRequest")


async def _describe_new(
    cluster: Cluster, broker_id: int, names: list[str], api_key: int, request_name: str
) -> tuple[list[DescribedGroup], Errors]:
    request = getattr(shapes(api_key), request_name)(group_ids=tuple(names), include_authorized_operations=False)
    response = await cluster.ask(api_key, request, broker_id)
    kind = "consumer" if api_key == CONSUMER_GROUP_DESCRIBE else "share"
    found: list[DescribedGroup] = []
    errors: Errors = {}
    for each in response.groups:
        error = failure(each.error_code, each.error_message, str(each.group_id))
        if error is not None:
            errors[str(each.group_id)] = error
            continue
        members = [
            Member(
                str(member.member_id),
                getattr(member, "instance_id", None),
                member.client_id,
                member.client_host,
                [
                    (str(part.topic_name), int(index))
                    for part in member.assignment.topic_partitions
                    for index in part.partitions
                ],
                [str(name) for name in member.subscribed_topic_names or ()],
            )
            for member in each.members
        ]
        found.append(
            DescribedGroup(
                str(each.group_id),
                each.group_state,
                kind,
                kind,
                each.assignor_name,
                int(each.group_epoch),
                broker_id,
                members,
            )
        )
    return found, errors


def decode_assignment(data: bytes) -> list[tuple[str, int]]:
    """Return the partitions of a consumer's assignment; none where the bytes are another protocol's."""
    try:
        (count,) = _INT32.unpack_from(data, 2)
        position = 6
        found: list[tuple[str, int]] = []
        for _ in range(count):
            topic, position = _text(data, position)
            (partitions,) = _INT32.unpack_from(data, position)
            position += 4
            if not 0 <= partitions * 4 <= len(data) - position:
                return []
            found += [(topic, _INT32.unpack_from(data, position + 4 * place)[0]) for place in range(partitions)]
            position += 4 * partitions
    except (struct_error, UnicodeDecodeError):
        return []
    return found


def decode_subscription(data: bytes) -> list[str]:
    """Return the topics of a consumer's subscription; none where the bytes are another protocol's."""
    try:
        (count,) = _INT32.unpack_from(data, 2)
        position = 6
        topics: list[str] = []
        for _ in range(count):
            topic, position = _text(data, position)
            topics.append(topic)
    except (struct_error, UnicodeDecodeError):
        return []
    return topics


def _text(data: bytes, position: int) -> tuple[str, int]:
    (size,) = _INT16.unpack_from(data, position)
    start = position + 2
    if size < 0 or start + size > len(data):
        msg = f"a text of {size} bytes at {position} of {len(data)}"
        raise struct_error(msg)
    return data[start : start + size].decode(), start + size
