"""Messages whose shape changed between versions: what copying fields by name cannot do.

A widening adapter gets the decoded old message and the newest shape made of it, and completes the latter; a narrowing
adapter gets the newest message and the old shape made of it. The rules are those of Kafka's own request and response
classes (``FindCoordinatorRequest``, ``OffsetFetchRequest.Builder``, ``LeaveGroupResponse`` and so on).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from klamm.model.errors import UnsupportedVersionError
from klamm.protocol.apis import ApiKey
from klamm.protocol.conversion import conversion
from klamm.protocol.schema import Message, field_named

Adapt = Callable[[Message, Message], Message]

SAFE_DOWNGRADE: Final = 2
"""``upgrade_type`` of UpdateFeatures from version 1 on; in version 0 it was a flag, ``allow_downgrade``."""


class Adapter(NamedTuple):
    """A function for the versions up to ``version_max``, inclusive."""

    version_max: int
    adapt: Adapt


def _convert_all(values: Sequence[Message], owner: Message, name: str) -> tuple[Message, ...]:
    """Convert ``values`` to what the field ``name`` of ``owner`` holds."""
    target = field_named(type(owner), name).inner
    return tuple(conversion(type(value), target)(value) for value in values)


def _beside(message: Message, name: str) -> type:
    """Return the class ``name`` of the module that defines the class of ``message``."""
    found = getattr(sys.modules[type(message).__module__], name)
    assert isinstance(found, type)
    return found


def _only(values: Sequence[Message], what: str, api: str, version_max: int) -> Message:
    """Return the one element that an old shape has room for."""
    if len(values) != 1:
        msg = f"{api} up to version {version_max} takes one {what}, not {len(values)}"
        raise UnsupportedVersionError(msg)
    return values[0]


def _widen_fetch_request(old: Message, new: Message) -> Message:
    return replace(new, replica_state=replace(new.replica_state, replica_id=old.replica_id))


def _narrow_fetch_request(new: Message, old: Message) -> Message:
    return replace(old, replica_id=new.replica_state.replica_id)


def _widen_metadata_request(old: Message, new: Message) -> Message:
    """In version 0 no topics means all topics; later null does, and none means none."""
    return new if old.topics else replace(new, topics=None)


def _narrow_metadata_request(new: Message, old: Message) -> Message:
    if new.topics is not None and not new.topics:
        msg = "Metadata version 0 cannot ask for no topics: there, none means all"
        raise UnsupportedVersionError(msg)
    return replace(old, topics=old.topics or ())


def _widen_offset_fetch_request(old: Message, new: Message) -> Message:
    group = _beside(new, "OffsetFetchRequestGroup")
    topics = None if old.topics is None else _convert_all(old.topics, _blank_group(group, old.group_id), "topics")
    return replace(new, groups=(group(group_id=old.group_id, topics=topics),))


def _narrow_offset_fetch_request(new: Message, old: Message) -> Message:
    group = _only(new.groups, "group", "OffsetFetch", 7)
    if group.topics is not None:
        return replace(old, group_id=group.group_id, topics=_convert_all(group.topics, old, "topics"))
    if not field_named(type(old), "topics").is_nullable:
        msg = "OffsetFetch version 1 cannot ask for all topics"
        raise UnsupportedVersionError(msg)
    return replace(old, group_id=group.group_id, topics=None)


def _widen_offset_fetch_response(old: Message, new: Message) -> Message:
    group = _beside(new, "OffsetFetchResponseGroup")
    topics = _convert_all(old.topics, _blank_group(group, ""), "topics")
    error = {"error_code": old.error_code} if hasattr(old, "error_code") else {}
    return replace(new, groups=(group(group_id="", topics=topics, **error),))


def _narrow_offset_fetch_response(new: Message, old: Message) -> Message:
    """Version 1 has no error of its own: there the handler repeats the group's error for every partition asked for."""
    group = _only(new.groups, "group", "OffsetFetch", 7)
    error = {"error_code": group.error_code} if hasattr(old, "error_code") else {}
    return replace(old, topics=_convert_all(group.topics, old, "topics"), **error)


def _blank_group(group: type, group_id: str) -> Message:
    return group(group_id=group_id, topics=())


def _widen_find_coordinator_request(old: Message, new: Message) -> Message:
    return replace(new, coordinator_keys=(old.key,))


def _narrow_find_coordinator_request(new: Message, old: Message) -> Message:
    return replace(old, key=_only(new.coordinator_keys, "key", "FindCoordinator", 3))


def _widen_find_coordinator_response(old: Message, new: Message) -> Message:
    coordinator = _beside(new, "Coordinator")(
        key="",  # Older responses do not repeat it.
        node_id=old.node_id,
        host=old.host,
        port=old.port,
        error_code=old.error_code,
        error_message=getattr(old, "error_message", None),
    )
    return replace(new, coordinators=(coordinator,))


def _narrow_find_coordinator_response(new: Message, old: Message) -> Message:
    coordinator = _only(new.coordinators, "coordinator", "FindCoordinator", 3)
    values: dict[str, object] = {name: getattr(coordinator, name) for name in ("node_id", "host", "port", "error_code")}
    if hasattr(old, "error_message"):
        values["error_message"] = coordinator.error_message
    return replace(old, **values)


def _widen_join_group_request(old: Message, new: Message) -> Message:
    """Version 0 has no rebalance timeout: the session timeout is meant."""
    return replace(new, rebalance_timeout=old.session_timeout)


def _widen_leave_group_request(old: Message, new: Message) -> Message:
    return replace(new, members=(_beside(new, "MemberIdentity")(member_id=old.member_id),))


def _narrow_leave_group_request(new: Message, old: Message) -> Message:
    member = _only(new.members, "member", "LeaveGroup", 2)
    return replace(old, member_id=member.member_id)


def _narrow_leave_group_response(new: Message, old: Message) -> Message:
    """Up to version 2 the error of the one member is the error of the response."""
    if new.error_code.value or not new.members:
        return old
    return replace(old, error_code=_only(new.members, "member", "LeaveGroup", 2).error_code)


def _widen_delete_topics_request(old: Message, new: Message) -> Message:
    state = _beside(new, "DeleteTopicState")
    return replace(new, topics=tuple(state(name=name, topic_id=None) for name in old.topic_names))


def _narrow_delete_topics_request(new: Message, old: Message) -> Message:
    names = tuple(topic.name for topic in new.topics)
    if None in names:
        msg = "DeleteTopics up to version 5 names topics by name"
        raise UnsupportedVersionError(msg)
    return replace(old, topic_names=names)


def _widen_add_partitions_to_txn_request(old: Message, new: Message) -> Message:
    blank = _beside(new, "AddPartitionsToTxnTransaction")(
        transactional_id=old.v3_and_below_transactional_id,
        producer_id=old.v3_and_below_producer_id,
        producer_epoch=old.v3_and_below_producer_epoch,
        topics=(),
    )
    topics = _convert_all(old.v3_and_below_topics, blank, "topics")
    return replace(new, transactions=(replace(blank, topics=topics),))


def _narrow_add_partitions_to_txn_request(new: Message, old: Message) -> Message:
    transaction = _only(new.transactions, "transaction", "AddPartitionsToTxn", 3)
    return replace(
        old,
        v3_and_below_transactional_id=transaction.transactional_id,
        v3_and_below_producer_id=transaction.producer_id,
        v3_and_below_producer_epoch=transaction.producer_epoch,
        v3_and_below_topics=_convert_all(transaction.topics, old, "v3_and_below_topics"),
    )


def _widen_add_partitions_to_txn_response(old: Message, new: Message) -> Message:
    blank = _beside(new, "AddPartitionsToTxnResult")(transactional_id="", topic_results=())
    results = _convert_all(old.results_by_topic_v3_and_below, blank, "topic_results")
    return replace(new, results_by_transaction=(replace(blank, topic_results=results),))


def _narrow_add_partitions_to_txn_response(new: Message, old: Message) -> Message:
    result = _only(new.results_by_transaction, "transaction", "AddPartitionsToTxn", 3)
    topics = _convert_all(result.topic_results, old, "results_by_topic_v3_and_below")
    return replace(old, results_by_topic_v3_and_below=topics)


def _widen_update_features_request(old: Message, new: Message) -> Message:
    updates = tuple(
        replace(after, upgrade_type=SAFE_DOWNGRADE) if before.allow_downgrade else after
        for before, after in zip(old.feature_updates, new.feature_updates, strict=True)
    )
    return replace(new, feature_updates=updates)


def _narrow_update_features_request(new: Message, old: Message) -> Message:
    updates = tuple(
        replace(after, allow_downgrade=before.upgrade_type == SAFE_DOWNGRADE)
        for before, after in zip(new.feature_updates, old.feature_updates, strict=True)
    )
    return replace(old, feature_updates=updates)


WIDEN_REQUEST: Final[dict[ApiKey, Adapter]] = {
    ApiKey.FETCH: Adapter(14, _widen_fetch_request),
    ApiKey.METADATA: Adapter(0, _widen_metadata_request),
    ApiKey.OFFSET_FETCH: Adapter(7, _widen_offset_fetch_request),
    ApiKey.FIND_COORDINATOR: Adapter(3, _widen_find_coordinator_request),
    ApiKey.JOIN_GROUP: Adapter(0, _widen_join_group_request),
    ApiKey.LEAVE_GROUP: Adapter(2, _widen_leave_group_request),
    ApiKey.DELETE_TOPICS: Adapter(5, _widen_delete_topics_request),
    ApiKey.ADD_PARTITIONS_TO_TXN: Adapter(3, _widen_add_partitions_to_txn_request),
    ApiKey.UPDATE_FEATURES: Adapter(0, _widen_update_features_request),
}
NARROW_REQUEST: Final[dict[ApiKey, Adapter]] = {
    ApiKey.FETCH: Adapter(14, _narrow_fetch_request),
    ApiKey.METADATA: Adapter(0, _narrow_metadata_request),
    ApiKey.OFFSET_FETCH: Adapter(7, _narrow_offset_fetch_request),
    ApiKey.FIND_COORDINATOR: Adapter(3, _narrow_find_coordinator_request),
    ApiKey.LEAVE_GROUP: Adapter(2, _narrow_leave_group_request),
    ApiKey.DELETE_TOPICS: Adapter(5, _narrow_delete_topics_request),
    ApiKey.ADD_PARTITIONS_TO_TXN: Adapter(3, _narrow_add_partitions_to_txn_request),
    ApiKey.UPDATE_FEATURES: Adapter(0, _narrow_update_features_request),
}
WIDEN_RESPONSE: Final[dict[ApiKey, Adapter]] = {
    ApiKey.OFFSET_FETCH: Adapter(7, _widen_offset_fetch_response),
    ApiKey.FIND_COORDINATOR: Adapter(3, _widen_find_coordinator_response),
    ApiKey.ADD_PARTITIONS_TO_TXN: Adapter(3, _widen_add_partitions_to_txn_response),
}
NARROW_RESPONSE: Final[dict[ApiKey, Adapter]] = {
    ApiKey.OFFSET_FETCH: Adapter(7, _narrow_offset_fetch_response),
    ApiKey.FIND_COORDINATOR: Adapter(3, _narrow_find_coordinator_response),
    ApiKey.LEAVE_GROUP: Adapter(2, _narrow_leave_group_response),
    ApiKey.ADD_PARTITIONS_TO_TXN: Adapter(3, _narrow_add_partitions_to_txn_response),
}
