"""``klamm trace listen``: an OTLP/HTTP receiver that says of each span which record it is about."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

from klamm.cli.output import Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run, parse_seconds
from klamm.cli.trace_find import time_text, unhurried
from klamm.cli.trace_live import Live
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.tracing.joiner import Joiner
    from klamm.client.tracing.receiver import Receiver
    from klamm.client.tracing.spans import Place, Span

_HOST, _PORT = "127.0.0.1", 4318
_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.%]+)\]|(?P<host>[^:\s/\[\]]+))?(?::(?P<port>[0-9]{1,5}))?")
_PORT_MAX = 65_535
_LOOK_S = 0.25
_JOIN_S = 2.0
"""A span is printed without offset if its record was not seen for so long."""
_WAITING_MAX = 10_000
"""Spans waiting for their record at most; more are printed at once."""


async def listen(run: Run) -> Result:
    """Receive applications' spans, join them with topics and offsets, print and keep them."""
    from klamm.client.tracing.joiner import Joiner
    from klamm.client.tracing.receiver import Receiver, address_text

    host, port = _address(run.values.text("address") or "")
    count = run.values.number("count")
    seconds = None if run.values.text("for") is None else parse_seconds(run.values.required("for"), "--for")
    joins = not run.values.flag("no_join")
    if joins:
        await run.cluster.metadata([])  # says at once where no cluster answers
    file = _opened(run.values.text("save"))
    joiner = Joiner(run.cluster)
    table = _Arrivals(run, joiner, file, set(run.values.texts("topic")), joins=joins)
    receiver = Receiver(table.take)
    url = f"http://{address_text(host, await receiver.start(host, port))}"
    run.note(f"listening on {url}/v1/traces   (OTEL_EXPORTER_OTLP_ENDPOINT={url})")
    deadline = None if seconds is None else time.monotonic() + seconds
    try:
        with unhurried(run):
            while (count is None or table.live.count < count) and (deadline is None or time.monotonic() < deadline):
                table.print_known(_JOIN_S if joins else 0.0)
                await asyncio.sleep(_LOOK_S)
        table.print_known(0.0)
    except (asyncio.CancelledError, KeyboardInterrupt):
        table.print_known(0.0)
        run.note(_sum(receiver))
        raise
    finally:
        await receiver.close()
        await joiner.close()
        table.close()
    text = _sum(receiver)
    run.note(text)
    return table.live.result([*table.errors, *joiner.errors.values()], [{"code": "received", "text": text}])


def _sum(receiver: Receiver) -> str:
    """Return what has come so far."""
    refused = ", ".join(f"{number} with {status}" for status, number in sorted(receiver.refused.items()))
    text = f"{counted(receiver.posts, 'export')} taken" + (f"; refused: {refused}" if refused else "")
    return text + (f"; {counted(receiver.rejected, 'span')} without ids" if receiver.rejected else "")


def _address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``:PORT``, ``PORT`` or ``HOST``; port 0 means a free one."""
    cleaned = text.strip().removeprefix("http://").rstrip("/")
    match = _ADDRESS.fullmatch(f":{cleaned}" if cleaned.isdecimal() else cleaned)
    port = int(match["port"] or _PORT) if match is not None else -1
    if match is None or port > _PORT_MAX:
        msg = f"{text!r} is no HOST:PORT, as in {_HOST}:{_PORT}; port 0 is a free one"
        raise UsageError(msg)
    return match["v6"] or match["host"] or _HOST, port


class _Arrivals:
    """Spans as they come: kept in a file, printed once it is known which record each is about.

    Attributes:
        errors: Why spans are not kept any more: what comes is still printed.
    """

    def __init__(self, run: Run, joiner: Joiner, file: TextIOWrapper | None, topics: set[str], *, joins: bool) -> None:
        self.live = Live(run, _span_line)
        self._run = run
        self.errors: list[ClientError] = []
        self._joiner = joiner
        self._file = file
        self._topics = topics
        self._joins = joins
        self._waiting: list[tuple[float, Span]] = []

    def take(self, spans: Sequence[Span]) -> None:
        """Take what an export brought."""
        if self._file is not None:
            self._save(self._file, spans)
        now = time.monotonic()
        for span in spans:
            if not span.operation or (self._topics and span.topic not in self._topics):
                continue
            if self._joins and span.topic is not None:
                self._joiner.follow(span.topic)
            self._waiting.append((now, span))
        if len(self._waiting) > _WAITING_MAX:
            self.print_known(0.0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take was said when it was to be written
                self._file.close()

    def _save(self, file: TextIOWrapper, spans: Sequence[Span]) -> None:
        from klamm.client.tracing.span_files import line_of

        try:
            file.write(line_of(spans))
            file.flush()
        except OSError as error:
            code, msg = "SAVE", f"--save {file.name}: {error.strerror or error}: spans are not saved from here on"
            self.errors.append(ClientError(code, msg))
            self._run.note(msg)
            self.close()
            self._file = None

    def print_known(self, patience_s: float) -> None:
        """Print the spans whose record is known, and those that have waited for long enough."""
        now = time.monotonic()
        waiting, self._waiting = self._waiting, []
        for since, span in waiting:
            place = self._joiner.place_of(span)
            if place is None and now - since < patience_s:
                self._waiting.append((since, span))
            else:
                self.live.emit(_span_item(span, place))


def _opened(path: str | None) -> TextIOWrapper | None:
    if path is None:
        return None
    try:
        return Path(path).open("a", encoding="utf-8")
    except OSError as error:
        msg = f"--save {path}: {error.strerror or error}"
        raise UsageError(msg) from error


def _span_item(span: Span, place: Place | None) -> Item:
    from klamm.client.tracing.joining import hops_of_spans

    unknown: Place = ("", -1, -1)
    hops = hops_of_spans([span], None, place or unknown)
    hop = hops[0] if hops else None
    topic, partition, offset = place or (span.topic, span.partition, span.offset)
    message = topic if partition is None or offset is None else f"{topic}:{partition}@{offset}"
    return {
        "name": span.name,
        "hop": span.operation if hop is None else hop.hop,
        "message": message,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "service": span.service,
        "group": span.group,
        "client_id": span.client_id,
        "start_ms": span.start_ns / 1e6,
        "end_ms": span.end_ns / 1e6,
        "duration_ms": (span.end_ns - span.start_ns) / 1e6,
        "evidence": "span",
        "error": span.error,
        "trace_id": span.trace_id,
        "span_id": span.span_id,
        "parent_span_id": span.parent,
        "links": [f"{trace_id}-{span_id}" for trace_id, span_id in span.links],
    }


def _span_line(item: Item) -> str:
    from klamm.client.text import printable
    from klamm.client.tracing.waterfall import duration_text

    at = time_text(item["start_ms"])[11:]
    failed = f"  ERR {item['error']}" if item["error"] else ""
    what = f"{item['hop']:<8} {item['message'] or item['name']}"
    took = duration_text(item["duration_ms"])
    line = f"{at}  {item['service'] or '-':<16} {what}  {took}  {item['trace_id'][:8]}{failed}"
    return printable(line)
