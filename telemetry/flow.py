"""Turns the journal's notes into the records of ``__klamm_flow``.

Pure but for what it remembers: the high watermark and log start of each partition, and the last commit of each group,
so that a range begins where the last one ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from klamm.records.flow_schema import RESOLUTION_US, FlowRange, FlowRecord
from klamm.telemetry.journal import Advanced, Committed, Fetched, Note, Replicated, TopicKey, Written

COMMITS_MAX: Final = 100_000
"""Committed offsets remembered; beyond that all are forgotten, and ranges begin anew."""


class FlowKey(NamedTuple):
    """What one record is about: kind, partition, and who."""

    kind: str
    topic: str
    partition: int
    client_id: str | None = None
    group: str | None = None
    address: str | None = None
    replica: int | None = None


class Names(NamedTuple):
    """What notes name by number or address.

    Attributes:
        topic: Returns a topic's name; None for one that is not recorded.
        groups: The groups that have a member of this (client id, host).
    """

    topic: Callable[[TopicKey], str | None]
    groups: Mapping[tuple[str, str], frozenset[str]]


class FlowRecorder:
    """Makes flow records of notes, one after another."""

    def __init__(self, broker: int) -> None:
        self._broker = broker
        self._visible: dict[str, int] = {}
        self._replicas: dict[tuple[str, int], int] = {}
        self._commits: dict[tuple[str, str, int], int] = {}

    def records(self, notes: Iterable[Note], names: Names, wall_us: Callable[[int], int]) -> list[FlowRecord]:
        """Return what the notes say; ``wall_us`` turns their times into Unix microseconds."""
        found: dict[FlowKey, list[FlowRange]] = {}
        for note in notes:
            match note:
                case Written():
                    self._written(found, note, wall_us(note.written_ns))
                case Advanced(partition, high_watermark, _, at_ns):
                    self._visible_to(found, partition, high_watermark, wall_us(at_ns))
                case Replicated(partition, broker_id, end_offset, at_ns):
                    first = self._replicas.get((partition, broker_id), end_offset)
                    self._replicas[partition, broker_id] = end_offset
                    topic, index = split_partition(partition)
                    key = FlowKey("replicate", topic, index, replica=broker_id)
                    if end_offset > first:
                        _add(found, key, FlowRange(first, end_offset, wall_us(at_ns)))
                case Fetched():
                    _fetched(found, note, names, wall_us(note.at_ns))
                case Committed():
                    self._committed(found, note, wall_us(note.at_ns))
                case _:
                    pass
        return [
            FlowRecord(
                key.kind,
                self._broker,
                key.topic,
                key.partition,
                tuple(ranges),
                key.client_id,
                key.group,
                key.address,
                key.replica,
            )
            for key, ranges in found.items()
        ]

    def expired(self, partition: str, first_offset: int, end_offset: int, time_us: int) -> FlowRecord:
        """Return the record of offsets that were removed."""
        topic, index = split_partition(partition)
        return FlowRecord("expire", self._broker, topic, index, (FlowRange(first_offset, end_offset, time_us),))

    def forget(self, partition: str) -> None:
        """Forget a partition that was deleted: another of its name begins anew."""
        topic, index = split_partition(partition)
        self._visible.pop(partition, None)
        for known in [key for key in self._replicas if key[0] == partition]:
            del self._replicas[known]
        for commit in [key for key in self._commits if key[1:] == (topic, index)]:
            del self._commits[commit]

    def _written(self, found: dict[FlowKey, list[FlowRange]], note: Written, time_us: int) -> None:
        topic, index = split_partition(note.partition)
        client = None if note.client_id is None else note.client_id.decode("utf-8", "replace")
        key = FlowKey("append", topic, index, client)
        _add(found, key, FlowRange(note.first_offset, note.end_offset, time_us))
        self._visible.setdefault(note.partition, note.first_offset)
        self._visible_to(found, note.partition, note.high_watermark, time_us)

    def _visible_to(
        self, found: dict[FlowKey, list[FlowRange]], partition: str, high_watermark: int, time_us: int
    ) -> None:
        first = self._visible.get(partition, high_watermark)
        if high_watermark > first:
            topic, index = split_partition(partition)
            _add(found, FlowKey("visible", topic, index), FlowRange(first, high_watermark, time_us))
            self._visible[partition] = high_watermark

    def _committed(self, found: dict[FlowKey, list[FlowRange]], note: Committed, time_us: int) -> None:
        if len(self._commits) > COMMITS_MAX:
            self._commits.clear()
        for topic, index, offset in note.offsets:
            first = self._commits.get((note.group, topic, index))
            if first == offset:
                continue  # it passed nothing: who waits for records commits the same again and again
            self._commits[note.group, topic, index] = offset
            key = FlowKey("commit", topic, index, note.client_id, note.group)
            _add(found, key, FlowRange(offset if first is None else min(first, offset), offset, time_us))


def split_partition(name: str) -> tuple[str, int]:
    """Return topic and index of ``topic-index``."""
    topic, _, index = name.rpartition("-")
    return topic, int(index)


def _fetched(found: dict[FlowKey, list[FlowRange]], note: Fetched, names: Names, time_us: int) -> None:
    groups = names.groups.get((note.client_id or "", note.host), frozenset())
    group = next(iter(groups)) if len(groups) == 1 else None
    address = f"{note.host}:{note.port}"
    for topic_key, index, first_offset, end_offset in note.ranges:
        topic = names.topic(topic_key)
        if topic is not None:
            key = FlowKey("fetch", topic, index, note.client_id, group, address)
            _add(found, key, FlowRange(first_offset, end_offset, time_us))


def _add(found: dict[FlowKey, list[FlowRange]], key: FlowKey, one: FlowRange) -> None:
    """Add a range, made one with the last if it follows on it within the resolution."""
    ranges = found.get(key)
    if ranges is None:
        found[key] = [one]
        return
    last = ranges[-1]
    if last.end_offset == one.first_offset and one.time_us - last.time_us < RESOLUTION_US and not _full(ranges, one):
        ranges[-1] = FlowRange(last.first_offset, one.end_offset, one.time_us)
    else:
        ranges.append(one)


def _full(ranges: list[FlowRange], one: FlowRange) -> bool:
    """Whether a range that grew would span more than the resolution: it is cut at multiples of it."""
    return one.time_us // RESOLUTION_US != ranges[-1].time_us // RESOLUTION_US
