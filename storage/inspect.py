"""Look into a data directory, or one partition's, without a broker. Changes nothing and never stops at damage."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple

from klamm.model.configs import nearest
from klamm.storage.arrow_format import BLOCK, file_head, read_schema_metadata
from klamm.storage.errors import CorruptSegmentError, LogDirectoryError
from klamm.storage.filesystem import Filesystem
from klamm.storage.footer import Footer, SegmentState, read_footer_of
from klamm.storage.group_walk import checked_groups, columns_of, walk_groups
from klamm.storage.handles import FileHandles
from klamm.storage.known_segments import KnownSegments
from klamm.storage.log_directory import parse_partition, read_meta
from klamm.storage.recovery import (
    CLEANED_NAME,
    HEAD_SIZE_MAX,
    QUARANTINE_SUFFIX,
    base_offset_of,
    compacted_end_of,
    segment_path,
)
from klamm.storage.row import LogRow
from klamm.storage.row_group import METADATA_SIZE
from klamm.storage.segment import Segment

_NAMED_MAX: Final = 10
"""Partitions that an error names."""


class SegmentStatus(StrEnum):
    """What a file in a partition's directory is."""

    CLOSED = "closed"
    OPEN = "open"
    DAMAGED = "damaged"
    MISSING = "missing"
    QUARANTINE = "quarantine"


class SegmentReport(NamedTuple):
    """One file. Offsets and counts are unknown (None) where the file does not say."""

    log: str
    """The partition, as ``topic-partition``."""
    name: str
    path: str
    status: SegmentStatus
    size_bytes: int
    base_offset: int | None = None
    end_offset: int | None = None
    """Exclusive."""
    batch_count: int | None = None
    record_count: int | None = None
    fault: str | None = None
    """What is wrong and where."""


class DumpedBatch(NamedTuple):
    """A row, and where it is."""

    log: str
    name: str
    position: int
    """Of its row group."""
    row: LogRow


def log_directories(filesystem: Filesystem, path: str) -> list[tuple[str, str]]:
    """Return (name, path) of the partition logs at ``path``, a data directory or one log's own.

    Raises:
        LogDirectoryError: There is nothing of the kind; the message says what to give.
    """
    path = path.rstrip("/") or "/"
    try:
        names = filesystem.list_directory(path)
    except NotADirectoryError as error:
        folder = path.rpartition("/")[0] or "."
        msg = f"{path} is a file: give the folder that it is in, {folder}, or a data directory of klamm serve"
        raise LogDirectoryError(msg) from error
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror or error}): give a data directory of klamm serve"
        raise LogDirectoryError(msg) from error
    if any(base_offset_of(name.removesuffix(QUARANTINE_SUFFIX)) is not None for name in names):
        return [(path.rpartition("/")[2], path)]
    meta = read_meta(filesystem, path)
    found = sorted(partition for partition in map(parse_partition, names) if partition is not None)
    if not found and meta is None:
        msg = f"{path} holds no klamm data: give the directory that klamm serve --data was given"
        raise LogDirectoryError(msg)
    return [(str(partition), f"{path}/{partition}") for partition in found]


def is_wanted(log: str, wanted: Collection[str]) -> bool:
    """Whether a partition is one of ``wanted``, by its own name or its topic's; so is each where nothing is named."""
    return not wanted or log in wanted or log.rpartition("-")[0] in wanted


def topic_in_path(filesystem: Filesystem, path: str) -> tuple[str, Collection[str]]:
    """Return the data directory and the topic that ``path`` stands for where it is ``DIR/TOPIC``, else ``path``."""
    data, _, topic = path.rstrip("/").rpartition("/")
    data = data or "."
    if not filesystem.exists(path) and filesystem.exists(data):
        partitions = map(parse_partition, filesystem.list_directory(data))
        if any(partition is not None and partition.topic == topic for partition in partitions):
            return data, (topic,)
    return path, ()


def _wanted_logs(filesystem: Filesystem, path: str, wanted: Collection[str]) -> list[tuple[str, str]]:
    logs = log_directories(filesystem, path)
    _check_wanted(path, [log for log, _ in logs], wanted)
    return [(log, directory) for log, directory in logs if is_wanted(log, wanted)]


def _check_wanted(path: str, logs: Sequence[str], wanted: Collection[str]) -> None:
    """Check that each of ``wanted`` is there.

    Raises:
        LogDirectoryError: One is not; the message names those that are most like it.
    """
    for name in wanted:
        if not any(is_wanted(log, (name,)) for log in logs):
            topics = {log.rpartition("-")[0] for log in logs}
            near = name.rpartition("-")[0] if name.rpartition("-")[0] in topics else nearest(name, topics)
            there = [log for log in logs if near is None or is_wanted(log, (near,))]
            more = f" and {len(there) - _NAMED_MAX} more" if len(there) > _NAMED_MAX else ""
            msg = f"{path} has no partition of {name}; there is {', '.join(there[:_NAMED_MAX]) or 'none at all'}{more}"
            raise LogDirectoryError(msg)


def list_segments(filesystem: Filesystem, path: str, wanted: Collection[str] = ()) -> Iterator[SegmentReport]:
    """Yield every segment and quarantine file of the logs that are wanted. Reads metadata, no payloads.

    Raises:
        LogDirectoryError: See :func:`log_directories`; or a log that is wanted is not there.
    """
    for log, directory in _wanted_logs(filesystem, path, wanted):
        for report in _reports(filesystem, log, directory):
            yield report if report.status is not SegmentStatus.OPEN else _measured(filesystem, report)


def verify_segments(filesystem: Filesystem, path: str, wanted: Collection[str] = ()) -> Iterator[SegmentReport]:
    """Yield every segment of the logs that are wanted, each byte checked, every one missing, and quarantine files.

    After a clean stop it is known which segments there were; else only a gap between two tells of one that is missing.

    Raises:
        LogDirectoryError: See :func:`log_directories`; or a log that is wanted is not there.
    """
    logs = log_directories(filesystem, path)
    given = path.rstrip("/") or "/"
    one = [directory for _, directory in logs] == [given]
    known = KnownSegments(filesystem, (given.rpartition("/")[0] or ".") if one else given)
    there = [log for log, _ in logs]
    gone = [] if one else sorted({*known.logs()} - {*there})
    _check_wanted(path, [*there, *gone], wanted)
    for log, directory in logs:
        if is_wanted(log, wanted):
            yield from _verified_log(filesystem, log, directory, known.of(log))
    for log in gone:
        for state in (known.of(log) or {}).values() if is_wanted(log, wanted) else ():
            yield _missing(log, f"{given}/{log}", state.base_offset, state.end_offset)


def _verified_log(
    filesystem: Filesystem, log: str, directory: str, known: Mapping[int, SegmentState] | None
) -> Iterator[SegmentReport]:
    gaps_tell = known is None and CLEANED_NAME not in filesystem.list_directory(directory)
    there: set[int | None] = set()
    expected: int | None = None
    for found in _reports(filesystem, log, directory):
        report = found
        there.add(base_offset_of(report.name))
        if report.status in {SegmentStatus.CLOSED, SegmentStatus.OPEN}:
            report = _verified(filesystem, found)
            base = report.base_offset or 0
            if expected is not None and base < expected:
                report = _damaged(report, f"base_offset={base} < end offset {expected} of the segment before")
            elif expected is not None and base > expected and gaps_tell:
                yield _missing(log, directory, expected, base)
            state = None if known is None else known.get(base)
            if state is not None and report.end_offset != state.end_offset:
                report = _damaged(report, f"ends at offset {report.end_offset}, at the last stop at {state.end_offset}")
            expected = found.end_offset if report.status is SegmentStatus.DAMAGED else report.end_offset
        elif report.status is SegmentStatus.DAMAGED:
            expected = None
        yield report
    for state in (known or {}).values():
        if state.base_offset not in there:
            yield _missing(log, directory, state.base_offset, state.end_offset)


def _missing(log: str, directory: str, base_offset: int, end_offset: int) -> SegmentReport:
    path = segment_path(directory, base_offset)
    fault = f"the file is not there: offsets {base_offset} to {end_offset - 1} are lost"
    name = path.rpartition("/")[2]
    return SegmentReport(
        log, name, path, SegmentStatus.MISSING, 0, base_offset=base_offset, end_offset=end_offset, fault=fault
    )


def _damaged(report: SegmentReport, fault: str) -> SegmentReport:
    return report._replace(status=SegmentStatus.DAMAGED, fault=report.fault or fault)


def dump_segments(
    filesystem: Filesystem, path: str, start: int = 0, wanted: Collection[str] = ()
) -> Iterator[DumpedBatch | SegmentReport]:
    """Yield every batch from offset ``start`` on, checked; of a damaged segment what stands before, then its report.

    Of the logs that are wanted.

    Raises:
        LogDirectoryError: See :func:`log_directories`; or a log that is wanted is not there.
    """
    for log, directory in _wanted_logs(filesystem, path, wanted):
        for report in _reports(filesystem, log, directory):
            if report.status is SegmentStatus.QUARANTINE:
                continue
            if report.status is SegmentStatus.DAMAGED:
                yield report
                continue
            segment, end, _ = _opened(filesystem, report)
            try:
                for position, _, rows in checked_groups(segment.file(), segment.path, segment.data_start, end):
                    yield from (
                        DumpedBatch(log, report.name, position, row) for row in rows if row.last_offset >= start
                    )
            except (CorruptSegmentError, OSError) as error:
                yield report._replace(status=SegmentStatus.DAMAGED, fault=_fault(error))


def _reports(filesystem: Filesystem, log: str, directory: str) -> Iterator[SegmentReport]:
    """Yield what is in a log's directory, but for segments that a compaction replaced and had no time to remove."""
    compacted_end = 0
    for name in filesystem.list_directory(directory):
        base = base_offset_of(name)
        if base is not None and base < compacted_end:
            continue
        report = _report(filesystem, log, f"{directory}/{name}", name)
        if report is None:
            continue
        if report.status is SegmentStatus.CLOSED:
            footer = read_footer_of(filesystem.open(report.path, read_only=True), name)
            compacted_end = max(compacted_end, compacted_end_of(footer))
        yield report


def _report(filesystem: Filesystem, log: str, path: str, name: str) -> SegmentReport | None:
    """Return what ``name`` is without a look at its row groups, or nothing if it is no segment."""
    base = base_offset_of(name)
    if base is None:
        if not name.endswith(QUARANTINE_SUFFIX):
            return None
        return SegmentReport(log, name, path, SegmentStatus.QUARANTINE, filesystem.file_size(path))
    report = SegmentReport(log, name, path, SegmentStatus.OPEN, filesystem.file_size(path), base_offset=base)
    try:
        _, end, footer = _opened(filesystem, report)
    except (CorruptSegmentError, OSError) as error:
        return report._replace(status=SegmentStatus.DAMAGED, fault=_fault(error))
    if footer is None:
        return report
    del end
    return report._replace(
        status=SegmentStatus.CLOSED, base_offset=footer.state.base_offset, end_offset=footer.state.end_offset
    )


def _opened(filesystem: Filesystem, report: SegmentReport) -> tuple[Segment, int, Footer | None]:
    """Return the segment, where its row groups end, and its footer if it has one.

    Raises:
        CorruptSegmentError: Its start or its footer is damaged.
        OSError: The disk refused.
    """
    path = report.path
    handles = FileHandles(filesystem, read_only=True)
    file = filesystem.open(path, read_only=True)
    head = bytes(file.read(HEAD_SIZE_MAX, 0))
    try:
        whole = file_head(read_schema_metadata(head))
    except ValueError as error:
        raise CorruptSegmentError(path, 0, f"the start is no segment's: {error}") from error
    if not head.startswith(whole):
        raise CorruptSegmentError(path, 0, "the start is damaged")
    try:
        footer = read_footer_of(file, path)
    except CorruptSegmentError as error:
        if error.reason != "no footer":
            raise
        segment = Segment(handles, path, SegmentState.empty(report.base_offset or 0, len(whole)))
        return segment, report.size_bytes, None
    return Segment(handles, path, footer.state), footer.state.data_end, footer


def _measured(filesystem: Filesystem, report: SegmentReport) -> SegmentReport:
    """Walk an open segment's metadata to find its end offset."""
    end_offset = report.base_offset
    try:
        segment, end, _ = _opened(filesystem, report)
        for position, group, head in walk_groups(segment.file(), segment.path, segment.data_start, end):
            end_offset = columns_of(head, segment.path, position, group)[-1].last_offset + 1
    except (CorruptSegmentError, OSError) as error:
        return report._replace(status=SegmentStatus.DAMAGED, end_offset=end_offset, fault=_fault(error))
    return report._replace(end_offset=end_offset)


def _verified(filesystem: Filesystem, report: SegmentReport) -> SegmentReport:
    """Check every byte of a segment."""
    batch_count = record_count = 0
    end_offset = report.base_offset or 0
    blocks = b""
    fault: str | None = None
    try:
        segment, end, footer = _opened(filesystem, report)
        for position, group, rows in checked_groups(segment.file(), segment.path, segment.data_start, end):
            if rows[0].base_offset < end_offset:
                fault = fault or f"byte {position}: base_offset={rows[0].base_offset}, expected {end_offset}"
            end_offset = rows[-1].last_offset + 1
            batch_count += len(rows)
            record_count += sum(row.record_count for row in rows)
            blocks += BLOCK.pack(position, METADATA_SIZE, group.size - METADATA_SIZE)
        if footer is not None and (footer.blocks != blocks or footer.state.end_offset != end_offset):
            fault = fault or "the footer does not list the row groups that are there"
        if footer is not None and not _ends_with(segment, footer):
            fault = fault or f"byte {end}: the footer is not as it was written"
    except (CorruptSegmentError, OSError) as error:
        fault = _fault(error)
    return report._replace(
        status=SegmentStatus.DAMAGED if fault else report.status,
        end_offset=end_offset,
        batch_count=batch_count,
        record_count=record_count,
        fault=fault,
    )


def _ends_with(segment: Segment, footer: Footer) -> bool:
    """Whether the file holds ``footer`` behind the row groups, byte for byte."""
    file = segment.file()
    written = footer.encode(read_schema_metadata(bytes(file.read(segment.data_start, 0))))
    end = footer.state.data_end
    return bytes(file.read(file.size() - end, end)) == written


def _fault(error: CorruptSegmentError | OSError) -> str:
    return f"byte {error.position}: {error.reason}" if isinstance(error, CorruptSegmentError) else str(error)
