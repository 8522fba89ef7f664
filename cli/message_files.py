"""``klamm message export`` and ``import``: a topic's records as a file and back, with the hash to compare."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from klamm.cli.guard import ADDITIVE, MILD, Plan, guard, record
from klamm.cli.message_coverage import gap_errors, resume_line
from klamm.cli.message_destination import CANNOT_UNDO, Placing, asked_partitions, find_destination, held_lines, made
from klamm.cli.message_input import chunks, split
from klamm.cli.message_source import Source, find_source, make_condition, make_scan, open_ended
from klamm.cli.output import Column, Item, Result, count_text
from klamm.cli.parser import UsageError
from klamm.cli.progress import Progress
from klamm.cli.run import Run
from klamm.client.errors import ClientError, SettingsError
from klamm.client.text import counted, size_text

if TYPE_CHECKING:
    from klamm.client.messages.hashing import ContentHash
    from klamm.client.messages.jsonl import Draft
    from klamm.client.messages.producing import Sender
    from klamm.client.messages.record import Fields
    from klamm.client.messages.scan import Found, Scan
    from klamm.records.batch import BatchHeader

KINDS = {
    "jsonl": "jsonl",
    "json": "jsonl",
    "ndjson": "jsonl",
    "arrow": "arrow",
    "feather": "arrow",
    "parquet": "parquet",
}
COLUMNS = (
    Column("TOPIC", "topic"),
    Column("FILE", "file"),
    Column("RECORDS", "records", right=True, show=count_text),
    Column("HASH", "hash"),
)


class _Writer(Protocol):
    """One file that records are written to."""

    def add(self, partition: int, header: BatchHeader, rows: list[Fields]) -> None: ...
    def close(self) -> None: ...


async def export(run: Run) -> Result:
    """Write records into a file and print their number and hash."""
    from klamm.client.messages.hashing import ContentHash

    path = run.values.text("to") or "-"
    kind = _kind(path, run.values.text("as"))
    if path != "-" and os.path.exists(path) and not run.values.flag("overwrite"):  # noqa: ASYNC240, PTH110 (no wait)
        msg = f"{path} is there already"
        raise SettingsError(msg, "--overwrite, or another name")
    content = ContentHash()
    errors: list[ClientError] = []
    with open_ended(run):
        source = await find_source(run)
        scan = await make_scan(run, source, run.values.text("until") or "end", await make_condition(run))
        part = path if path == "-" else f"{path}.part"
        try:
            with _opened(part, kind, source) as writer:
                await _copy(run, scan, writer, content)
        except BrokenPipeError:
            raise
        except OSError as error:
            if path == "-":
                raise
            raise _unwritten(path, part, error) from error
        except (asyncio.CancelledError, KeyboardInterrupt):
            run.note(f"interrupted: {counted(content.count, 'record')} written to {part}; nothing is in {path}")
            run.note(f"Go on with another file: {resume_line(scan, to=_beside(path))}")
            raise
        errors += [*scan.failures(), *gap_errors(scan.gaps)]
        if path != "-":
            os.replace(part, path)  # noqa: PTH105 (a wait as short as any)
    item: Item = {
        "topic": source.topic,
        "file": path,
        "records": content.count,
        "hash": content.hexdigest(),
        "partitions": [
            {"partition": each.where[1], "start": each.start, "end": each.end, "records": each.matched}
            for each in scan.coverage.values()
        ],
    }
    if path == "-":
        run.note(f"{counted(content.count, 'record')} of {source.topic}, hash {content.hexdigest()}")
        return Result((), (), errors, streamed=True)
    return Result([item], COLUMNS, errors)


def _unwritten(path: str, part: str, error: OSError) -> ClientError:
    """Return that an export came to no end, and what is left of it."""
    why = error.strerror or str(error)
    try:
        size = Path(part).stat().st_size
    except OSError:  # it was not even begun
        return SettingsError(f"{path}: {why}")
    msg = f"{part}: {why}, after {size_text(size)}; nothing is in {path}"
    return ClientError("FILE_NOT_WRITTEN", msg, f"make room, or name another place; {part} is of no more use")


def _beside(path: str) -> str | None:
    """Return the name of a second file for what is left; None for standard output."""
    if path == "-":
        return None
    stem, dot, suffix = path.rpartition(".")
    return f"{stem}-rest.{suffix}" if dot and "/" not in suffix else f"{path}-rest"


async def _copy(run: Run, scan: Scan, writer: _Writer, content: ContentHash) -> None:
    """Write what the scan finds, on a thread while the next is fetched and decoded; all of it is written on return."""
    from concurrent.futures import ThreadPoolExecutor

    def write(found: Found) -> None:
        for header, rows in found.rows:
            writer.add(found.where[1], header, rows)
            content.add(found.where[1], rows)

    total = scan.remaining or 0
    loop = asyncio.get_running_loop()
    written: asyncio.Future[None] | None = None
    with ThreadPoolExecutor(1) as pool, Progress(run, "exporting", total, "offsets") as bar:
        async for found in scan.rows():
            bar.at(total - (scan.remaining or 0))
            if written is not None:
                await written
            written = loop.run_in_executor(pool, write, found)
        if written is not None:
            await written


def _kind(path: str, named: str | None) -> str:
    suffix = named or ("jsonl" if path == "-" else path.rpartition(".")[2].lower())
    kind = KINDS.get(suffix)
    if kind is None:
        msg = f"{path} does not say what it is: name it .jsonl, .arrow or .parquet, or add --as"
        raise UsageError(msg)
    if path == "-" and kind != "jsonl":
        msg = f"{kind} is written to a file: --to FILE"
        raise UsageError(msg)
    return kind


@contextlib.contextmanager
def _opened(path: str, kind: str, source: Source) -> Generator[_Writer]:
    writer: _Writer = _Lines(path, source.topic) if kind == "jsonl" else _Tabular(path, kind, source)
    try:
        yield writer
    finally:
        writer.close()


class _Lines:
    """JSONL, in a file or on standard output."""

    def __init__(self, path: str, topic: str) -> None:
        self._topic = topic
        self._file: Any = sys.stdout.buffer if path == "-" else Path(path).open("wb")  # noqa: SIM115 (closed by close)
        self._closes = path != "-"

    def add(self, partition: int, header: BatchHeader, rows: list[Fields]) -> None:
        """Write records."""
        from klamm.client.messages.jsonl import write_rows

        self._file.write(write_rows((self._topic, partition), [(header, rows)]))

    def close(self) -> None:
        """End the file."""
        self._file.flush()
        if self._closes:
            self._file.close()


class _Tabular:
    """Arrow or Parquet."""

    def __init__(self, path: str, kind: str, source: Source) -> None:
        from klamm.client.messages.tabular import TabularWriter

        self._writer = TabularWriter(path, kind, source.topic, source.partition_count)

    def add(self, partition: int, header: BatchHeader, rows: list[Fields]) -> None:
        """Write records."""
        from klamm.records.batch import LOG_APPEND_TIME

        self._writer.add(partition, rows, append_time=header.timestamp_type == LOG_APPEND_TIME)

    def close(self) -> None:
        """End the file."""
        self._writer.close()


async def import_records(run: Run) -> Result:
    """Send the records of a file, each into its partition, and print their number and hash."""
    from klamm.client.messages.hashing import ContentHash
    from klamm.client.messages.producing import Sender

    path = run.values.required("file")
    kind = _kind(path, run.values.text("as"))
    _check_readable(path)
    keep = not run.values.flag("repartition")
    content = ContentHash()
    errors: list[ClientError] = []
    with open_ended(run):
        partitions = asked_partitions(run)
        if partitions is None and run.values.flag("create") and not _is_pipe(path):
            partitions = await _partitions_of(path, kind)
        destination = await find_destination(run, partitions)
        name = destination.topic.name
        lines = destination.lines or await held_lines(run.cluster, destination.topic)
        level = MILD if run.interactive else ADDITIVE
        if not await guard(run, Plan(f"import {path} into {name}", level, name, lines, CANNOT_UNDO)):
            return Result([{"topic": name, "file": path, "records": 0, "hash": None}], COLUMNS)
        topic = await made(run, destination)
        sender = Sender(run.cluster)
        try:
            async with sender:
                try:
                    await _send_file(sender, Placing(topic), topic.name, read_drafts(path, kind), content, keep=keep)
                except ClientError as error:
                    errors.append(error)
        except (asyncio.CancelledError, KeyboardInterrupt):
            run.note(f"interrupted: {topic.name}: {sender.far}")
            raise
    errors += sender.errors
    if errors:
        run.note(f"{counted(sender.sent, 'record')} sent to {topic.name} before that; nothing after it")
    if sender.sent:
        await record(run, f"imported {counted(sender.sent, 'record')} into {topic.name}", [], CANNOT_UNDO)
    digest = None if errors else content.hexdigest()
    return Result([{"topic": topic.name, "file": path, "records": sender.sent, "hash": digest}], COLUMNS, errors)


def _is_pipe(path: str) -> bool:
    """Return whether a file can be read once only."""
    return path == "-" or Path(path).is_fifo()


def _check_readable(path: str) -> None:
    """Open a file before anything is asked or made; not a pipe, which can be opened once only.

    Raises:
        SettingsError: It cannot be read.
    """
    if _is_pipe(path):
        return
    try:
        Path(path).open("rb").close()
    except OSError as error:
        msg = f"{path}: {error.strerror}"
        raise SettingsError(msg) from error


async def _send_file(
    sender: Sender,
    placing: Placing,
    topic: str,
    batches: AsyncIterator[list[Draft]],
    content: Any,  # noqa: ANN401 (a ContentHash, by its add)
    *,
    keep: bool,
) -> None:
    """Send a file's records until one is refused; ``keep`` leaves each in the partition that it names."""
    async for drafts in batches:
        _hash(content, drafts)
        kept = [draft._replace(topic=None, partition=draft.partition if keep else None) for draft in drafts]
        kept, wrong = placing.fitting(kept)
        await sender.send(kept, topic)
        if sender.errors:
            return
        if wrong is not None:
            raise wrong


def _hash(content: Any, drafts: list[Draft]) -> None:  # noqa: ANN401 (a ContentHash, by its add)
    by_partition: dict[int, list[Fields]] = {}
    for draft in drafts:
        timestamp = -1 if draft.timestamp_ms is None else draft.timestamp_ms
        fields = (0, timestamp, draft.key, draft.value, draft.headers)
        by_partition.setdefault(-1 if draft.partition is None else draft.partition, []).append(fields)
    for partition, rows in by_partition.items():
        content.add(partition, rows)


async def _partitions_of(path: str, kind: str) -> int:
    """Return how many partitions the file's topic had; of JSONL, how many its records need to be taken as they are."""
    if kind != "jsonl":
        from klamm.client.messages.tabular import partitions_of

        return partitions_of(path, kind)
    most = 0
    async for drafts in read_drafts(path, kind):
        most = max(most, *(draft.partition or 0 for draft in drafts))
    return most + 1


async def read_drafts(path: str, kind: str) -> AsyncIterator[list[Draft]]:
    """Yield the records of a file, ``-`` for standard input.

    Raises:
        JsonlError: A line is no record; those before it were yielded.
        SettingsError: The file cannot be read.
    """
    if kind != "jsonl":
        from klamm.client.messages.tabular import read_tabular

        for drafts in read_tabular(path, kind):
            yield drafts
            await asyncio.sleep(0)
        return
    from klamm.client.messages.jsonl import JsonlError, read

    number = 0
    async for lines in split(chunks(None if path == "-" else path), b"\n"):
        drafts = []
        failure: JsonlError | None = None
        for line in lines:
            number += 1
            if not line.strip():
                continue
            try:
                drafts.append(read(line, number))
            except JsonlError as error:
                failure = error
                break
        if drafts:
            yield drafts
        if failure is not None:
            raise failure
