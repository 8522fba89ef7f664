"""Members of simulated groups: clients of both protocols that crash, pause, retry, and commit what they own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from klamm.actors.ports import TimerHandle
from klamm.actors.simulation import Simulation
from klamm.core.groups.embedded import Subscription, read_assignment, write_assignment, write_subscription
from klamm.core.groups.messages import (
    CommitOffsets,
    CommitOffsetsResult,
    CommittedTopic,
    ConsumerGroupHeartbeat,
    ConsumerGroupHeartbeatResult,
    FetchedTopic,
    FetchOffsets,
    FetchOffsetsResult,
    Heartbeat,
    JoinGroup,
    JoinGroupResult,
    LeaveGroup,
    LeavingMember,
    OwnedPartitions,
    Protocols,
    SyncGroup,
    SyncGroupResult,
)
from klamm.model.errors import ErrorCode
from klamm.model.ids import NO_TOPIC_ID, TopicId
from tests.core.groups.driver import topic_id_of
from tests.groups.world import BROKER, Answer, Envelope, Ledger

SESSION_MS = 6_000
REBALANCE_MS = 8_000
HEARTBEAT_S = 1.5
COMMIT_S = 1.0
REQUEST_TIMEOUT_S = 2.0
JOIN_TIMEOUT_S = 12.0
BACKOFF_S = 0.3


class Member:
    """What both protocols have in common: requests with timeouts, offsets, faults."""

    def __init__(self, simulation: Simulation, ledger: Ledger, name: str, group: str, topic: str) -> None:
        self.simulation, self.ledger = simulation, ledger
        self.name, self.group, self.topic = name, group, topic
        self.node = simulation.node(name)
        self.positions: dict[int, int] = {}
        self.paused_until_s = 0.0
        self.commits_acknowledged = 0
        self._number = 0
        self._waiting: dict[int, tuple[Callable[[Any], None], TimerHandle]] = {}
        self._committing = False
        self._assignments = 0
        self.start()

    @property
    def owned(self) -> frozenset[int]:
        """The partitions it believes are its own."""
        return frozenset(self.positions)

    @property
    def identity(self) -> tuple[str, int]:
        """Member id, and generation or epoch, to commit with."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin, or begin anew after a crash."""
        self.positions = {}
        self._waiting = {}
        self._committing = False
        self.node.transport.listener = self._received
        self.begin()
        self.later(COMMIT_S, self._commit_all)

    def begin(self) -> None:
        """Join."""
        raise NotImplementedError

    def give_up_all(self) -> None:
        """Own nothing any more; what is under way for the last assignment is void."""
        self.positions = {}
        self._assignments += 1

    def crash(self) -> None:
        self.node.crash()
        self.give_up_all()

    def later(self, delay_s: float, callback: Callable[[], None]) -> TimerHandle:
        """Call later, but not while paused: a paused process does nothing and then goes on as if nothing had been."""

        def due() -> None:
            if self.simulation.now_s < self.paused_until_s:
                self.later(self.paused_until_s - self.simulation.now_s + 1e-6, callback)
            else:
                callback()

        return self.node.timers.call_later(delay_s, due)

    def ask(self, request: Any, answered: Callable[[Any], None], timeout_s: float = REQUEST_TIMEOUT_S) -> None:
        """Send a request; ``answered`` gets the result, a KafkaError, or None if time is up."""
        self._number += 1
        number = self._number

        def timed_out() -> None:
            if self._waiting.pop(number, None) is not None:
                answered(None)

        self._waiting[number] = (answered, self.later(timeout_s, timed_out))
        self.node.transport.send(BROKER, Envelope(number, request))

    def _received(self, source: str, payload: object) -> None:
        if self.simulation.now_s < self.paused_until_s:
            self.later(0, lambda: self._received(source, payload))
            return
        assert isinstance(payload, Answer)
        waiting = self._waiting.pop(payload.number, None)
        if waiting is not None:
            waiting[1].cancel()
            waiting[0](payload.result)

    # Offsets

    def take_over(self, partitions: frozenset[int], then: Callable[[], None]) -> None:
        """Fetch where to go on in partitions that are new."""
        self._assignments += 1
        assignment = self._assignments
        new = tuple(sorted(partitions - self.owned))
        for partition in self.owned - partitions:
            del self.positions[partition]
        if not new:
            then()
            return

        def again() -> None:
            if assignment == self._assignments:
                self.take_over(partitions, then)

        expected = {one: self.ledger.acknowledged.get((self.group, self.topic, one), -1) for one in new}

        def fetched(result: Any) -> None:
            if assignment != self._assignments:
                return  # it has another assignment by now
            if not isinstance(result, FetchOffsetsResult) or result.error is not ErrorCode.NONE:
                self.later(BACKOFF_S, again)
                return
            for partition, value in result.topics[0][1].items():
                self.simulation.check(
                    value.offset >= expected[partition],
                    f"I5: {self.name} goes on at {value.offset} in {partition}; {expected} was acknowledged",
                )
                self.positions[partition] = max(value.offset, 0)
            then()

        self.ask(FetchOffsets(self.group, None, -1, (FetchedTopic(self.topic, new),)), fetched)

    def _commit_all(self) -> None:
        self.later(COMMIT_S, self._commit_all)
        if self._committing or not self.positions:
            return
        member_id, generation = self.identity
        offsets = {partition: position + 1 for partition, position in self.positions.items()}
        self.positions.update(offsets)
        for partition, offset in offsets.items():
            self.ledger.commit_sent(self.group, self.topic, partition, offset)
        partitions = tuple((one, offset, 0, "") for one, offset in offsets.items())
        request = CommitOffsets(
            self.group, member_id, None, generation, -1, (CommittedTopic(self.topic, NO_TOPIC_ID, partitions),), 9
        )
        self._committing = True

        def answered(result: Any) -> None:
            self._committing = False
            if isinstance(result, CommitOffsetsResult) and result.error is ErrorCode.NONE:
                self.commits_acknowledged += 1
                for partition, offset in offsets.items():
                    self.ledger.commit_acknowledged(self.group, self.topic, partition, offset)

        self.ask(request, answered)


class ClassicMember(Member):
    """A consumer of the classic protocol with the eager range assignor."""

    def __init__(
        self, simulation: Simulation, ledger: Ledger, name: str, group: str, topic: str, count: int, *, static: bool
    ) -> None:
        self.member_id = ""
        self.generation_id = -1
        self.instance_id = name if static else None
        self.partition_count = count
        self.stable = False
        super().__init__(simulation, ledger, name, group, topic)

    @property
    def identity(self) -> tuple[str, int]:
        return self.member_id, self.generation_id

    def begin(self) -> None:
        self.member_id, self.generation_id, self.stable = "", -1, False
        self._join()

    def leave(self) -> None:
        """Go for good, telling the group."""
        self.ask(LeaveGroup(self.group, (LeavingMember(self.member_id, self.instance_id),)), lambda _: None)

    def _join(self) -> None:
        self.give_up_all()  # eager: everything goes before a rebalance
        self.stable = False
        metadata = write_subscription(Subscription((self.topic,)))
        request = JoinGroup(
            self.group,
            self.member_id,
            self.instance_id,
            SESSION_MS,
            REBALANCE_MS,
            "consumer",
            (Protocols("range", metadata),),
            self.name,
            "/sim",
        )
        self.ask(request, self._joined, JOIN_TIMEOUT_S)

    def _again(self, error: ErrorCode | None) -> None:
        """Join again as a client does after this error."""
        self.stable = False
        if error in {ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID}:
            self.member_id = ""
        self.later(BACKOFF_S, self._join)

    def _joined(self, result: Any) -> None:
        if not isinstance(result, JoinGroupResult):
            self._again(None)
        elif result.error is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = result.member_id
            self._join()
        elif result.error is not ErrorCode.NONE:
            self._again(result.error)
        else:
            self.member_id, self.generation_id = result.member_id, result.generation_id
            assignments = self._assign(result) if result.leader == self.member_id else ()
            request = SyncGroup(
                self.group, self.member_id, self.instance_id, self.generation_id, "consumer", "range", assignments
            )
            self.ask(request, self._synced, JOIN_TIMEOUT_S)

    def _assign(self, result: JoinGroupResult) -> tuple[tuple[str, bytes], ...]:
        if result.skip_assignment or not result.members:
            return ()
        members = sorted(member.member_id for member in result.members)
        shares: dict[str, list[int]] = {member: [] for member in members}
        for partition in range(self.partition_count):
            shares[members[partition % len(members)]].append(partition)
        return tuple((one, write_assignment(((self.topic, tuple(parts)),), 1)) for one, parts in shares.items())

    def _synced(self, result: Any) -> None:
        if not isinstance(result, SyncGroupResult) or result.error is not ErrorCode.NONE:
            self._again(result.error if isinstance(result, SyncGroupResult) else None)
            return
        assignment = dict(read_assignment(result.assignment))
        partitions = frozenset(assignment.get(self.topic, ()))
        if self.instance_id is None:  # a static member's successor has its assignment in the same generation
            self.ledger.assigned(self.group, self.generation_id, self.member_id, partitions)
        generation = self.generation_id

        def ready() -> None:
            if self.generation_id == generation:
                self.stable = True

        self.take_over(partitions, ready)
        self.later(HEARTBEAT_S, lambda: self._beat(generation))

    def _beat(self, generation: int) -> None:
        if generation != self.generation_id:
            return

        def answered(result: Any) -> None:
            if generation != self.generation_id:
                return
            if isinstance(result, ErrorCode) and result is not ErrorCode.NONE:
                self._again(result)
            else:
                self.later(HEARTBEAT_S, lambda: self._beat(generation))

        self.ask(Heartbeat(self.group, self.member_id, self.instance_id, generation), answered)


class ConsumerMember(Member):
    """A consumer of the new protocol."""

    everybody: list[ConsumerMember]

    def __init__(
        self, simulation: Simulation, ledger: Ledger, name: str, group: str, topic: str, everybody: list[ConsumerMember]
    ) -> None:
        self.everybody = everybody
        self.member_id = ""
        self.member_epoch = 0
        self.heard_s = -1.0
        self.target: frozenset[int] = frozenset()
        self.stable = False
        self._lives = 0
        self._say_all = False
        self._lost_s = -1e9
        super().__init__(simulation, ledger, name, group, topic)
        everybody.append(self)

    @property
    def identity(self) -> tuple[str, int]:
        return self.member_id, self.member_epoch

    def begin(self) -> None:
        self._lives += 1
        self.member_id = f"{self.name}-{self._lives}"
        self._rejoin()

    def leave(self) -> None:
        """Go for good, telling the group."""
        self.positions = {}
        self.ask(ConsumerGroupHeartbeat(self.group, self.member_id, -1), lambda _: None)

    def is_surely_alive(self) -> bool:
        """Whether its session can't have run out at the coordinator, nor its time to give partitions up.

        That time runs from an answer that told it to; if an answer was lost of late, it may run unheard.
        """
        if self.simulation.now_s < self._lost_s + REBALANCE_MS / 1000 + REQUEST_TIMEOUT_S:
            return False
        running = self.node.running and self.simulation.now_s >= self.paused_until_s
        return running and self.simulation.now_s < self.heard_s + SESSION_MS / 1000

    def _rejoin(self) -> None:
        self.give_up_all()
        self.target, self.member_epoch, self.stable = frozenset(), 0, False
        self._beat(self._lives)

    def _beat(self, life: int) -> None:
        if life != self._lives:
            return
        topic_id: TopicId = topic_id_of(self.topic)
        owned = tuple(sorted(self.owned))
        request = ConsumerGroupHeartbeat(
            self.group,
            self.member_id,
            self.member_epoch,
            rebalance_timeout_ms=REBALANCE_MS,
            subscribed_topic_names=(self.topic,),
            topic_partitions=(OwnedPartitions(topic_id, owned),) if owned else (),
        )
        if self.member_epoch != 0 and not self._say_all:
            request = replace(request, rebalance_timeout_ms=-1, subscribed_topic_names=None)
        sent_s, epoch = self.simulation.now_s, self.member_epoch

        def answered(result: Any) -> None:
            if life != self._lives:
                return
            self._answered(result, sent_s, epoch)

        self.ask(request, answered)

    def _answered(self, result: Any, sent_s: float, epoch: int) -> None:
        self._say_all = not isinstance(result, ConsumerGroupHeartbeatResult)  # its answer may be lost (KIP-848)
        if not isinstance(result, ConsumerGroupHeartbeatResult):
            self._lost_s = self.simulation.now_s
            self.later(BACKOFF_S, lambda: self._beat(self._lives))
            return
        if result.error in {ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.GROUP_ID_NOT_FOUND}:
            self.later(BACKOFF_S, self._rejoin)
            self.give_up_all()
            self.target, self.stable, self.heard_s = frozenset(), False, -1.0
            return
        if result.error is not ErrorCode.NONE or epoch != self.member_epoch:
            self.later(BACKOFF_S, lambda: self._beat(self._lives))
            return
        self.heard_s = sent_s
        self.member_epoch = result.member_epoch
        if result.assignment is not None:
            self.target = frozenset(one for owned in result.assignment for one in owned.partitions)
            for other in self.everybody if self.is_surely_alive() else ():
                if other is not self and other.group == self.group and other.is_surely_alive():
                    both = other.owned & (self.target - self.owned)
                    self.simulation.check(
                        not both, f"I13: {self.name} is given {set(both)} which {other.name} still owns"
                    )
        revoked = bool(self.owned - self.target)
        life = self._lives

        def ready() -> None:
            if life == self._lives:
                self.stable = True
                self.later(BACKOFF_S if revoked else HEARTBEAT_S, lambda: self._beat(life))

        self.take_over(self.target, ready)
