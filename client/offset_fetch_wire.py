"""OffsetFetch of many groups, read and written by hand: a cluster's commits may be a million and a half.

An object for each would take seconds and hundreds of megabytes. So a group's offsets are one tuple, in the order of a
:class:`Layout` that says which partitions they are of, and tuples of single commits are made of groups that are looked
at. Groups that have committed the same partitions mostly stand in the response with the same bytes but for offsets and
leader epochs: one comparison of masked bytes tells, and then nothing is walked over.

Sources: the protocol guide (https://kafka.apache.org/protocol), KIP-709 (many groups in one request, version 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import repeat
from struct import Struct
from struct import error as struct_error
from typing import Final

from klamm.client.wire_reader import Reader, flexible_topics, framed, head, nonsense
from klamm.protocol.varint import unsigned_varint

OFFSET_FETCH: Final = 9
OFFSET_FETCH_VERSIONS: Final = (8, 9)
"""Many groups in one request since 8 (KIP-709); from 10 on topics have ids only, and a group's topics may be gone."""

Partition = tuple[str, int]
Commit = tuple[int, int, int, int]
"""Partition, committed offset (-1: none), leader epoch, error code."""

_COMMIT_LAYOUT: Final = "iqiBhB"
"""Partition, offset, leader epoch, size of the metadata plus 1, error code, tags: a commit without metadata."""
_COMMIT: Final = Struct(">" + _COMMIT_LAYOUT)
_FIELDS: Final = 6
_HEAD: Final = Struct(">iqi")
_MASK: Final = b"\xff" * 4 + bytes(12) + b"\xff" * 4
"""Of a commit without metadata, what does not differ from group to group: all but offset and leader epoch."""
_UNPACKED_MAX: Final = 256
"""Partitions of one topic that are unpacked by one layout; of more only the layouts would take megabytes."""
_MISSES_MAX: Final = 16
"""Groups that looked like the one before and were not, after which no more are compared."""


class Layout:
    """Which partitions a group's offsets are of, in their order.

    Attributes:
        topics: (name, partitions) in the order of the response.
        count: How many partitions that is.
    """

    __slots__ = ("_epochs", "_expected", "_mask", "_offsets", "_partitions", "_size", "count", "topics")

    def __init__(self, topics: Sequence[tuple[str, tuple[int, ...]]]) -> None:
        self.topics = topics
        self.count = sum(len(indexes) for _, indexes in topics)
        self._partitions: list[Partition] | None = None
        self._size = 0
        self._mask = self._expected = 0
        self._offsets = self._epochs = _COMMIT

    @property
    def partitions(self) -> list[Partition]:
        """Every partition, as the offsets have them."""
        if self._partitions is None:
            self._partitions = [(topic, index) for topic, indexes in self.topics for index in indexes]
        return self._partitions

    def learn(self, sample: bytes, blocks: Iterable[tuple[int, int]]) -> None:
        """Learn what the topics of such a group look like, from one: ``blocks`` are (position, commits) by topic."""
        mask = bytearray(b"\xff" * len(sample))
        epochs, offsets = [">"], [">"]
        last = 0
        for position, count in blocks:
            mask[position : position + count * _COMMIT.size] = _MASK * count
            offsets.append(f"{position - last}x" + "4xq8x" * count)
            epochs.append(f"{position - last}x" + "12xi4x" * count)
            last = position + count * _COMMIT.size
        self._size = len(sample)
        self._mask = int.from_bytes(mask, "little")
        self._expected = int.from_bytes(sample, "little") & self._mask
        self._offsets, self._epochs = Struct("".join(offsets)), Struct("".join(epochs))

    def fits(self, data: bytes, position: int) -> int:
        """Return the bytes that the topics of such a group take at a position; 0 if another group stands there."""
        piece = data[position : position + self._size]
        if len(piece) < self._size or int.from_bytes(piece, "little") & self._mask != self._expected:
            return 0
        return self._size

    def offsets_at(self, data: bytes, position: int) -> tuple[int, ...]:
        """Return the offsets of a group that fits."""
        return self._offsets.unpack_from(data, position)

    def epochs_at(self, data: bytes, position: int) -> tuple[int, ...]:
        """Return the leader epochs of a group that fits."""
        return self._epochs.unpack_from(data, position)


class GroupCommits:
    """One group's answer to OffsetFetch.

    Attributes:
        group: Its id.
        error_code: Why there is nothing else.
        layout: Which partitions have a commit.
        offsets: The committed offsets, as the layout has them; -1: none.
        codes: Error codes by place in the layout, where there are any.
        metadata: What is not empty, by partition.
    """

    __slots__ = ("_epochs", "_found", "codes", "error_code", "group", "layout", "metadata", "offsets")

    def __init__(
        self,
        group: str,
        error_code: int,
        layout: Layout,
        offsets: Sequence[int],
        epochs: Callable[[], Sequence[int]],
        codes: Mapping[int, int] | None = None,
        metadata: Mapping[Partition, str] | None = None,
    ) -> None:
        """Keep columns; ``epochs`` is asked for the leader epochs if anybody wants them."""
        self.group = group
        self.error_code = error_code
        self.layout = layout
        self.offsets = offsets
        self.codes = codes or {}
        self.metadata = metadata or {}
        self._epochs = epochs
        self._found: dict[str, list[Commit]] | None = None

    @classmethod
    def of(
        cls, group: str, topics: Mapping[str, Sequence[Commit]], metadata: Mapping[Partition, str] | None = None
    ) -> GroupCommits:
        """Return a group of single commits by topic."""
        every = [commit for commits in topics.values() for commit in commits]
        layout = Layout([(topic, tuple(each[0] for each in commits)) for topic, commits in topics.items()])
        codes = {place: each[3] for place, each in enumerate(every) if each[3]}
        return cls(group, 0, layout, [each[1] for each in every], lambda: [each[2] for each in every], codes, metadata)

    @property
    def topics(self) -> dict[str, list[Commit]]:
        """Every commit by topic, as tuples: made when first asked for."""
        if self._found is None:
            codes = [self.codes.get(place, 0) for place in range(self.layout.count)] if self.codes else repeat(0)
            columns = zip(self.offsets, self._epochs(), codes, strict=False)
            self._found = {
                topic: [(index, *commit) for index, commit in zip(indexes, columns, strict=False)]
                for topic, indexes in self.layout.topics
            }
        return self._found


def encode_offset_fetch(
    version: int,
    correlation_id: int,
    client_id: str,
    groups: Iterable[str],
    topics: Mapping[str, Sequence[int]] | None = None,
) -> bytes:
    """Return an OffsetFetch request for every offset of many groups, or those of some topics, with its prefix."""
    frame = head(OFFSET_FETCH, version, correlation_id, client_id, flexible=True)
    names = list(groups)
    wanted = b"\x00" if topics is None else flexible_topics(topics)
    frame += unsigned_varint(len(names) + 1)
    for name in names:
        encoded = name.encode()
        frame += unsigned_varint(len(encoded) + 1) + encoded
        if version >= 9:  # noqa: PLR2004 (member id and epoch: an admin has none)
            frame += b"\x00\xff\xff\xff\xff"
        frame += wanted + b"\x00"  # no tags
    frame += b"\x00\x00"  # not only stable ones; no tags
    return framed(frame)


def decode_offset_fetch(frame: memoryview) -> list[GroupCommits]:
    """Decode one OffsetFetch response of version 8 or 9.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    return OffsetFetchDecoder().decode(frame)


class OffsetFetchDecoder:
    """Decodes responses; what groups look like it keeps from one to the next."""

    def __init__(self) -> None:
        self._reader = Reader(memoryview(b""), flexible=True)
        self._names: dict[bytes, str] = {}
        self._indexes: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._units: dict[int, _Unit] = {}
        self._before: _Sample | None = None
        self._misses = 0

    def decode(self, frame: memoryview) -> list[GroupCommits]:
        """Decode a response of version 8 or 9.

        Raises:
            ProtocolError: The bytes are no such response.
        """
        reader = self._reader = Reader(frame, flexible=True)
        try:
            reader.tags()
            reader.position += 4  # throttle time
            return [self._group() for _ in range(reader.count())]
        except (struct_error, IndexError, UnicodeDecodeError) as error:
            raise nonsense(OFFSET_FETCH, 8, frame, error) from error

    def _group(self) -> GroupCommits:
        reader = self._reader
        name = reader.string()
        start = reader.position
        before = self._before
        if before is not None and self._misses < _MISSES_MAX and before.begins_like(reader.data, start):
            size = before.layout.fits(reader.data, start)
            if size:
                reader.position = start + size
                return self._ended(name, before.layout, before.layout.offsets_at(reader.data, start), start)
            self._misses += 1
        return self._walked(name)

    def _ended(self, name: str, layout: Layout, offsets: Sequence[int], start: int) -> GroupCommits:
        error_code = self._reader.int16()
        self._reader.tags()
        return GroupCommits(name, error_code, layout, offsets, partial(layout.epochs_at, self._reader.data, start))

    def _walked(self, name: str) -> GroupCommits:
        reader = self._reader
        start = reader.position
        topics: list[tuple[str, tuple[int, ...]]] = []
        offsets: list[int] = []
        epochs: list[int] = []
        codes: dict[int, int] = {}
        metadata: dict[Partition, str] = {}
        blocks: list[tuple[int, int]] = []
        for _ in range(reader.count()):
            topic = self._topic()
            count = reader.count()
            block = reader.position
            fields = self._plain(count, block)
            if fields is None:
                commits = [self._commit(topic, metadata) for _ in range(count)]
                codes.update({len(offsets) + place: each[3] for place, each in enumerate(commits) if each[3]})
                topics.append((topic, tuple(each[0] for each in commits)))
                offsets += [each[1] for each in commits]
                epochs += [each[2] for each in commits]
            else:
                indexes = fields[::_FIELDS]
                topics.append((topic, self._indexes.setdefault(indexes, indexes)))
                offsets += fields[1::_FIELDS]
                epochs += fields[2::_FIELDS]
                blocks.append((block - start, count))
            reader.tags()
        layout = Layout(topics)
        if len(blocks) == len(topics):
            self._before = _Sample(layout, reader.data, start, reader.position, blocks)
        error_code = reader.int16()
        reader.tags()
        return GroupCommits(name, error_code, layout, offsets, lambda: epochs, codes, metadata)

    def _topic(self) -> str:
        """Read a topic's name: nearly always one that came before."""
        reader = self._reader
        encoded = reader.bytes(reader.varint() - 1)
        name = self._names.get(encoded)
        if name is None:
            name = self._names[encoded] = encoded.decode()
        return name

    def _plain(self, count: int, position: int) -> tuple[int, ...] | None:
        """Return the fields of so many commits and pass them, if none has metadata, an error or tags."""
        if not 0 < count <= _UNPACKED_MAX:
            return None if count > 0 else ()
        unit = self._units.get(count)
        if unit is None:
            unit = self._units[count] = _Unit(count)
        if position + unit.layout.size > len(self._reader.data):
            return None
        fields = unit.layout.unpack_from(self._reader.data, position)
        if fields[3::_FIELDS] != unit.ones or fields[4::_FIELDS] != unit.zeros or fields[5::_FIELDS] != unit.zeros:
            return None
        self._reader.position = position + unit.layout.size
        return fields

    def _commit(self, topic: str, metadata: dict[Partition, str]) -> Commit:
        reader = self._reader
        index, offset, epoch = _HEAD.unpack_from(reader.data, reader.position)
        reader.position += _HEAD.size
        text = reader.string()
        if text:
            metadata[topic, index] = text
        error_code = reader.int16()
        reader.tags()
        return index, offset, epoch, error_code


class _Unit:
    """A number of commits of one topic that are read at once."""

    __slots__ = ("layout", "ones", "zeros")

    def __init__(self, count: int) -> None:
        self.layout = Struct(">" + _COMMIT_LAYOUT * count)
        self.ones, self.zeros = (1,) * count, (0,) * count


class _Sample:
    """Where the last group that was walked over stands: the next one may look like it."""

    __slots__ = ("_begin", "_blocks", "_data", "_end", "_learned", "_start", "layout")

    def __init__(self, layout: Layout, data: bytes, start: int, end: int, blocks: list[tuple[int, int]]) -> None:
        self.layout = layout
        self._data = data
        self._start, self._end = start, end
        self._blocks = blocks
        self._begin = data[start : start + blocks[0][0]] if blocks else b""
        self._learned = False

    def begins_like(self, data: bytes, start: int) -> bool:
        """Return whether the first topic is the same; then the layout knows how to read such a group."""
        if not self._begin or not data.startswith(self._begin, start):
            return False
        if not self._learned:
            self.layout.learn(self._data[self._start : self._end], self._blocks)
            self._learned = True
        return True
