"""The broker's side of the group simulation: a coordinator over a log that loses what isn't committed, and its ledger.

The log commits in order, some time after an append; it may refuse an append. A crash of the broker keeps a random part
of what wasn't committed. The ledger holds what must be true however requests are lost, doubled or late:

- I5, I15: a committed offset never goes back, is one that somebody sent, and a fetch returns at least what was
  acknowledged before it was sent;
- I13: no partition has two owners in one generation, nor two owners at one time in the consumer protocol;
- I14: a refused commit changes nothing;
- I22: no request is answered twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from klamm.actors.coordinator_log import LogRead, LogUnreadable
from klamm.actors.group_coordinator import (
    Ask,
    CoordinatorPorts,
    GroupCoordinatorActor,
)
from klamm.actors.runtime import LoopActorRef
from klamm.actors.simulation import SimulatedNode, Simulation
from klamm.core.groups.classic_group import ClassicGroup
from klamm.core.groups.config import GroupConfig
from klamm.core.groups.consumer_group import ConsumerGroup
from klamm.core.groups.messages import (
    CommitOffsets,
    CommitOffsetsResult,
    ConsumerGroupHeartbeat,
    Heartbeat,
    RepeatedCommit,
)
from klamm.model.errors import ErrorCode, KafkaError
from klamm.records.commit_batch import CommitBatch, CommittedKey, Positions
from klamm.records.offsets_schema import OffsetCommitKey
from tests.core.groups.driver import FakeTopics

COMMIT_DELAY_MAX_S = 0.05
READ_BATCHES = 16
BROKER = "broker"


AT_ONCE_CHANCE = 0.5


def as_repeated(request: CommitOffsets) -> tuple[RepeatedCommit, Positions]:
    """Return a commit as a connection keeps it, and its own positions."""
    keys = [
        CommittedKey(OffsetCommitKey(request.group_id, topic, one[0]), topic_id)
        for topic, topic_id, partitions in request.topics
        for one in partitions
    ]
    partitions = [one for topic in request.topics for one in topic.partitions]
    positions = Positions([one[1] for one in partitions], [one[2] for one in partitions])
    return RepeatedCommit(request, CommitBatch(keys)), positions


class Envelope(NamedTuple):
    """A request on its way."""

    number: int
    request: Any


class Answer(NamedTuple):
    """Its answer."""

    number: int
    result: Any


class Ledger:
    """What was sent, acknowledged and seen, and the checks over it."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.sent: dict[tuple[str, str, int], set[int]] = {}
        self.acknowledged: dict[tuple[str, str, int], int] = {}
        self.committed: dict[tuple[str, str, int], int] = {}
        self.owners: dict[tuple[str, int], dict[int, str]] = {}

    def commit_sent(self, group: str, topic: str, partition: int, offset: int) -> None:
        self.sent.setdefault((group, topic, partition), set()).add(offset)

    def commit_acknowledged(self, group: str, topic: str, partition: int, offset: int) -> None:
        key = (group, topic, partition)
        self.acknowledged[key] = max(offset, self.acknowledged.get(key, -1))

    def assigned(self, group: str, generation_id: int, member_id: str, partitions: frozenset[int]) -> None:
        """I13: in one generation a partition has one owner."""
        owners = self.owners.setdefault((group, generation_id), {})
        for partition in partitions:
            owner = owners.setdefault(partition, member_id)
            self.simulation.check(
                owner == member_id,
                f"I13: partition {partition} of {group} belongs to {owner} and {member_id} in {generation_id}",
            )

    def forget_deleted(self, core: Any) -> None:
        """A group without members and offsets is removed after a while; one of its name then starts at generation 1."""
        for key in [key for key in self.owners if key[0] not in core.groups]:
            del self.owners[key]

    def check_offsets(self, core: Any) -> None:
        """I15: offsets only go up, and only to what was sent."""
        for group in core.groups:
            for topic, partitions in core.offsets.of_group(group).items():
                for partition, value in partitions.items():
                    key = (group, topic, partition)
                    before = self.committed.get(key, -1)
                    self.simulation.check(
                        value.offset >= before, f"I15: the offset of {key} went back from {before} to {value.offset}"
                    )
                    self.simulation.check(
                        value.offset in self.sent.get(key, set()), f"I15: nobody committed {value.offset} for {key}"
                    )

    def note_durable(self, core: Any) -> None:
        """Remember the offsets that the coordinator has: what was acknowledged of them must stay."""
        for key, acknowledged in self.acknowledged.items():
            group, topic, partition = key
            value = core.offsets.of_group(group).get(topic, {}).get(partition)
            self.simulation.check(
                value is not None and value.offset >= acknowledged,
                f"I15: {acknowledged} was acknowledged for {key}, and {value} is kept",
            )


class SimulatedLog:
    """A log with a commit delay, refusals, and a tail that a crash may take."""

    def __init__(self, simulation: Simulation) -> None:
        self.batches: list[bytes] = []
        self.committed = 0
        self.refusal_chance = 0.0
        self._simulation = simulation
        self._node: SimulatedNode | None = None
        self._busy_until_s = 0.0

    def open(self, node: SimulatedNode) -> None:
        """A new life of the broker begins: what is there is durable."""
        self._node = node
        self.committed = len(self.batches)

    def crash(self) -> None:
        """Lose a random part of what isn't committed."""
        kept = self._simulation.random.randrange(self.committed, len(self.batches) + 1)
        del self.batches[kept:]
        self.committed = kept

    def append(self, batch: bytearray, answer: Callable[[KafkaError | None], None]) -> None:
        simulation, node = self._simulation, self._node
        assert node is not None
        if simulation.random.random() < self.refusal_chance:
            refusal = KafkaError("the disk is full", code=ErrorCode.KAFKA_STORAGE_ERROR)
            simulation.add(node.task("refuse", lambda: answer(refusal)))
            return
        self.batches.append(bytes(batch))
        end = len(self.batches)

        def commit() -> None:
            self.committed = max(self.committed, end)
            answer(None)

        # Commits keep their order: each is due no earlier than the one before.
        delay_s = simulation.random.random() * COMMIT_DELAY_MAX_S
        self._busy_until_s = max(self._busy_until_s + 1e-6, simulation.now_s + delay_s)
        node.timers.call_later(self._busy_until_s - simulation.now_s, commit)

    def append_at_once(self, batch: CommitBatch, positions: Positions, now_ms: int) -> bool:
        """Write and commit, unless something is not committed yet or the disk refuses."""
        if self.committed < len(self.batches) or self._simulation.random.random() < self.refusal_chance:
            return False
        self.batches.append(batch.encode(len(self.batches), 0, positions, now_ms))
        self.committed = len(self.batches)
        return True

    def read(self, offset: int, answer: Callable[[LogRead | LogUnreadable], None]) -> None:
        node = self._node
        assert node is not None
        chunk = self.batches[offset : offset + READ_BATCHES]
        found = LogRead([memoryview(batch) for batch in chunk], offset + len(chunk))
        self._simulation.add(node.task("read", lambda: answer(found)))


class SimulatedBroker:
    """A coordinator behind a network that keeps nothing but the order of a client's commits and consumer heartbeats."""

    def __init__(self, simulation: Simulation, ledger: Ledger, topics: FakeTopics, config: GroupConfig) -> None:
        self.simulation = simulation
        self.ledger = ledger
        self.log = SimulatedLog(simulation)
        self.node = simulation.node(BROKER)
        self.unanswered = 0
        self._topics = topics
        self._config = config
        self._ids = 0
        self._newest: dict[str, int] = {}
        self._checked = (-1, -1)
        self._ref: LoopActorRef
        self._start()

    def _start(self) -> None:
        self.unanswered = 0
        self.log.open(self.node)
        ports = CoordinatorPorts(self.node.clock, self.node.timers, self._topics, self._new_id)
        self._ref = GroupCoordinatorActor.start("0", self.log, self._config, ports, dispatcher=self.node.dispatcher())
        self.node.transport.listener = self._received

    def _new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    @property
    def core(self) -> Any:
        actor = self._ref.actor_inbox.actor
        assert isinstance(actor, GroupCoordinatorActor)
        return actor.core

    def crash(self) -> None:
        self.node.crash()
        self.log.crash()

    def start_again(self) -> None:
        self.node.start_again()
        self._start()

    def _received(self, source: str, payload: object) -> None:
        assert isinstance(payload, Envelope)
        number, request = payload
        if isinstance(request, CommitOffsets | ConsumerGroupHeartbeat):
            if number <= self._newest.get(source, 0):
                return  # one connection keeps its order; what these say of the past would undo the present
            self._newest[source] = number
        answered = False
        incarnation = self.node.incarnation
        self.unanswered += 1

        def reply(result: object) -> None:
            nonlocal answered
            self.simulation.check(not answered, f"I22: {request} was answered twice")
            answered = True
            if incarnation == self.node.incarnation:
                self.unanswered -= 1
                self.node.transport.send(source, Answer(number, result))

        if not self._ref.is_alive():
            return
        actor = self._ref.actor_inbox.actor
        if isinstance(request, Heartbeat | ConsumerGroupHeartbeat) and isinstance(actor, GroupCoordinatorActor):
            answer = (
                actor.heartbeat_between_drains(request)
                if isinstance(request, Heartbeat)
                else actor.unchanged_heartbeat_between_drains(request)
            )
            if answer is not None:
                reply(answer)
                return
        if isinstance(request, CommitOffsets) and isinstance(actor, GroupCoordinatorActor):
            # Which of them have come before does not matter here: whatever stands against one is looked at each time.
            repeated, positions = as_repeated(request)
            if self.simulation.random.random() < AT_ONCE_CHANCE and actor.commit_between_drains(repeated, positions):
                reply(CommitOffsetsResult(ErrorCode.NONE, {}))
                return
        self._ref.tell(Ask(request, reply))

    def check(self) -> None:
        """Check what must hold in the coordinator's memory after every step."""
        actor = self._ref.actor_inbox.actor
        if not self.node.running or not isinstance(actor, GroupCoordinatorActor) or actor.is_loading:
            return
        if (self.node.incarnation, actor.stats.handled) == self._checked:
            return
        self._checked = (self.node.incarnation, actor.stats.handled)
        for group in actor.core.groups.values():
            if isinstance(group, ClassicGroup):
                self._check_classic(group)
            else:
                self._check_consumer(group)
        self.ledger.forget_deleted(actor.core)
        self.ledger.check_offsets(actor.core)
        self.ledger.note_durable(actor.core)

    def _check_classic(self, group: ClassicGroup) -> None:
        check = self.simulation.check
        waiting = sum(member.join_reply is not None for member in group.members.values())
        check(
            waiting == group.awaiting_join_count,
            f"{group.group_id}: {waiting} wait, {group.awaiting_join_count} counted",
        )
        check(
            group.leader_id is None or group.leader_id in group.members, f"{group.group_id}: leader {group.leader_id}"
        )
        check(bool(group.members) or group.is_empty or waiting == 0, f"{group.group_id}: {group.state}")
        for instance_id, member_id in group.static_members.items():
            check(group.members[member_id].group_instance_id == instance_id, f"{group.group_id}: {instance_id}")

    def _check_consumer(self, group: ConsumerGroup) -> None:
        check = self.simulation.check
        owners: dict[tuple[object, int], str] = {}
        for member in group.members.values():
            check(member.member_epoch <= group.assignment_epoch, f"{member} is ahead of {group.assignment_epoch}")
            for owned in (member.assigned, member.pending_revocation):
                for topic_id, partitions in owned.items():
                    for partition in partitions:
                        other = owners.setdefault((topic_id, partition), member.member_id)
                        check(other == member.member_id, f"I13: {partition} belongs to {other}, {member.member_id}")
        known = {(topic, part): owner for topic, parts in group.owners.items() for part, owner in parts.items()}
        check(known == owners, f"{group.group_id}: owners {known} != {owners}")
        check(group.assignment_epoch <= group.group_epoch, f"{group.group_id}: the target is ahead of the group")
