"""How records are printed while they come: nothing is held back but what one answer of a broker brought.

Each form is a sink: ``begin`` once, ``rows`` per batch, ``end`` once, even when the command fails or is interrupted, so
that an envelope is whole. Bytes go out as they are, except to a terminal, which some bytes command.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from klamm.cli.output import ENVELOPE_VERSION, error_item
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.client.errors import ClientError
from klamm.client.messages import jsonl
from klamm.client.messages.formats import Format
from klamm.client.messages.record import Columns, Fields, Record, to_record
from klamm.client.offsets import Partition
from klamm.records.batch import BatchHeader

if TYPE_CHECKING:
    from klamm.client.decoding import RecordDecoder

Rows = Sequence[tuple[BatchHeader, list[Fields]]]
FORMS = ("table", "json", "jsonl", "csv", "name")
KEY_WIDTH = 24
"""Cells of a key in a table: a UUID is cut, most business keys are not."""
REASONS_MAX = 10
"""Reasons that are told why values could not be decoded; what follows is still shown."""


class Sink:
    """Where records go. ``wants_values`` sinks take nothing but values, in bulk; ``wants_columns`` sinks columns."""

    wants_values = False
    wants_columns = False

    def __init__(self) -> None:
        self._out = sys.stdout.buffer

    def begin(self) -> None:
        """Write what stands in front."""

    async def prepare(self, where: Partition, rows: Rows) -> None:
        """Load what decoding these records needs."""

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write records of one partition."""
        raise NotImplementedError

    def values(self, values: list[bytes]) -> None:
        """Write values; the list is the sink's to change."""
        raise NotImplementedError

    def columns(self, where: Partition, batches: Iterable[Columns]) -> None:
        """Write records of one partition, of which offsets, keys and values are known."""
        raise NotImplementedError

    def end(self, errors: Sequence[ClientError], extra: dict[str, Any] | None = None) -> None:
        """Write what stands behind."""

    def write(self, data: bytes) -> None:
        """Write and flush: whoever reads has it at once."""
        self.write_each((data,))

    def write_each(self, parts: Iterable[bytes]) -> None:
        """As :meth:`write`. To join what is large first would take as long as to make it, in memory not yet touched."""
        for part in parts:
            written = self._out.write(part)
            while written < len(part):  # With PYTHONUNBUFFERED this is the bare file, which may take a part.
                written += self._out.write(memoryview(part)[written:])
        self._out.flush()


class Lines(Sink):
    """Values, one a line."""

    wants_values = True

    def rows(self, where: Partition, rows: Rows) -> None:  # noqa: ARG002 (as every sink)
        """Write values."""
        self.values([fields[3] or b"" for _, batch in rows for fields in batch])

    def values(self, values: list[bytes]) -> None:
        """Write values."""
        if values:
            values.append(b"")  # the last line feed, without another copy of all
            self.write(b"\n".join(values))


class Counting(Sink):
    """``--count``: nothing is written."""

    wants_values = True

    def rows(self, where: Partition, rows: Rows) -> None:
        """Take records."""

    def values(self, values: list[bytes]) -> None:
        """Take values."""


class Formatted(Sink):
    """kcat's ``-f``."""

    def __init__(self, form: Format) -> None:
        super().__init__()
        self._form = form
        self.wants_columns = form.takes_columns

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write records as the format says."""
        render, partition = self._form.render, where[1]
        self.write_each(render(partition, batch) for _, batch in rows)

    def columns(self, where: Partition, batches: Iterable[Columns]) -> None:
        """Write records as the format says."""
        render, partition = self._form.render_columns, where[1]
        self.write_each(render(partition, each) for each in batches)


class Jsonl(Sink):
    """The lossless form."""

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write one object a line."""
        ascii_only = sys.stdout.isatty()
        self.write_each(jsonl.write_rows(where, [each], ascii_only=ascii_only) for each in rows)


class Envelope(Sink):
    """``-o json``: the envelope of every command, its items one by one."""

    def __init__(self, kind: str, context: str | None) -> None:
        super().__init__()
        self._kind, self._context = kind, context
        self._first = True

    def begin(self) -> None:
        """Write the fields in front of the items."""
        head = {"kind": self._kind, "version": ENVELOPE_VERSION, "context": self._context}
        self.write(json.dumps(head, ensure_ascii=False)[:-1].encode() + b', "items": [')

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write the items."""
        lines = jsonl.write_rows(where, rows, ascii_only=sys.stdout.isatty()).splitlines()
        if lines:
            self.write((b"\n" if self._first else b",\n") + b",\n".join(lines))
            self._first = False

    def end(self, errors: Sequence[ClientError], extra: dict[str, Any] | None = None) -> None:
        """Write the errors, and the end."""
        tail: dict[str, Any] = {"errors": [error_item(error) for error in errors], **(extra or {})}
        self.write(b"\n], " + json.dumps(tail, ensure_ascii=False)[1:].encode() + b"\n")


class Csv(Sink):
    """One row a record; what is not UTF-8 in base64, as the encoding columns say."""

    def begin(self) -> None:
        """Write the titles."""
        self.write(",".join(jsonl.FIELDS).encode() + b"\n")

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write the rows."""
        import csv
        import io

        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for line in jsonl.write_rows(where, rows).splitlines():
            item = json.loads(line)
            item["headers"] = json.dumps(item["headers"])
            writer.writerow(["" if item[name] is None else item[name] for name in jsonl.FIELDS])
        self.write(out.getvalue().encode("utf-8", "backslashreplace"))


class Names(Sink):
    """``topic:partition@offset``, which ``message get`` takes."""

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write the places."""
        head = f"{where[0]}:{where[1]}@"
        self.write("".join([f"{head}{fields[0]}\n" for _, batch in rows for fields in batch]).encode())


class Decoded(Sink):
    """Decoded values, one a line: what a terminal gets, and ``--value-as``."""

    def __init__(self, decoder: RecordDecoder, tell: Callable[[str], None]) -> None:
        """``tell`` is told, once for each reason, why a value is not shown as it should have been."""
        super().__init__()
        self._decoder = decoder
        self._tell = tell
        self._told: set[str] = set()

    async def prepare(self, where: Partition, rows: Rows) -> None:
        """Load the schemas that the records name."""
        await self._decoder.prepare(_records(where, rows))

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write values as text that is safe to print."""
        lines: list[str] = []
        for record in _records(where, rows):
            value = self._decoder.value(record)
            lines.append(f"{value.text}\n")
            if value.note and value.note not in self._told and len(self._told) < REASONS_MAX:
                self._told.add(value.note)
                self._tell(f"{record.topic}:{record.partition}@{record.offset} is shown as {value.kind}: {value.note}")
        self.write("".join(lines).encode())


class Table(Sink):
    """Partition, offset, time, key and value in columns, for people."""

    def __init__(self, decoder: RecordDecoder, width: int | None) -> None:
        super().__init__()
        self._decoder = decoder
        self._width = width
        self._titled = False

    async def prepare(self, where: Partition, rows: Rows) -> None:
        """Load the schemas that the records name."""
        await self._decoder.prepare(_records(where, rows))

    def rows(self, where: Partition, rows: Rows) -> None:
        """Write the rows, the titles in front of the first."""
        lines: list[str] = []
        for record in _records(where, rows):
            if not self._titled:
                self._titled = True
                lines.append(f"{'P':>3} {'OFFSET':>12}  {'TIME':<24} {'KEY':<{KEY_WIDTH}} VALUE")
            key = self._decoder.key(record).text
            value = self._decoder.value(record)
            shown = value.text
            if record.headers:
                shown += "  " + headers_line(record)
            if value.note:
                shown += f"  ({value.note})"
            if self._width is not None:
                key = key if len(key) <= KEY_WIDTH else key[: KEY_WIDTH - 1] + "…"
            line = (
                f"{record.partition:>3} {record.offset:>12}  {time_text(record.timestamp_ms):<24} "
                f"{key:<{KEY_WIDTH}} {shown}"
            )
            lines.append(line if self._width is None or len(line) <= self._width else line[: self._width - 1] + "…")
        self.write("".join(f"{line.rstrip()}\n" for line in lines).encode("utf-8", "backslashreplace"))


def headers_line(record: Record) -> str:
    """Return headers in one line that is safe to print."""
    from klamm.client.decoding import decode, visible

    parts = [f"{visible(name)}={decode(value).text}" for name, value in record.headers]
    return "{" + ", ".join(parts) + "}"


def time_text(timestamp_ms: int) -> str:
    """Return a timestamp in UTC to the millisecond, ``-`` for none."""
    if timestamp_ms < 0:
        return "-"
    try:
        at = datetime.fromtimestamp(timestamp_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):  # a year that no calendar has
        return f"{timestamp_ms} ms"
    return f"{at:%Y-%m-%dT%H:%M:%S}.{timestamp_ms % 1000:03}Z"


async def make_decoder(run: Run) -> RecordDecoder:
    """Return what decodes keys and values as the line says, with the registry and the schemas that it names.

    Raises:
        SettingsError: There is no such form, or no such schema.
    """
    from klamm.client.decoding import open_decoder

    def given(name: str) -> str | None:
        return run.values.text(name) if run.values.has(name) else None  # copies decode for their filter alone

    settings = run.resolved.settings
    url = given("registry")
    if url is not None:
        settings = settings._replace(registry={"url": url})
    return await open_decoder(
        settings,
        given("key_as") or "auto",
        given("value_as") or "auto",
        given("key_schema"),
        given("value_schema"),
    )


async def choose_sink(run: Run, topic: str, *, people: bool) -> Sink:
    """Return the sink that the line asks for; ``people`` commands print a table unless told otherwise.

    Raises:
        UsageError: A form that cannot be streamed, or one that contradicts ``--format``.
    """
    form = run.form
    template = run.values.text("format")
    if form.sort is not None or form.columns:
        msg = "records come as a stream, which --sort and --columns cannot be used on"
        raise UsageError(msg)
    if template is not None:
        if run.values.text("output") is not None:
            msg = "--format and -o exclude each other"
            raise UsageError(msg)
        return Formatted(Format(template, topic, (run.values.text("null") or "").encode()))
    if form.name not in FORMS:
        msg = f"-o {form.name} would hold every record back; records come as {', '.join(FORMS)} or --format"
        raise UsageError(msg)
    if form.name == "table":
        values = run.values
        decodes = any(values.text(name) is not None for name in ("value_as", "value_schema", "registry"))
        if people or values.text("output") is not None or values.text("key_as") or values.text("key_schema"):
            return Table(await make_decoder(run), form.width)
        return Decoded(await make_decoder(run), run.note) if decodes or sys.stdout.isatty() else Lines()
    if form.name == "json":
        return Envelope(run.command.kind, run.context_name())
    return {"jsonl": Jsonl, "csv": Csv, "name": Names}[form.name]()


def _records(where: Partition, rows: Rows) -> list[Record]:
    return [to_record(*where, header, fields) for header, batch in rows for fields in batch]
