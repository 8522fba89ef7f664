"""Groups: list, describe, delete, remove members; classic (KIP-62), consumer (KIP-848) and share groups.

A group's coordinator is the broker that lists it, so describing all groups takes one ListGroups and one or two more
requests to each broker, not one to each group.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from klamm.client import group_describe_wire as describe_wire
from klamm.client import groups_wire as wire
from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, ResponseError, unreadable
from klamm.client.group_describe_wire import GroupAnswer, Member, decode_assignment, decode_subscription
from klamm.client.groups_wire import ListedGroup
from klamm.client.requests import BROKER_TIMEOUT_S, DESCRIBE_GROUP_RIGHT, failure, shapes, within
from klamm.protocol.errors import ProtocolError

__all__ = [
    "DescribedGroup", "ListedGroup", "Member", "coordinators", "decode_assignment", "decode_subscription",
    "delete_groups", "describe_groups", "find_groups", "list_groups", "not_listed", "remove_members",
]  # fmt: skip

FIND_COORDINATOR: Final = 10
LEAVE_GROUP: Final = 13
DELETE_GROUPS: Final = 42
SHARE_GROUP_DESCRIBE: Final = 77
MEMBERLESS: Final = frozenset({"Empty", "Dead"})
"""States of a group that nobody is in. Brokers before Kafka 2.6 list groups without a state: it is "" then."""
NOT_ALLOWED: Final = "GROUP_AUTHORIZATION_FAILED"
_GROUP_AUTHORIZATION_FAILED: Final = 30
_GROUP_ID_NOT_FOUND: Final = 69
GROUP, TRANSACTION = 0, 1

Errors = dict[str, ClientError]


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
    cluster: Cluster,
    states: Sequence[str] = (),
    types: Sequence[str] = (),
    *,
    broker_timeout_s: float = BROKER_TIMEOUT_S,
) -> tuple[list[ListedGroup], list[ClientError]]:
    """Return every group by name, and the errors of brokers that could not say. One request to each broker.

    ``states`` and ``types`` leave the others out; brokers before Kafka 2.6 and 3.8 know no such filter, and refuse.

    Raises:
        ClientError: No broker could say.
    """
    lowest = wire.TYPES_SINCE if types else wire.STATES_SINCE if states else wire.LIST_GROUPS_VERSIONS[0]
    versions = (lowest, wire.LIST_GROUPS_VERSIONS[1])

    def encode(version: int, correlation_id: int, client_id: str) -> bytes:
        return wire.encode_list_groups(version, correlation_id, client_id, states, types)

    async def attempt(broker_id: int) -> list[ListedGroup]:
        version, frame = await cluster.ask_encoded(wire.LIST_GROUPS, versions, encode, broker_id)
        try:
            error_code, found = wire.decode_list_groups(frame, version, broker_id)
        except ProtocolError as error:
            raise unreadable(broker_id, error) from error
        if error_code:
            raise ResponseError(error_code, None, name=f"broker {broker_id}")
        return found

    async def send(broker_id: int, _: None) -> list[ListedGroup]:
        return await within(cluster, broker_timeout_s, broker_id, cluster.retry(lambda: attempt(broker_id)))

    answers, errors = await cluster.per_broker(dict.fromkeys(await cluster.brokers()), send)
    if errors and not answers:
        raise next(iter(errors.values()))
    return sorted(group for found in answers.values() for group in found), list(errors.values())


async def find_groups(cluster: Cluster, names: Sequence[str]) -> tuple[list[ListedGroup], Errors, list[ClientError]]:
    """Return the groups with these names, an error for each name without a group, and brokers' errors."""
    groups, broker_errors = await list_groups(cluster)
    by_name = {group.group_id: group for group in groups}
    errors = await not_listed(cluster, [name for name in names if name not in by_name])
    return [by_name[name] for name in names if name in by_name], errors, broker_errors


async def not_listed(cluster: Cluster, names: Sequence[str]) -> Errors:
    """Return why brokers do not list groups of these names: there are none, or the user may not DESCRIBE them.

    A broker that is asked to describe a group refuses before it looks whether there is one
    (``KafkaApis.handleDescribeGroupsRequest``). One request; none for no names.
    """
    if not names:
        return {}
    refused: set[str] = set()
    with contextlib.suppress(ClientError, ProtocolError):  # it is not known better then
        version, frame = await cluster.ask_encoded(
            describe_wire.DESCRIBE_GROUPS,
            describe_wire.DESCRIBE_GROUPS_VERSIONS,
            lambda version, number, client: describe_wire.encode_describe_groups(version, number, client, names),
        )
        answers = describe_wire.decode_describe_groups(frame, version)
        refused = {each.group_id for each in answers if each.error_code == _GROUP_AUTHORIZATION_FAILED}
    return {name: _refused(name) if name in refused else _unknown(name) for name in names}


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


def _unknown(name: str) -> ClientError:
    return ResponseError(_GROUP_ID_NOT_FOUND, f"there is no group {name!r}", name=name)


def _refused(name: str) -> ClientError:
    error = ResponseError(_GROUP_AUTHORIZATION_FAILED, None, name=name, needs=DESCRIBE_GROUP_RIGHT)
    error.message = f"whether there is a group {name!r} is not known: it takes {DESCRIBE_GROUP_RIGHT}"
    return error


def _kind(group: ListedGroup) -> str:
    return group.type if group.type in {"consumer", "share"} else "classic"


async def _describe_classic(cluster: Cluster, broker_id: int, names: list[str]) -> tuple[list[DescribedGroup], Errors]:
    version, frame = await cluster.ask_encoded(
        describe_wire.DESCRIBE_GROUPS,
        describe_wire.DESCRIBE_GROUPS_VERSIONS,
        lambda version, number, client: describe_wire.encode_describe_groups(version, number, client, names),
        broker_id,
    )
    return _described(broker_id, "classic", version, frame, describe_wire.decode_describe_groups)


async def _describe_consumer(cluster: Cluster, broker_id: int, names: list[str]) -> tuple[list[DescribedGroup], Errors]:
    version, frame = await cluster.ask_encoded(
        describe_wire.CONSUMER_GROUP_DESCRIBE,
        describe_wire.CONSUMER_GROUP_DESCRIBE_VERSIONS,
        lambda version, number, client: describe_wire.encode_consumer_group_describe(version, number, client, names),
        broker_id,
    )
    return _described(broker_id, "consumer", version, frame, describe_wire.decode_consumer_group_describe)


def _described(
    broker_id: int, kind: str, version: int, frame: memoryview, decode: Callable[[memoryview, int], list[GroupAnswer]]
) -> tuple[list[DescribedGroup], Errors]:
    try:
        answers = decode(frame, version)
    except ProtocolError as error:
        raise unreadable(broker_id, error) from error
    errors: Errors = {
        each.group_id: ResponseError(
            each.error_code, each.error_message, name=each.group_id, needs=DESCRIBE_GROUP_RIGHT
        )
        for each in answers
        if each.error_code
    }
    found = [
        DescribedGroup(
            each.group_id, each.state, kind, kind if kind == "consumer" else each.protocol_type,
            each.assignor, each.epoch, broker_id, each.members,
        )
        for each in answers
        if not each.error_code
    ]  # fmt: skip
    return found, errors


async def _describe_share(cluster: Cluster, broker_id: int, names: list[str]) -> tuple[list[DescribedGroup], Errors]:
    request = shapes(SHARE_GROUP_DESCRIBE).ShareGroupDescribeRequest(
        group_ids=tuple(names), include_authorized_operations=False
    )
    response = await cluster.ask(SHARE_GROUP_DESCRIBE, request, broker_id)
    found: list[DescribedGroup] = []
    errors: Errors = {}
    for each in response.groups:
        error = failure(each.error_code, each.error_message, str(each.group_id), needs=DESCRIBE_GROUP_RIGHT)
        if error is not None:
            errors[str(each.group_id)] = error
            continue
        members = [
            Member(
                str(member.member_id),
                None,
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
                str(each.group_id), each.group_state, "share", "share", each.assignor_name, int(each.group_epoch),
                broker_id, members,
            )
        )  # fmt: skip
    return found, errors
