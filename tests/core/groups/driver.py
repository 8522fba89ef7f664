"""Drives a group coordinator by hand: virtual time, a log of encoded records, replies by name.

Every record goes through its bytes; :meth:`Driver.reload` builds a second coordinator from them, as a restart would.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

from klamm.core.groups.config import GroupConfig
from klamm.core.groups.coordinator import GroupCoordinator, Request
from klamm.core.groups.messages import (
    Append,
    CommitOffsets,
    CommittedTopic,
    ConsumerGroupHeartbeat,
    Effect,
    Heartbeat,
    JoinGroup,
    JoinGroupResult,
    LeaveGroup,
    LeaveGroupResult,
    LeavingMember,
    Now,
    Protocols,
    Reply,
    SyncGroup,
    SyncGroupResult,
    TopicInfo,
)
from klamm.model.errors import ErrorCode
from klamm.model.ids import NO_TOPIC_ID, TopicId
from klamm.records.offsets_schema import GroupRecord, decode_record, encode_key, encode_value

SHADOWED_MEMBERS_MAX = 8  # a copy of a large group for each heartbeat would take a test minutes
WALL_MS = 1_700_000_000_000


@dataclass
class FakeTopics:
    counts: dict[str, int] = field(default_factory=dict)
    changes: int = 1

    def topic(self, name: str) -> TopicInfo | None:
        return TopicInfo(topic_id_of(name), name, self.counts[name]) if name in self.counts else None

    def topic_by_id(self, topic_id: TopicId) -> TopicInfo | None:
        return next((self.topic(name) for name in self.counts if topic_id_of(name) == topic_id), None)

    def names(self) -> frozenset[str]:
        return frozenset(self.counts)

    def version(self) -> int:
        return self.changes

    def set(self, name: str, partitions: int) -> None:
        self.counts[name] = partitions
        self.changes += 1


def topic_id_of(name: str) -> TopicId:
    return TopicId(UUID(bytes=name.encode().ljust(16, b"\0")[:16]))


class Driver:
    def __init__(self, config: GroupConfig | None = None, topics: FakeTopics | None = None) -> None:
        self.config = config or GroupConfig()
        self.topics = topics or FakeTopics()
        self.ms = 0
        self.log: list[tuple[bytes, bytes | None]] = []
        self.replies: dict[object, Any] = {}
        self._ids = count(1)
        self._tokens = count(1)
        self.coordinator = self._new()

    def _new(self) -> GroupCoordinator:
        return GroupCoordinator(self.config, self.topics, lambda: f"id{next(self._ids)}")

    @property
    def now(self) -> Now:
        return Now(WALL_MS + self.ms, self.ms)

    def apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Append):
                self.append(effect.records)
            else:
                assert effect.reply_to not in self.replies, "two replies to one request"
                self.replies[effect.reply_to] = effect.result

    def append(self, records: tuple[GroupRecord, ...] | list[GroupRecord]) -> None:
        for record in records:
            encoded = encode_key(record.key), None if record.value is None else encode_value(record.value)
            assert decode_record(*encoded) == record
            self.log.append(encoded)

    def send(self, request: Request) -> int:
        token = next(self._tokens)
        shadow, quick = self.coordinator, None
        if isinstance(request, ConsumerGroupHeartbeat) and self._is_small(request.group_id):
            shadow = deepcopy(self.coordinator)
            quick = shadow.unchanged_heartbeat(request, self.now)
        effects = self.coordinator.handle(request, self.now, token)
        if quick is not None:
            assert effects == [Reply(token, quick)], "the short path answers as the long one, which changes nothing"
            assert shadow.next_deadline_ms() == self.coordinator.next_deadline_ms()
        self.apply(effects)
        return token

    def _is_small(self, group_id: str) -> bool:
        group = self.coordinator.groups.get(group_id)
        return group is not None and len(group.members) <= SHADOWED_MEMBERS_MAX

    def ask(self, request: Request) -> Any:
        token = self.send(request)
        assert token in self.replies, f"no reply yet to {request}"
        return self.replies[token]

    def advance(self, ms: int) -> None:
        """Let time pass, timers included, in the order they run out."""
        end = self.ms + ms
        while True:
            following = self.coordinator.next_deadline_ms()
            if following is None or following > end:
                break
            self.ms = max(self.ms, following)
            self.apply(self.coordinator.expire(self.now))
        self.ms = end
        self.apply(self.coordinator.expire(self.now))

    def reload(self) -> None:
        """Restart: a new coordinator from the log alone."""
        self.apply(self.coordinator.resign(ErrorCode.NOT_COORDINATOR))
        self.coordinator = self._new()
        for key, value in self.log:
            record = decode_record(key, value)
            assert record is not None
            self.coordinator.replay(record)
        self.apply(self.coordinator.loaded(self.now))

    # Classic requests, shortly

    def join(
        self,
        member_id: str = "",
        *,
        group: str = "g",
        instance: str | None = None,
        protocols: tuple[tuple[str, bytes], ...] = (("range", b"m"),),
        protocol_type: str = "consumer",
        session_ms: int = 10_000,
        rebalance_ms: int = 60_000,
        known_id: bool = True,
        skip: bool = True,
    ) -> int:
        return self.send(
            JoinGroup(
                group,
                member_id,
                instance,
                session_ms,
                rebalance_ms,
                protocol_type,
                tuple(Protocols(*protocol) for protocol in protocols),
                "client",
                "/127.0.0.1",
                requires_known_member_id=known_id,
                supports_skipping_assignment=skip,
            )
        )

    def joined(self, token: int) -> JoinGroupResult:
        result = self.replies[token]
        assert isinstance(result, JoinGroupResult)
        return result

    def sync(
        self,
        member_id: str,
        generation_id: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group: str = "g",
        instance: str | None = None,
        protocol_type: str | None = None,
        protocol_name: str | None = None,
    ) -> int:
        pairs = tuple((assignments or {}).items())
        return self.send(SyncGroup(group, member_id, instance, generation_id, protocol_type, protocol_name, pairs))

    def synced(self, token: int) -> SyncGroupResult:
        result = self.replies[token]
        assert isinstance(result, SyncGroupResult)
        return result

    def heartbeat(
        self, member_id: str, generation_id: int, *, group: str = "g", instance: str | None = None
    ) -> ErrorCode:
        return self.coordinator.heartbeat(Heartbeat(group, member_id, instance, generation_id), self.now)

    def leave(self, *members: tuple[str, str | None], group: str = "g") -> LeaveGroupResult:
        result = self.ask(LeaveGroup(group, tuple(LeavingMember(*member) for member in members)))
        assert isinstance(result, LeaveGroupResult)
        return result

    def commit(
        self,
        offset: int,
        *,
        group: str = "g",
        member_id: str = "",
        generation_id: int = -1,
        instance: str | None = None,
        topic: str = "t",
        partition: int = 0,
        metadata: str | None = "",
        retention_ms: int = -1,
        api_version: int = 9,
    ) -> ErrorCode:
        topics = (CommittedTopic(topic, NO_TOPIC_ID, ((partition, offset, 0, metadata),)),)
        request = CommitOffsets(group, member_id, instance, generation_id, retention_ms, topics, api_version)
        result, records = self.coordinator.commit_offsets(request, self.now)
        self.append(records)
        return result.refused.get((topic, partition), ErrorCode.NONE) if not result.error else result.error

    def stable_group(self, members: int = 1, *, instances: tuple[str, ...] = ()) -> tuple[list[str], int]:
        """Bring a group to Stable; return its members, the leader first, and its generation."""
        tokens: list[int] = []
        for index in range(members):
            if index < len(instances):
                tokens.append(self.join(instance=instances[index]))
            else:
                member_id = self.joined(self.join()).member_id
                tokens.append(self.join(member_id))
        while any(token not in self.replies for token in tokens):
            self.advance(self.config.group_initial_rebalance_delay_ms)
        results = [self.joined(token) for token in tokens]
        leader = results[0].leader
        ids = sorted((result.member_id for result in results), key=lambda one: one != leader)
        generation = results[0].generation_id
        for member_id in reversed(ids):
            instance = instances[[result.member_id for result in results].index(member_id)] if instances else None
            assignments = {one: f"a-{one}".encode() for one in ids} if member_id == leader else None
            self.sync(member_id, generation, assignments, instance=instance)
        return ids, generation
