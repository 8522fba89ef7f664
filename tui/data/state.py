"""What klamm brokers tell about themselves: actors, connected clients, segments. Read from ``__klamm_state``."""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from klamm.client.state import RATE_MS_MIN, Round, watch_rounds
from klamm.records.state_schema import ActorState, ClientState, PartitionStatus
from klamm.tui.data.live import Live
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session

SHOWN_EVERY_S: Final = 0.5
_MS_IN_S: Final = 1000


class ActorRow(NamedTuple):
    """One actor; rates are None until there were two looks."""

    name: str
    broker: int
    state: ActorState
    busy_share: float | None
    handled_per_s: float | None


class ClientRow(NamedTuple):
    """One connection, by its address; rates as above, in bytes and requests a second."""

    address: str
    broker: int
    state: ClientState
    connected_for_ms: int
    in_per_s: float | None
    out_per_s: float | None
    requests_per_s: float | None


class SegmentRow(NamedTuple):
    """One segment of one replica. ``end_offset`` is where the next one begins, the log's end for the newest."""

    topic: str
    partition: int
    broker: int
    base_offset: int
    end_offset: int
    size: int
    newest: bool
    of: PartitionStatus


class Rounds(Live):
    """The last two rounds of each broker."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.last: dict[int, Round] = {}
        self.before: dict[int, Round] = {}

    async def work(self) -> None:
        """Watch."""
        async for found in watch_rounds(self.session.cluster):
            old = self.last.get(found.broker_id)
            if old is not None and found.time_ms - old.time_ms >= RATE_MS_MIN:
                self.before[found.broker_id] = old
            self.last[found.broker_id] = found
            self.tell()


async def load_actors(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return every actor of every broker."""
    rounds = await _watched(session, memory)
    rows = [_actor(name, found, rounds.before.get(found.broker_id)) for found in _all(rounds) for name in found.actors]
    return _loaded(session, rounds, "actors", rows)


async def load_clients(session: Session, _place: Place, memory: Memory) -> Loaded:
    """Return every connection."""
    rounds = await _watched(session, memory)
    rows = [
        _client(address, found, rounds.before.get(found.broker_id))
        for found in _all(rounds)
        for address in found.clients
    ]
    return _loaded(session, rounds, "clients", rows)


async def load_segments(session: Session, place: Place, memory: Memory) -> Loaded:
    """Return the segments of every replica, or of one topic's."""
    rounds = await _watched(session, memory)
    rows: list[SegmentRow] = []
    for found in _all(rounds):
        for status in found.partitions.values():
            if not place.detail or status.topic == place.detail:
                rows += _segments(status, found.broker_id)
    return _loaded(session, rounds, "segments", rows)


async def _watched(session: Session, memory: Memory) -> Rounds:
    rounds: Rounds | None = memory.get("live")
    if rounds is None:
        memory["live"] = rounds = Rounds(session)
    rounds.start()
    await asyncio.gather(rounds.news(), asyncio.sleep(SHOWN_EVERY_S))
    return rounds


def _all(rounds: Rounds) -> list[Round]:
    return [found for _, found in sorted(rounds.last.items())]


def _loaded(
    session: Session, rounds: Rounds, name: str, rows: list[ActorRow] | list[ClientRow] | list[SegmentRow]
) -> Loaded:
    at_ms = max((found.time_ms for found in rounds.last.values()), default=session.now_ms)
    brokers = ", ".join(
        f"broker {found.broker_id}: {found.broker.connections} connections, {found.broker.actors} actors"
        for found in _all(rounds)
    )
    known = None if not rounds.last else rows
    return Loaded(session.now_ms, {name: Part(known, rounds.error, at_ms, brokers)}, more=rounds.error is None)


def _seconds(now: Round, before: Round) -> float:
    return max((now.time_ms - before.time_ms) / _MS_IN_S, 0.001)


def _actor(name: str, now: Round, before: Round | None) -> ActorRow:
    state = now.actors[name]
    old = None if before is None else before.actors.get(name)
    if before is None or old is None:
        return ActorRow(name, now.broker_id, state, None, None)
    seconds = _seconds(now, before)
    busy = max(0.0, state.busy_ms - old.busy_ms) / _MS_IN_S / seconds
    return ActorRow(name, now.broker_id, state, busy, max(0, state.handled - old.handled) / seconds)


def _client(address: str, now: Round, before: Round | None) -> ClientRow:
    state = now.clients[address]
    connected = max(0, now.time_ms - state.connected_ms)
    old = None if before is None else before.clients.get(address)
    if before is None or old is None:
        return ClientRow(address, now.broker_id, state, connected, None, None, None)
    seconds = _seconds(now, before)
    received, sent = state.received_size - old.received_size, state.sent_size - old.sent_size
    return ClientRow(
        address,
        now.broker_id,
        state,
        connected,
        max(0, received) / seconds,
        max(0, sent) / seconds,
        max(0, state.requests - old.requests) / seconds,
    )


def _segments(status: PartitionStatus, broker: int) -> list[SegmentRow]:
    if not status.segments:  # nothing was ever written to it
        return []
    ends = [each.base_offset for each in status.segments[1:]] + [status.log_end_offset]
    last = len(status.segments) - 1
    return [
        SegmentRow(
            status.topic, status.partition, broker, each.base_offset, end, each.size, newest=place == last, of=status
        )
        for place, (each, end) in enumerate(zip(status.segments, ends, strict=True))
    ]
