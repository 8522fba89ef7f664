"""What was sent already of a dead-letter topic, so that no record is sent twice, however a redrive ended.

The state is a file by source cluster, source topic (its id: a topic that is made anew begins anew) and destination
cluster. It has the offsets that were sent, by destination topic. Records go in chunks: before one is sent, the state
says which records are in doubt, where the destinations' logs end, and a hash of each record; once all are
acknowledged, they count as sent. After a crash the destinations are read from those ends on: a record in doubt whose
content stands there was sent.

A hash is over key, value and headers without ``traceparent``, which is another one each time, and not over the time.
"""

from __future__ import annotations

import bisect
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from klamm.client.cluster import Cluster
from klamm.client.errors import SettingsError
from klamm.client.folders import state_folder
from klamm.client.messages.hashing import ContentHash
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.record import is_traceparent
from klamm.client.messages.scan import Scan
from klamm.client.offsets import Partition, start_and_end
from klamm.client.positions import Range

STATE_VERSION: Final = 1
CHUNK: Final = 1_000
"""Records in doubt at a time: as many as one answer of a broker takes easily, and few to look for after a crash."""


class Offsets:
    """A set of offsets as ranges [start, end) in order."""

    def __init__(self, ranges: Iterable[Iterable[int]] = ()) -> None:
        """Take what :attr:`ranges` gave."""
        self.ranges = [(int(start), int(end)) for start, end in ranges]

    def __contains__(self, offset: int) -> bool:
        """Tell whether an offset is in it."""
        place = bisect.bisect_right(self.ranges, (offset, 1 << 63)) - 1
        return place >= 0 and offset < self.ranges[place][1]

    def __len__(self) -> int:
        """Return how many offsets are in it."""
        return sum(end - start for start, end in self.ranges)

    def add(self, offset: int) -> None:
        """Put an offset in."""
        if offset in self:
            return
        place = bisect.bisect_left(self.ranges, (offset, offset))
        start, end = offset, offset + 1
        if place < len(self.ranges) and self.ranges[place][0] == end:
            end = self.ranges.pop(place)[1]
        if place and self.ranges[place - 1][1] == start:
            place -= 1
            start = self.ranges.pop(place)[0]
        self.ranges.insert(place, (start, end))


class Doubt:
    """A chunk that was being sent: its records, and where the destinations' logs ended before."""

    def __init__(self, ends: Mapping[Partition, int], records: Iterable[tuple[str, int, int, str]]) -> None:
        """Take ends by destination partition, and (destination, source partition, source offset, hash)."""
        self.ends = dict(ends)
        self.records = list(records)


class RedriveState:
    """Which records of one dead-letter topic were sent to which topic."""

    def __init__(self, path: Path, source: str) -> None:
        """Begin a state without anything sent; :meth:`load` reads one."""
        self.path = path
        self.source = source
        self.sent: dict[str, dict[int, Offsets]] = {}
        self.doubt: Doubt | None = None

    @classmethod
    def load(cls, path: Path, source: str) -> Self:
        """Return the state in a file, an empty one where there is none.

        Raises:
            SettingsError: The file is damaged.
        """
        state = cls(path, source)
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            if found["version"] != STATE_VERSION:
                msg = f"{path} is of another version of klamm"
                raise SettingsError(msg, "move it away to forget what was redriven")
            for topic, partitions in found["sent"].items():
                state.sent[topic] = {int(index): Offsets(ranges) for index, ranges in partitions.items()}
            doubt = found["doubt"]
            if doubt is not None:
                ends = {(topic, int(index)): int(end) for topic, index, end in doubt["ends"]}
                state.doubt = Doubt(ends, [(str(t), int(p), int(o), str(h)) for t, p, o, h in doubt["records"]])
        except FileNotFoundError:
            return state
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            msg = f"{path} is damaged: {error}"
            raise SettingsError(msg, "move it away to forget what was redriven") from error
        return state

    def save(self) -> None:
        """Write it; the file is there whole or not at all."""
        doubt = self.doubt
        found = {
            "version": STATE_VERSION,
            "source": self.source,
            "sent": {
                topic: {index: offsets.ranges for index, offsets in partitions.items()}
                for topic, partitions in self.sent.items()
            },
            "doubt": None
            if doubt is None
            else {"ends": [(*where, end) for where, end in doubt.ends.items()], "records": doubt.records},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(found))
        os.replace(part, self.path)  # noqa: PTH105 (atomic, and said so)

    def is_sent(self, topic: str, partition: int, offset: int) -> bool:
        """Tell whether a record was sent to ``topic`` before."""
        return offset in self.sent.get(topic, {}).get(partition, ())

    def begin(self, ends: Mapping[Partition, int], drafts: Iterable[tuple[int, int, Draft]]) -> None:
        """Say, durably against a crash of this process, which records are sent now: (partition, offset, record)."""
        records = [(draft.topic or "", index, offset, content_of(draft)) for index, offset, draft in drafts]
        self.doubt = Doubt(ends, records)
        self.save()

    def done(self) -> None:
        """Say that all of them are acknowledged."""
        assert self.doubt is not None, "done before begin"
        self._note(self.doubt.records)

    async def resolve(self, target: Cluster) -> tuple[int, int]:
        """Find out what became of records in doubt; return how many were sent, and how many were not.

        Raises:
            ClientError: A destination cannot be read.
        """
        if self.doubt is None:
            return 0, 0
        topics = sorted({topic for topic, _, _, _ in self.doubt.records})
        found = await _contents(target, topics, self.doubt.ends)
        written: list[tuple[str, int, int, str]] = []
        for each in self.doubt.records:
            topic, content = each[0], each[3]
            if found[topic, content] > 0:
                found[topic, content] -= 1
                written.append(each)
        missing = len(self.doubt.records) - len(written)
        self._note(written)
        return len(written), missing

    def _note(self, records: Iterable[tuple[str, int, int, str]]) -> None:
        for topic, index, offset, _ in records:
            self.sent.setdefault(topic, {}).setdefault(index, Offsets()).add(offset)
        self.doubt = None
        self.save()


def content_of(draft: Draft) -> str:
    """Return the hash by which a record is found again in its destination."""
    content = ContentHash()
    headers = tuple(each for each in draft.headers if not is_traceparent(each[0]))
    content.add(0, [(0, 0, draft.key, draft.value, headers)])
    return content.hexdigest()[:32]


async def log_ends(cluster: Cluster, topics: Iterable[str]) -> dict[Partition, int]:
    """Return where the logs of topics end.

    Raises:
        ClientError: A partition does not say.
    """
    metadata = await cluster.metadata(sorted(topics))
    where = [(topic.name, part.partition) for topic in metadata.topics for part in topic.partitions]
    found, errors = await start_and_end(cluster, metadata, where)
    for error in errors.values():
        raise error
    return {each: end for each, (_, end) in found.items()}


async def _contents(
    cluster: Cluster, topics: Iterable[str], starts: Mapping[Partition, int]
) -> Counter[tuple[str, str]]:
    """Return how often each content stands in topics from some offsets on."""
    metadata = await cluster.metadata(sorted(topics))
    ends = await log_ends(cluster, topics)
    ranges = {where: Range(start, ends[where], start, ends[where]) for where, start in starts.items() if where in ends}
    found: Counter[tuple[str, str]] = Counter()
    scan = Scan(cluster, metadata, {where: each for where, each in ranges.items() if (each.end or 0) > each.start})
    async for rows in scan.rows():
        for _, batch in rows.rows:
            for _, _, key, value, headers in batch:
                found[rows.where[0], content_of(Draft(None, None, None, key, value, headers))] += 1
    for error in scan.failures():
        raise error
    return found


def redrive_path(source_cluster: str, topic: str, topic_id: bytes, target_cluster: str) -> Path:
    """Return where the state of redriving a topic to a cluster is kept."""
    text = f"{source_cluster}\0{topic}\0{topic_id.hex()}\0{target_cluster}"
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    return state_folder() / "redrives" / f"{name}.json"
