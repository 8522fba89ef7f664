"""``klamm record``: samples a cluster into a file that every reading command can be pointed at with ``--replay``."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from pathlib import Path

from klamm.cli.output import Column, Result, count_text, size_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run, parse_seconds
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError
from klamm.client.text import counted

_SIZE = re.compile(r"(\d+)\s*(K|M|G|KiB|MiB|GiB|B)?", re.IGNORECASE)
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SIZE_MIN = 64 * 1024
"""Below this a file would hold less than the first sample of a larger cluster."""


async def record(run: Run) -> Result:
    """Sample until ``--count``, ``--for`` or Ctrl-C."""
    from klamm.client.recording.writing import FILE_SIZE_MAX, FILES_MAX, Recorder

    every = parse_seconds(run.values.text("every") or "1s", "--every")
    count, span = run.values.number("count"), run.values.text("for")
    files = run.values.number("files")
    ends = None if span is None else time.monotonic() + parse_seconds(span, "--for")
    size = _size(run.values.text("max_size"), FILE_SIZE_MAX)
    path = Path(run.values.required("file"))
    with (
        Recorder(run.cluster, path, file_size_max=size, files_max=FILES_MAX if files is None else files) as recorder,
        run.without_deadline(),
    ):
        run.note(f"recording to {path} every {every:g} s; Ctrl-C ends it")
        samples = failed = rows = 0
        errors: list[ClientError] = []
        while True:
            began = time.monotonic()
            found = await recorder.sample()
            samples += 1
            rows += found.rows
            if found.errors and not errors:
                run.note(f"klamm: {found.errors[0].code}: {found.errors[0].message} (recorded; going on)")
            errors = found.errors
            failed += bool(errors)
            _say(run, f"{counted(samples, 'sample')}  {size_text(found.size_bytes)}  {counted(failed, 'failure')}")
            pause = every - (time.monotonic() - began)
            if (count is not None and samples >= count) or (ends is not None and time.monotonic() + pause > ends):
                break
            await asyncio.sleep(max(0.0, pause))
    item = {"name": str(path), "samples": samples, "failed": failed, "rows": rows, "size_bytes": found.size_bytes}
    columns = (
        Column("FILE", "name"),
        Column("SAMPLES", "samples", right=True, show=count_text),
        Column("FAILED", "failed", right=True, show=count_text),
        Column("ROWS", "rows", right=True, show=count_text),
        Column("SIZE", "size_bytes", right=True, show=size_text),
    )
    return Result([item], columns, errors if failed == samples else ())


def _say(run: Run, text: str) -> None:
    """Show progress in place on a terminal; nothing elsewhere."""
    if sys.stderr.isatty() and not run.values.flag("quiet"):
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()


def _size(text: str | None, default: int) -> int:
    if text is None:
        return default
    found = _SIZE.fullmatch(text.strip())
    size = int(found[1]) * _UNITS[(found[2] or "")[:1].lower()] if found else 0
    if size < _SIZE_MIN:
        msg = f"--max-size takes a size from 64KiB on, like 64MiB, not {text!r}"
        raise UsageError(msg)
    return size


COMMANDS = (
    Command(
        "record",
        "Record metadata, offsets, group members and configs, for --replay and lag history",
        record,
        "Recording",
        (Argument("file", "where to; a recording that is there becomes its older part"),),
        (
            Option(("--every",), "how often", "TIME", default="1s"),
            Option(("--count",), "end after so many samples", "COUNT"),
            Option(("--for",), "end after this long", "TIME"),
            Option(("--max-size",), "size of a file: then it becomes FILE.1, FILE.1 becomes FILE.2, … (64MiB)", "SIZE"),
            Option(("--files",), "files that are kept, FILE among them (4)", "COUNT"),
        ),
        (
            Example("klamm record incident.arrows", "every second, until Ctrl-C"),
            Example("klamm record night.arrows --every 5s --for 8h", "while you sleep"),
            Example("klamm lag --replay incident.arrows --at 03:12", "what lag was then"),
            Example("klamm group describe billing --replay incident.arrows --at -10m", "who was in the group"),
        ),
        ("Metadata", "DescribeCluster", "ListGroups", "DescribeGroups", "ConsumerGroupDescribe", "OffsetFetch",
         "ListOffsets", "Fetch", "DescribeConfigs", "DescribeLogDirs"),
        ("DESCRIBE on cluster, topics and groups", "DESCRIBE_CONFIGS on topics and brokers",
         "READ on topics (the age of what is unread)"),
        details="An Arrow IPC stream: a record batch for each sample, with what changed since the one before, and "
        "everything once a minute. Messages are not recorded, only when unread ones were written; nor are secret "
        "configs, which brokers do not tell.",
    ),
)  # fmt: skip
