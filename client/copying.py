"""Copying a topic's records: partition, order, headers, timestamps, keys and nulls kept, verified afterwards.

What is copied is settled first: the source's range of each partition, and where the destination's log ends. Both are in
the state, which is written before the first record is sent. A copy that was stopped goes on from what the destination
holds behind that place, which is compared with the source record by record (by hash), so nothing is missed and nothing
comes twice, however it was stopped. That needs nobody else to write to the destination meanwhile; if somebody did, the
comparison says so.

Sending goes through librdkafka, idempotent. Records of transactions are copied once they are committed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, SettingsError
from klamm.client.folders import state_folder
from klamm.client.messages.filters import Filter
from klamm.client.messages.hashing import ContentHash
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.producing import Sender
from klamm.client.messages.record import Fields
from klamm.client.messages.scan import Scan
from klamm.client.offsets import Partition, start_and_end
from klamm.client.positions import Range
from klamm.client.wire import ClusterMetadata

STATE_VERSION: Final = 1


@dataclass
class CopyState:
    """What a copy is of, and from where to where: enough to go on with it, and to verify it.

    Attributes:
        ranges: Of each source partition the offsets [start, end) that are copied.
        target_starts: Of each destination partition the end of its log before the copy.
    """

    source_cluster: str
    source: str
    target_cluster: str
    target: str
    ranges: dict[int, tuple[int, int]]
    target_starts: dict[int, int]
    conditions: list[str] = field(default_factory=list)
    keeps_partitions: bool = True
    keeps_timestamps: bool = True

    def save(self, path: Path) -> None:
        """Write it; the file is there whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps({"version": STATE_VERSION, **self.__dict__}, indent=1))
        os.replace(part, path)  # noqa: PTH105 (atomic, and said so)

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """Return the state in a file, None if there is none.

        Raises:
            SettingsError: The file is damaged.
        """
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            if found.pop("version") != STATE_VERSION:
                msg = f"{path} is of another version of klamm"
                raise SettingsError(msg, "--restart forgets it")
            found["ranges"] = {int(key): (int(a), int(b)) for key, (a, b) in found["ranges"].items()}
            found["target_starts"] = {int(key): int(value) for key, value in found["target_starts"].items()}
            return cls(**found)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{path} is damaged: {error}"
            raise SettingsError(msg, "--restart forgets it") from error


@dataclass
class CopyResult:
    """What a copy did. ``skipped`` records were there from an earlier run."""

    sent: int = 0
    skipped: int = 0
    count: int = 0
    source_hash: str = ""
    target_count: int | None = None
    target_hash: str | None = None
    errors: list[ClientError] = field(default_factory=list)

    @property
    def is_verified(self) -> bool:
        """Whether the destination holds exactly what was read."""
        return (self.count, self.source_hash) == (self.target_count, self.target_hash)

    def problems(self, state: CopyState) -> list[ClientError]:
        """Return what went wrong: what was met on the way, else that the destination holds something else."""
        if self.errors or self.is_verified:
            return list(self.errors)
        code = "NOT_VERIFIED"
        msg = (
            f"{state.target} holds {self.target_count:,} records with hash {(self.target_hash or '')[:16]}…, "
            f"{state.source} had {self.count:,} with {self.source_hash[:16]}…"
        )
        hint = "did somebody else write there, or retention or compaction take some away?"
        return [ClientError(code, msg, hint)]


class UnorderedHash:
    """A hash of records in whatever order and partition: for a copy that puts keys into other partitions."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, _: int, rows: list[Fields]) -> None:
        """Add records."""
        for _, timestamp, key, value, headers in rows:
            own = ContentHash()
            own.add(0, [(0, timestamp, key, value, headers)])
            self._sum = (self._sum + int.from_bytes(hashlib.sha256(own.hexdigest().encode()).digest(), "big")) % (
                1 << 256
            )
            self.count += 1

    def hexdigest(self) -> str:
        """Return the hash of what was added so far."""
        return f"{self._sum:064x}"


@dataclass
class _Side:
    """A topic of a cluster."""

    cluster: Cluster
    metadata: ClusterMetadata
    topic: str

    def scan(
        self, ranges: Mapping[int, tuple[int, int]], condition: Filter | None, on_trouble: Callable[[str], None]
    ) -> Scan:
        wanted = {(self.topic, index): Range(start, end, start, end) for index, (start, end) in ranges.items()}
        return Scan(self.cluster, self.metadata, wanted, condition, committed_only=True, on_trouble=on_trouble)


class TopicCopy:
    """A copy of one topic to another, on the same cluster or not."""

    def __init__(
        self,
        source: Cluster,
        source_metadata: ClusterMetadata,
        target: Cluster,
        state: CopyState,
        condition: Filter | None = None,
        *,
        properties: dict[str, Any] | None = None,
        on_trouble: Callable[[str], None] = lambda _: None,
        on_progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Prepare. ``on_progress`` is told how many offsets of the source are left."""
        self._source = _Side(source, source_metadata, state.source)
        self._target_cluster = target
        self._state = state
        self._condition = condition
        self._properties = properties
        self._on_trouble = on_trouble
        self._on_progress = on_progress

    async def run(self) -> CopyResult:
        """Copy what is not there yet, then read the destination and compare.

        Raises:
            ClientError: The destination holds something else behind its start, or cannot be written.
        """
        result = CopyResult()
        there, hashes = await self._there()
        if there and not self._state.keeps_partitions:
            total = sum(there.values())
            msg = f"{self._state.target} has {total:,} records of an earlier run, and partitions are not kept"
            code = "CANNOT_RESUME"
            raise ClientError(code, msg, "copy into a new topic, or trim this one, with --restart")
        source_hash = self._hash()
        async with Sender(self._target_cluster, self._properties) as sender:
            await self._send(sender, there, hashes, source_hash, result)
        result.errors += sender.errors
        result.sent = sender.sent
        result.count, result.source_hash = source_hash.count, source_hash.hexdigest()
        if not result.errors:
            await self._verify(result)
        return result

    async def _send(
        self,
        sender: Sender,
        there: dict[int, int],
        hashes: dict[int, str],
        source_hash: ContentHash | UnorderedHash,
        result: CopyResult,
    ) -> None:
        scan = self._source.scan(self._state.ranges, self._condition, self._on_trouble)
        behind = {index: ContentHash() for index in there}
        async for found in scan.rows():
            index = found.where[1]
            rows = [fields for _, batch in found.rows for fields in batch]
            source_hash.add(index, self._as_kept(rows))
            left = there.get(index, 0) - (behind[index].count if index in behind else 0)
            if left > 0:
                known, rows = rows[:left], rows[left:]
                behind[index].add(index, self._as_kept(known))
                result.skipped += len(known)
                if behind[index].count == there[index]:
                    self._compare(index, behind[index].hexdigest(), hashes[index])
            await sender.send([self._draft(index, fields) for fields in rows], self._state.target)
            sender.poll()
            self._on_progress(scan.remaining or 0)
            if sender.errors:
                return
        result.errors += scan.failures()
        for gap in scan.gaps:
            text = f"{gap.where[0]}:{gap.where[1]}: offsets {gap.start:,} to {gap.end - 1:,} were gone: {gap.why}"
            result.errors.append(ClientError("OFFSETS_GONE", text, "the destination lacks them"))
        for index, count in there.items():
            if behind[index].count < count and not result.errors:
                self._compare(index, "", hashes[index])

    def _compare(self, index: int, here: str, there: str) -> None:
        if here == there:
            return
        target = f"{self._state.target}:{index}"
        msg = (
            f"{target} holds other records behind {self._state.target_starts.get(index, 0):,} than {self._state.source}"
        )
        code = "NOT_THIS_COPY"
        raise ClientError(
            code, msg, "somebody else writes there, or the source has changed; --restart copies all again"
        )

    async def _there(self) -> tuple[dict[int, int], dict[int, str]]:
        """Return count and hash of what the destination has behind the place where this copy began."""
        counts: dict[int, int] = {}
        hashes: dict[int, str] = {}
        for index, content in (await self._read_target(separate=True)).items():
            if content.count:
                counts[index], hashes[index] = content.count, content.hexdigest()
        return counts, hashes

    async def _verify(self, result: CopyResult) -> None:
        found = await self._read_target(separate=False)
        content = found.get(-1, self._hash())
        result.target_count, result.target_hash = content.count, content.hexdigest()

    async def _read_target(self, *, separate: bool) -> dict[int, Any]:
        """Return the hashes of the destination's records since the copy began, by partition or of all (-1)."""
        state = self._state
        metadata = await self._target_cluster.metadata([state.target])
        side = _Side(self._target_cluster, metadata, state.target)
        where: list[Partition] = [(state.target, index) for index in state.target_starts]
        ends, errors = await start_and_end(self._target_cluster, metadata, where, committed_only=True)
        for error in errors.values():
            raise error
        ranges = {index: (state.target_starts[index], ends[state.target, index][1]) for index in state.target_starts}
        found: dict[int, Any] = {}
        scan = side.scan({index: each for index, each in ranges.items() if each[1] > each[0]}, None, self._on_trouble)
        async for rows in scan.rows():
            index = rows.where[1] if separate else -1
            content = found.setdefault(index, ContentHash() if separate else self._hash())
            for _, batch in rows.rows:
                content.add(rows.where[1], self._as_kept(batch))
        for error in scan.failures():
            raise error
        return found

    def _hash(self) -> ContentHash | UnorderedHash:
        return ContentHash() if self._state.keeps_partitions else UnorderedHash()

    def _as_kept(self, rows: list[Fields]) -> list[Fields]:
        """Return records without what the destination replaces."""
        if self._state.keeps_timestamps:
            return rows
        return [(offset, 0, key, value, headers) for offset, _, key, value, headers in rows]

    def _draft(self, index: int, fields: Fields) -> Draft:
        _, timestamp, key, value, headers = fields
        partition = index if self._state.keeps_partitions else None
        return Draft(None, partition, timestamp, key, value, headers)


def state_path(source_cluster: str, source: str, target_cluster: str, target: str) -> Path:
    """Return where the state of a copy is kept until it is done."""
    name = hashlib.sha256(f"{source_cluster}\0{source}\0{target_cluster}\0{target}".encode()).hexdigest()[:16]
    return state_folder() / "copies" / f"{name}.json"
