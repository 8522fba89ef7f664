"""``klamm segment``: look into a data directory with no broker running."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar

import typer

from klamm.cli.output import Column, Format, Result, render, size_text
from klamm.storage.disk_filesystem import DiskFilesystem
from klamm.storage.errors import LogDirectoryError
from klamm.storage.inspect import (
    DumpedBatch,
    SegmentReport,
    SegmentStatus,
    dump_segments,
    list_segments,
    topic_in_path,
    verify_segments,
)

_T = TypeVar("_T")
EXIT_DAMAGE = 1
EXIT_USAGE = 2
NOTHING = "Nothing was written here yet."

app = typer.Typer(
    name="segment",
    help="Look into a data directory, or one partition's folder, with no broker running. Nothing is changed.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Output(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"


Directory = Annotated[str, typer.Argument(metavar="DIR", help="A data directory, or one partition's folder in it.")]
Logs = Annotated[
    list[str] | None, typer.Argument(metavar="TOPIC", help="Topics, or partitions as TOPIC-0. Default: all.")
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="table, or json for programs.")]

_COLUMNS = (
    Column("LOG", "log"),
    Column("SEGMENT", "name"),
    Column("STATUS", "status"),
    Column("START", "base_offset", right=True),
    Column("END", "end_offset", right=True),
    Column("SIZE", "size_bytes", right=True, show=size_text),
)
_CHECKED_COLUMNS = (
    *_COLUMNS,
    Column("BATCHES", "batch_count", right=True),
    Column("RECORDS", "record_count", right=True),
    Column("FAULT", "fault"),
)
_BATCH_COLUMNS = (
    Column("LOG", "log"),
    Column("FIRST", "base_offset", right=True),
    Column("LAST", "last_offset", right=True),
    Column("EPOCH", "leader_epoch", right=True),
    Column("APPENDED", "append_time"),
    Column("MAX TIMESTAMP", "max_timestamp"),
    Column("CLIENT", "client_id"),
    Column("PRODUCER", "producer_id", right=True),
    Column("RECORDS", "record_count", right=True),
    Column("SIZE", "size_bytes", right=True, show=size_text),
    Column("POSITION", "position", right=True),
)
_RECORD_COLUMNS = (
    Column("LOG", "log"),
    Column("OFFSET", "offset", right=True),
    Column("TIMESTAMP", "timestamp"),
    Column("KEY", "key"),
    Column("VALUE", "value"),
    Column("HEADERS", "headers", show=json.dumps),
)


@app.command("list")
def list_command(directory: Directory, logs: Logs = None, output: OutputOption = Output.TABLE) -> None:
    """List segments and quarantine files: offsets, sizes, closed or open."""
    items = [_item(report) for report in _from(list_segments(DiskFilesystem(), *_what(directory, logs)))]
    _print("SegmentList", Result(items, _COLUMNS, empty=NOTHING), output)


@app.command()
def dump(
    directory: Directory,
    logs: Logs = None,
    records: Annotated[bool, typer.Option("--records", help="Decode and show every record.")] = False,
    start: Annotated[int, typer.Option("--from", min=0, help="First offset shown.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Batches or records shown at most.")] = 1_000,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the batches, or with --records the records, that the segments hold."""
    items: list[dict[str, Any]] = []
    damaged: list[SegmentReport] = []
    where, wanted = _what(directory, logs)
    for found in _from(dump_segments(DiskFilesystem(), where, start, wanted)):
        if isinstance(found, SegmentReport):
            damaged.append(found)
        else:
            items += _records(found, start) if records else [_batch(found)]
        if len(items) >= limit:
            typer.echo(f"Stopped after {limit}: --limit shows more, --from starts later.", err=True)
            break
    columns = _RECORD_COLUMNS if records else _BATCH_COLUMNS
    empty = f"Nothing at offset {start} or above: klamm segment list says where logs end." if start else NOTHING
    empty = "" if damaged else empty
    _print("RecordList" if records else "BatchList", Result(items[:limit], columns, empty=empty), output)
    _complain(damaged)


@app.command()
def verify(directory: Directory, logs: Logs = None, output: OutputOption = Output.TABLE) -> None:
    """Check every byte of every segment; exit 1 if anything is damaged or missing."""
    reports = list(_from(verify_segments(DiskFilesystem(), *_what(directory, logs))))
    _print(
        "SegmentVerification", Result([_item(report) for report in reports], _CHECKED_COLUMNS, empty=NOTHING), output
    )
    _complain([one for one in reports if one.status in {SegmentStatus.DAMAGED, SegmentStatus.MISSING}])


def _what(directory: str, logs: list[str] | None) -> tuple[str, Collection[str]]:
    """Return the directory, and the logs that are wanted of it: DIR/TOPIC is a topic of DIR."""
    return (directory, logs) if logs else topic_in_path(DiskFilesystem(), directory)


def _from(found: Iterator[_T]) -> Iterator[_T]:
    """Pass on what is found; end the program where the directory is none of ours."""
    try:
        yield from found
    except LogDirectoryError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(EXIT_USAGE) from error


def _complain(damaged: list[SegmentReport]) -> None:
    for report in damaged:
        typer.echo(f"{report.status}: {report.path}: {report.fault}", err=True)
    unread = [report for report in damaged if os.strerror(errno.EACCES) in (report.fault or "")]
    if unread:
        typer.echo("What may not be read was not checked: run it as the user that the broker runs as.", err=True)
    if len(damaged) > len(unread):
        typer.echo("Start the broker to cut an unfinished tail; anything else needs a copy from a replica.", err=True)
    if damaged:
        raise typer.Exit(EXIT_DAMAGE)


def _print(kind: str, result: Result, output: Output) -> None:
    if not result.items and result.empty and output is Output.TABLE:
        typer.echo(result.empty, err=True)
    typer.echo(render(kind, None, result, Format(output.value)), nl=False)


def _item(report: SegmentReport) -> dict[str, Any]:
    return {**report._asdict(), "status": report.status.value}


def _batch(found: DumpedBatch) -> dict[str, Any]:
    row = found.row
    item = {
        **row._asdict(),
        "log": found.log,
        "segment": found.name,
        "position": found.position,
        "client_id": None if row.client_id is None else row.client_id.decode(errors="replace"),
        "append_time": None if row.append_time_us is None else _time(row.append_time_us / 1_000),
        "max_timestamp": _time(row.max_timestamp_ms),
        "size_bytes": len(row.payload),
    }
    del item["payload"]
    return item


def _records(found: DumpedBatch, start: int) -> list[dict[str, Any]]:
    from klamm.records.record import decode_records

    return [
        {
            "log": found.log,
            "offset": record.offset,
            "timestamp_ms": record.timestamp_ms,
            "timestamp": _time(record.timestamp_ms),
            "key": _text(record.key),
            "value": _text(record.value),
            "headers": [[_text(key), _text(value)] for key, value in record.headers],
        }
        for record in decode_records(found.row.payload)
        if record.offset >= start
    ]


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="backslashreplace")


def _time(time_ms: float) -> str | None:
    if time_ms < 0:
        return None
    try:
        return datetime.fromtimestamp(time_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):  # a client may write any 64-bit number
        return str(time_ms)
