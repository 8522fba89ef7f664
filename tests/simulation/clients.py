"""Producers and consumers of the simulation: they retry until they are answered, as Kafka's clients do."""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.actors.ports import TimerHandle
from klamm.actors.simulation import SimulatedNode
from klamm.model.errors import ErrorCode
from klamm.records.record import Record, build_batch
from tests.simulation.ledger import Ledger

REQUEST_TIMEOUT_S: Final = 0.6
BACKOFF_S: Final = 0.05
RETRIABLE: Final = frozenset(
    {ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_LEADER_OR_FOLLOWER}
)


class Produce(NamedTuple):
    """One record batch to append."""

    request_id: int
    acks: int
    payload: bytes


class Produced(NamedTuple):
    """The answer to a Produce. ``life`` counts the broker's starts."""

    request_id: int
    life: int
    error: ErrorCode
    base_offset: int


class Fetch(NamedTuple):
    """Records from ``offset`` on."""

    request_id: int
    offset: int


class Fetched(NamedTuple):
    """The answer to a Fetch: (offset, value) of each record, and the offset behind what was looked at.

    ``life`` counts the broker's starts.
    """

    request_id: int
    life: int
    error: ErrorCode
    records: tuple[tuple[int, bytes], ...]
    next_offset: int = -1


class Producer:
    """Sends its values in order, one batch at a time; idempotent unless ``acks`` is 1.

    With acks=1 each batch is sent once, and may come twice.
    """

    def __init__(self, node: SimulatedNode, ledger: Ledger, number: int, acks: int, values: int) -> None:
        self.done = False
        self._node = node
        self._ledger = ledger
        self._number = number
        self._acks = acks
        self._left = values
        self._sent = 0
        self._request_id = 0
        self._values: list[bytes] = []
        self._timer: TimerHandle | None = None
        node.transport.listener = self._answered
        node.timers.call_later(node.random.random() * 0.1, self._next)

    def _next(self) -> None:
        random = self._node.random
        if self._left == 0:
            self.done = True
            return
        count = min(self._left, 1 + random.randrange(3))
        self._values = [b"%d-%d" % (self._number, self._sent + at) for at in range(count)]
        now_ms = self._node.clock.now_ms()
        idempotent = self._acks == -1
        filler = bytes(random.randrange(600))
        records = [self.record(at, now_ms, value, filler) for at, value in enumerate(self._values)]
        self._payload = bytes(
            build_batch(
                records,
                base_offset=0,
                producer_id=1000 + self._number if idempotent else -1,
                producer_epoch=0 if idempotent else -1,
                base_sequence=self._sent if idempotent else -1,
            )
        )
        if idempotent:
            self._ledger.idempotent.update(self._values)
        self._sent += count
        self._left -= count
        self._send()

    def record(self, at: int, now_ms: int, value: bytes, filler: bytes) -> Record:
        """Return the record of a value."""
        return Record(at, now_ms, None, value, ((b"f", filler),))

    def _send(self) -> None:
        self._request_id += 1
        self._node.transport.send("broker", Produce(self._request_id, self._acks, self._payload))
        self._timer = self._node.timers.call_later(REQUEST_TIMEOUT_S, self._timed_out)

    def _timed_out(self) -> None:
        if self._acks == -1:
            self._send()
        else:
            self._next()

    def _answered(self, _source: str, answer: object) -> None:
        assert isinstance(answer, Produced)
        if answer.request_id != self._request_id or self._timer is None or _void(self._node, self._ledger, answer.life):
            return  # late: it was sent again meanwhile
        self._timer.cancel()
        self._timer = None
        simulation = self._node.simulation
        if answer.error is ErrorCode.NONE:
            if self._acks == -1 or self._ledger.durable:  # with one in-sync replica, acks=1 asks for no less
                self._ledger.acknowledge(self._values, answer.base_offset)
            pause_s = simulation.random.random() * 0.05
            self._node.timers.call_later(pause_s, self._next)
        elif self._acks != -1:
            self._next()
        else:
            lost_sequence = answer.error is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER and not self._ledger.durable
            simulation.check(answer.error in RETRIABLE or lost_sequence, f"{self._values[0]!r} got {answer.error!r}")
            if lost_sequence:
                self.done = True  # what it had appended was written, not flushed: a fatal error, as in Kafka
            else:
                self._node.timers.call_later(BACKOFF_S, self._send)


class Consumer:
    """Reads from the start, on and on."""

    def __init__(self, node: SimulatedNode, ledger: Ledger) -> None:
        self.offset = 0
        self.values: list[bytes] = []
        self._node = node
        self._ledger = ledger
        self._request_id = 0
        node.transport.listener = self._answered
        self._timer: TimerHandle = node.timers.call_later(0, self._poll)

    def _poll(self) -> None:
        self._request_id += 1
        self._node.transport.send("broker", Fetch(self._request_id, self.offset))
        self._timer = self._node.timers.call_later(REQUEST_TIMEOUT_S, self._poll)

    def _answered(self, _source: str, answer: object) -> None:
        assert isinstance(answer, Fetched)
        if answer.request_id != self._request_id or _void(self._node, self._ledger, answer.life):
            return
        self._timer.cancel()
        simulation = self._node.simulation
        if answer.error is ErrorCode.OFFSET_OUT_OF_RANGE:
            simulation.check(not self._ledger.durable, f"offset {self.offset}, read up to before, is out of range")
            self.offset = 0
        for offset, value in answer.records:
            if offset < self.offset:
                continue  # a batch is sent whole
            whole = offset == self.offset or self._ledger.has_gaps
            simulation.check(whole, f"offset {self.offset} was skipped: {offset} came")
            self._ledger.observe(offset, value)
            self.values.append(value)
            self.offset = offset + 1
        self.offset = max(self.offset, answer.next_offset)
        self._timer = self._node.timers.call_later(0.0 if answer.records else BACKOFF_S, self._poll)


def _void(node: SimulatedNode, ledger: Ledger, life: int) -> bool:
    """Whether an answer that was under way when the broker crashed may tell of what is gone."""
    return not ledger.durable and life != node.simulation.node("broker").incarnation
