"""The records of ``__klamm_state``: what a klamm broker is doing now: its actors, partitions, segments and clients.

A broker writes a *round* of them every second while somebody watches, that is while a consumer has fetched from the
topic in the last ten seconds (docs/observability.md). A round is whole: one record for each thing there is, then one
``round`` record that says how many there were. What is gone since the round before has a record without a value, so
that a compacted log holds what there was last. A reader starts at the end of the log and takes the first whole round.

    key    {"kind":"actor","broker":1,"name":"orders-0"}
    value  {"v":1,"round":17,"dispatcher":"data","depth":0,"handled":1423,…}

============  ============================================  =========================================
kind          one for each                                  its value is a
============  ============================================  =========================================
`broker`      broker; the name is its id                    :class:`BrokerState`
`actor`       actor                                         :class:`ActorState`
`partition`   replica of a partition, ``topic-partition``   :class:`PartitionStatus`, with its segments
`client`      connection, ``host:port``                     :class:`ClientState`
`round`       broker; the name is empty                     :class:`RoundState`
============  ============================================  =========================================

Counters count since the broker, the actor or the connection began; rates are differences of two rounds.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, cast

TOPIC: Final = "__klamm_state"

VERSION: Final = 1
"""``v``: readers skip values of a version they do not know; fields are only added within one."""

INTERVAL_MS: Final = 1000
"""How often a round is written, at best: a round that takes long is followed by a longer pause."""

WATCHED_MS: Final = 10_000
"""How long after a fetch of the topic rounds are still written."""


class RequestState(NamedTuple):
    """What one broker counts of one API; sizes in bytes, times in milliseconds.

    ``buckets`` are how many requests took at most 2 ** (14 + n) nanoseconds (16 µs to 17 s), and last how many took
    longer: from arrival to response, a Fetch without its wait for records.
    """

    api: str = ""
    request_count: int = 0
    errors: int = 0
    received_size: int = 0
    sent_size: int = 0
    busy_ms: float = 0.0
    buckets: tuple[int, ...] = ()


class BrokerState(NamedTuple):
    """One broker's process. ``dead_letters``, ``actor_failures`` and ``actor_restarts`` are over all its actors."""

    version: str = ""
    started_ms: int = 0
    time_ms: int = 0
    connections: int = 0
    partitions: int = 0
    actors: int = 0
    dead_letters: int = 0
    actor_failures: int = 0
    actor_restarts: int = 0
    cpu_ms: int = 0
    memory_size: int = 0
    threads: int = 0
    open_files: int = 0
    requests: tuple[RequestState, ...] = ()


class ActorState(NamedTuple):
    """One actor: messages waiting and handled, time spent, how long the oldest message has waited, its last failure."""

    dispatcher: str = ""
    depth: int = 0
    handled: int = 0
    drains: int = 0
    busy_ms: float = 0.0
    oldest_ms: float = 0.0
    restarts: int = 0
    last_failure: str | None = None


class SegmentState(NamedTuple):
    """One segment file: its base offset, its size in bytes."""

    base_offset: int = 0
    size: int = 0


class PartitionStatus(NamedTuple):
    """One replica of a partition; ``segments`` are the newest :data:`SEGMENTS_MAX`, in order of offset."""

    topic: str = ""
    partition: int = 0
    leader: bool = False
    online: bool = True
    leader_epoch: int = 0
    log_start_offset: int = 0
    high_watermark: int = 0
    flushed_end_offset: int = 0
    log_end_offset: int = 0
    size: int = 0
    isr: tuple[int, ...] = ()
    replicas: tuple[int, ...] = ()
    segment_count: int = 0
    segments: tuple[SegmentState, ...] = ()
    damage: str | None = None


class ClientState(NamedTuple):
    """One connection; who the client says it is, and what came and went."""

    client_id: str | None = None
    software_name: str = ""
    software_version: str = ""
    host: str = ""
    port: int = 0
    connected_ms: int = 0
    idle_ms: int = 0
    requests: int = 0
    errors: int = 0
    received_size: int = 0
    sent_size: int = 0
    unanswered: int = 0
    last_api: str = ""
    last_error: str | None = None
    groups: tuple[str, ...] = ()
    client_instance_id: str | None = None


class RoundState(NamedTuple):
    """The end of a round: its number, when it was taken, how many records it had before this one."""

    time_ms: int = 0
    record_count: int = 0
    interval_ms: int = INTERVAL_MS


SEGMENTS_MAX: Final = 64

StateValue = BrokerState | ActorState | PartitionStatus | ClientState | RoundState

_KINDS: Final[dict[str, type[StateValue]]] = {
    "broker": BrokerState,
    "actor": ActorState,
    "partition": PartitionStatus,
    "client": ClientState,
    "round": RoundState,
}
_KIND_OF: Final = {value: kind for kind, value in _KINDS.items()}


class StateKey(NamedTuple):
    """What a record is about."""

    kind: str
    broker: int
    name: str


class StateRecord(NamedTuple):
    """One record; ``value`` is None for what is gone."""

    key: StateKey
    round: int
    value: StateValue | None


def key_of(broker: int, name: str, value: StateValue) -> StateKey:
    """Return the key under which ``value`` stands."""
    return StateKey(_KIND_OF[type(value)], broker, name)


def encode_key(key: StateKey) -> bytes:
    """Return the key as JSON, always the same bytes for the same key."""
    return _json(key._asdict())


def encode_value(number: int, value: StateValue) -> bytes:
    """Return the value of round ``number`` as JSON."""
    return _json({"v": VERSION, "round": number, **_fields(value)})


def decode_record(key: bytes | None, value: bytes | None) -> StateRecord | None:
    """Return the record, or None if it is none of a kind and version known here. Unknown fields are left out."""
    try:
        named, said = json.loads(key or b"null"), None if value is None else json.loads(value)
        found = StateKey(named["kind"], named["broker"], named["name"])
        kind = _KINDS.get(found.kind)
        if kind is None or (said is not None and said["v"] != VERSION):
            return None
        return StateRecord(found, -1, None) if said is None else StateRecord(found, said["round"], _read(kind, said))
    except (ValueError, TypeError, KeyError):
        return None


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def _fields(value: Any) -> dict[str, Any]:  # noqa: ANN401 (any of the tuples above)
    fields: dict[str, Any] = value._asdict()
    for name, nested in (("requests", RequestState), ("segments", SegmentState)):
        if isinstance(fields.get(name), tuple):
            fields[name] = [
                cast("tuple[Any, ...]", one) if nested is SegmentState else one._asdict() for one in fields[name]
            ]
    return fields


def _read(kind: type[StateValue], said: dict[str, Any]) -> StateValue:
    fields: dict[str, Any] = {}
    for name, default in kind._field_defaults.items():
        if name not in said:
            continue
        value = said[name]
        if isinstance(value, list):
            value = tuple(value)
        if default is not None and not isinstance(value, (int, float) if isinstance(default, float) else type(default)):
            raise TypeError(name)
        fields[name] = value
    if kind is BrokerState:
        fields["requests"] = tuple(_request(one) for one in fields.get("requests", ()))
    if kind is PartitionStatus:
        fields["segments"] = tuple(SegmentState(*one) for one in fields.get("segments", ()))
    return kind(**fields)


def _request(said: dict[str, Any]) -> RequestState:
    fields: dict[str, Any] = {name: said[name] for name in RequestState._fields if name in said}
    fields["buckets"] = tuple(fields.get("buckets", ()))
    return RequestState(**fields)
