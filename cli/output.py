"""Results, and the forms they are printed in. Standard output holds data and nothing else."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from klamm.cli.parser import UsageError, suggestion
from klamm.cli.spec import OUTPUT_FORMATS
from klamm.client import text
from klamm.client.errors import ClientError, ResponseError

ENVELOPE_VERSION = 1
STYLES = {"good": "32", "warning": "33", "bad": "31", "faint": "2"}
"""SGR codes (ECMA-48) by what they stand for: colours of the terminal's own theme."""
count_text, printable, size_text = text.count_text, text.printable, text.size_text
Item = dict[str, Any]


class Column(NamedTuple):
    """A column of a table: its title, the item's field, how a value is shown, and in which :data:`STYLES` an item is.

    Colour repeats on a terminal what the text says already; it never stands alone. ``cell`` shows the whole item where
    one field does not say enough; ``key`` is still what sorting and filters look at.
    """

    title: str
    key: str
    right: bool = False
    show: Callable[[Any], str] | None = None
    style: Callable[[Item], str] | None = None
    cell: Callable[[Item], str] | None = None

    def text(self, item: Item) -> str:
        """Return one cell."""
        if self.cell is not None:
            return self.cell(item)
        value = item.get(self.key)
        if value is None:
            return "-"
        if self.show is not None:
            return self.show(value)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, (list, tuple)):
            return ",".join(str(each) for each in value)
        return printable(str(value))


class Table(NamedTuple):
    """Rows for a person, below the result's own."""

    title: str
    columns: Sequence[Column]
    rows: Sequence[Item]


class Result(NamedTuple):
    """What a command found or did.

    ``errors`` are the items that failed; ``exit_code`` is for assertions (3). ``notes`` (code and text) say what a
    reader of the items should know; in a table the command shows them itself.

    A ``streamed`` result has printed all of its data itself, the end of an envelope included.
    """

    items: Sequence[Item]
    columns: Sequence[Column]
    errors: Sequence[ClientError] = ()
    tables: Sequence[Table] = ()
    empty: str = ""
    text: str | None = None
    exit_code: int = 0
    notes: Sequence[Item] = ()
    streamed: bool = False


class Format(NamedTuple):
    """How to print."""

    name: str = "table"
    path: str = ""
    columns: tuple[str, ...] = ()
    sort: str | None = None
    filters: tuple[str, ...] = ()
    color: bool = False
    width: int | None = None


def parse_format(
    text: str | None,
    columns: str | None,
    sort: str | None,
    filters: Sequence[str],
    *,
    no_color: bool,
    more: Sequence[str] = (),
) -> Format:
    """Return the form that the options ask for; ``more`` are forms of one command's own.

    Raises:
        UsageError: There is no such form.
    """
    name, _, path = (text or "table").partition("=")
    known = (*OUTPUT_FORMATS, *more)
    if name != "jsonpath" and (name not in known or path):
        hint = suggestion(name, [*known, "jsonpath"])
        msg = f"-o {text!r} is none of {', '.join(known)}, jsonpath=EXPRESSION.{hint}"
        raise UsageError(msg)
    if name == "jsonpath":
        from klamm.cli.jsonpath import steps_of

        steps_of(path)
    terminal = sys.stdout.isatty()
    color = terminal and not no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = _terminal_width() if terminal or os.environ.get("COLUMNS") else None
    chosen = tuple(part.strip() for part in columns.split(",") if part.strip()) if columns else ()
    return Format(name, path, chosen, sort, tuple(filters), color, width)


def envelope(kind: str, context: str | None, result: Result) -> Item:
    """Return the versioned object that ``-o json`` prints."""
    found: Item = {
        "kind": kind,
        "version": ENVELOPE_VERSION,
        "context": context,
        "items": list(result.items),
        "errors": [error_item(error) for error in result.errors],
    }
    if result.notes:
        found["notes"] = list(result.notes)
    return found


def error_item(error: ClientError) -> Item:
    """Return an error as programs read it."""
    return {
        "code": error.code,
        "message": error.message,
        "next_step": error.next_step,
        "name": error.name,
        "retriable": isinstance(error, ResponseError) and error.retriable,
    }


def render(kind: str, context: str | None, result: Result, form: Format) -> str:
    """Return what goes to standard output.

    Raises:
        UsageError: A column or path that the result has not.
    """
    import json

    if form.columns or form.sort is not None or form.filters:
        from klamm.cli.selection import selected

        result = selected(kind, result, form)
    if form.name == "json":
        return json.dumps(envelope(kind, context, result), indent=2, ensure_ascii=False) + "\n"
    if form.name == "jsonl":
        return "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in result.items)
    if form.name == "jsonpath":
        from klamm.cli.jsonpath import evaluate

        return evaluate(form.path, envelope(kind, context, result))
    if form.name == "yaml":
        import yaml

        return str(yaml.safe_dump(envelope(kind, context, result), sort_keys=False, allow_unicode=True))
    if form.name == "csv":
        return _csv(result, form)
    if form.name == "name":
        return "".join(f"{_name(item)}\n" for item in result.items)
    return _tables(result, form)


def time_text(timestamp_ms: int) -> str:
    """Return a time in UTC, to the second."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def leader_text(leader: int) -> str:
    """Return a leader's broker id, or that there is none."""
    return "none" if leader < 0 else str(leader)


def leader_style(item: Item) -> str:
    """Return the style of a partition's leader."""
    return "bad" if item["leader"] < 0 else ""


def isr_style(item: Item) -> str:
    """Return the style of a partition's in-sync replicas."""
    return "warning" if len(item["isr"]) < len(item["replicas"]) else ""


def lag_cell(item: Item) -> str:
    """Return a lag, or which of the two reasons there is for having none."""
    if item.get("lag_state") == "no_commit":
        return "∅ no commit"
    if item.get("lag_state") == "unavailable":
        return "? unavailable"
    lag = item["lag"]
    if lag is None:
        return "-"
    return count_text(lag) if lag >= 0 else f"0 (commit is {-lag:,} ahead)"


def _name(item: Item) -> str:
    if "name" in item:
        return str(item["name"])
    return (
        f"{item['topic']}:{item['partition']}"
        if "topic" in item and "partition" in item
        else str(next(iter(item.values())))
    )


def _csv(result: Result, form: Format) -> str:
    import csv
    import io
    import json

    keys = (
        [column.key for column in result.columns]
        if form.columns
        else list(dict.fromkeys(k for i in result.items for k in i))
    )
    keys = keys or [column.key for column in result.columns]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(keys)
    for item in result.items:
        values = (item.get(key) for key in keys)
        writer.writerow(
            [
                json.dumps(v, ensure_ascii=False) if isinstance(v, (list, dict, bool)) else "" if v is None else v
                for v in values
            ]
        )
    return out.getvalue()


def _tables(result: Result, form: Format) -> str:
    if result.text is not None and not form.columns:
        return result.text
    parts: list[str] = []
    if result.columns:
        parts.append(table(result.columns, result.items, form) if result.items else "")
    for each in result.tables:
        if each.rows:
            title = printable(each.title)
            title = f"\x1b[1m{title}\x1b[0m" if form.color and title else title
            parts.append((f"{title}\n" if each.title else "") + table(each.columns, each.rows, form))
    return "\n".join(part for part in parts if part)


def table(columns: Sequence[Column], items: Iterable[Item], form: Format) -> str:
    """Return rows in columns that fit the terminal; a pipe gets them whole."""
    shown = list(items)
    cells = [[column.title, *map(column.text, shown)] for column in columns]
    widths = [_widest(each) for each in cells]
    if form.width is not None:
        widths = _fit(widths, [len(column.title) for column in columns], form.width)
    padded = [
        _padded(each, width, column, shown if form.color else ())
        for each, width, column in zip(cells, widths, columns, strict=True)
    ]
    lines = ["  ".join(row).rstrip() for row in zip(*padded, strict=True)]
    if form.color:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return "\n".join(lines) + "\n"


def _widest(cells: Sequence[str]) -> int:
    """Return how many cells of the terminal the widest of some texts takes."""
    ascii_only = "".join(cells).isascii()
    return max(map(len if ascii_only else _cells, cells))


def _padded(cells: Sequence[str], width: int, column: Column, items: Sequence[Item]) -> list[str]:
    """Return a column's cells, the title first, at one width; each in its style for the item if there are items."""
    if column.style is None or not items:
        return [_fitted(cell, width, right=column.right) for cell in cells]
    styles = ["", *(column.style(item) for item in items)]
    return [_fitted(cell, width, right=column.right, style=style) for cell, style in zip(cells, styles, strict=True)]


def _fitted(cell: str, width: int, *, right: bool, style: str = "") -> str:
    """Return a cell that is exactly so wide; only the text itself is coloured."""
    if not style and cell.isascii() and len(cell) <= width:
        return cell.rjust(width) if right else cell.ljust(width)
    text = _cut(cell, width)
    padding = " " * (width - _cells(text))
    if style:
        text = f"\x1b[{STYLES[style]}m{text}\x1b[0m"
    return padding + text if right else text + padding


def _fit(widths: list[int], least: list[int], width: int) -> list[int]:
    """Take from the widest columns until the line fits, but never below a title's width or 8.

    The first column says what a line is about: it stays twice as wide as another that is cut.
    """
    widths = list(widths)
    least = [min(wide, max(low, 8)) for wide, low in zip(widths, least, strict=True)]
    while sum(widths) + 2 * (len(widths) - 1) > width:
        loose = [place for place in range(len(widths)) if widths[place] > least[place]]
        if not loose:
            break
        widths[max(loose, key=lambda place: widths[place] * (1 if place else 0.5))] -= 1
    return widths


def state_style(item: Item) -> str:
    """Return the style of a group's or transaction's state."""
    state = item["state"]
    if state in {"Stable", "CompleteCommit", "CompleteAbort"}:
        return "good"
    return "faint" if state in {"Empty", "Dead", ""} else "warning"


def _cells(text: str) -> int:
    """Return how many cells of the terminal a text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _cut(text: str, width: int) -> str:
    if _cells(text) <= width:
        return text
    kept = ""
    for character in text:
        if _cells(kept + character) > width - 1:
            break
        kept += character
    return kept + "…"


def _terminal_width() -> int:
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit() and int(columns) > 0:
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
