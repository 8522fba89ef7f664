"""One record in full, as lines of text: its value in four forms, and what stands beside it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from rich.cells import cell_len, chop_cells

from klamm.client.decoding import Decoded, decode, visible
from klamm.client.messages.record import APPEND, CREATE, NONE, Record
from klamm.client.text import count_text, size_text
from klamm.tui.columns import Cell, TextLine
from klamm.tui.data.messages import CELL_BYTES_MAX, DETAIL_BYTES_MAX, MessageRow

LINES_MAX: Final = 2_000
FORMS: Final = ("json", "text", "hex", "schema")
_HEX_WIDTH: Final = 16
_INDENT: Final = 2
_CLOCKS: Final = {CREATE: "the producer (CreateTime)", APPEND: "the broker (LogAppendTime)", NONE: "nobody"}


def detail_lines(row: MessageRow, form: str, width: int = 0) -> list[TextLine]:
    """Return a value's lines in one of the :data:`FORMS`; longer ones than ``width`` cells go on below, 0 is any."""
    data = row.record.value
    if data is None:
        return [Cell("␀ null: a tombstone", "dim")]
    if not data:
        return [Cell("empty: no bytes", "dim")]
    cut = len(data) > DETAIL_BYTES_MAX
    lines: list[TextLine]
    if form == "hex":
        lines = list(_hex_lines(data[: _HEX_WIDTH * LINES_MAX]))
    elif form == "text":
        lines = list(_text_lines(data[:DETAIL_BYTES_MAX].decode("utf-8", "replace"), width))
    else:
        value = row.whole
        if form == "schema":
            lines = _schema_lines(value, len(data))
        elif value.kind == "hex":  # digits in a row tell nothing
            lines = list(_hex_lines(data[: _HEX_WIDTH * LINES_MAX]))
        else:
            lines = _text_lines(_value_text(value), width)
        if value.note:
            lines.insert(0, Cell(f"! {value.note}", "warn"))
    if len(lines) > LINES_MAX or cut:
        lines = [*lines[:LINES_MAX], Cell(f"… cut: {size_text(len(data))} in all; w writes it whole", "warn")]
    return lines


def whole_lines(row: MessageRow, form: str) -> list[str]:
    """Return a value's lines in one of the :data:`FORMS`, however many there are, all printable."""
    data = row.record.value
    if data is None or not data or form == "schema":
        return ["".join(cell.text for cell in _cells(line)) for line in detail_lines(row, form)]
    if form == "hex":
        return _hex_lines(data)
    if form == "text":
        return [visible(line) for line in data.decode("utf-8", "replace").split("\n")]
    value = row.decoder.value(row.record)
    note = [f"! {value.note}"] if value.note else []
    return note + [visible(line) for line in _value_text(value).split("\n")]


def header_lines(record: Record, width: int = 0) -> list[TextLine]:
    """Return what stands beside a value: place, time, headers. What is longer than ``width`` cells goes on below."""
    from datetime import datetime

    when = "none"
    if record.timestamp_ms >= 0:
        at = datetime.fromtimestamp(record.timestamp_ms / 1000).astimezone()
        when = f"{at:%Y-%m-%d %H:%M:%S}.{record.timestamp_ms % 1000:03}"
    size = "null" if record.value is None else size_text(len(record.value))
    lines: list[TextLine] = [
        [Cell("time     ", "dim"), Cell(when)],
        *([[Cell("of       ", "dim"), Cell(_CLOCKS[record.timestamp_type])]] if record.timestamp_ms >= 0 else []),
        [Cell("size     ", "dim"), Cell(size)],
        [Cell("epoch    ", "dim"), Cell(str(record.leader_epoch))],
    ]
    if record.producer_id >= 0:
        lines.append([Cell("producer ", "dim"), Cell(str(record.producer_id))])
    for name, value in record.headers:
        shown = "␀" if value is None else decode(value[:CELL_BYTES_MAX]).text
        title = visible(name)
        if width > _INDENT and cell_len(title) + 1 + cell_len(shown) > width:
            lines.append(Cell(title, "accent"))
            lines += [" " * _INDENT + piece for piece in chop_cells(shown, width - _INDENT)]
        else:
            lines.append([Cell(f"{title} ", "accent"), Cell(shown)])
    if not record.headers:
        lines.append(Cell("no headers", "dim"))
    return lines


def _value_text(value: Decoded) -> str:
    import json

    if isinstance(value.value, str):
        return value.value
    if value.value is None:
        return value.text
    return json.dumps(value.value, indent=2, ensure_ascii=False, default=str)


def _cells(line: TextLine) -> Sequence[Cell]:
    return [line] if isinstance(line, Cell) else [Cell(line)] if isinstance(line, str) else line


def _text_lines(text: str, width: int) -> list[TextLine]:
    """Return at most one line more than :data:`LINES_MAX`, all printable."""
    lines = (visible(line) for line in text.split("\n", LINES_MAX + 1))
    folded = (piece for line in lines for piece in (chop_cells(line, width) if width > 0 and line else [line]))
    return list(islice(folded, LINES_MAX + 1))


def _hex_lines(data: bytes) -> list[str]:
    lines: list[str] = []
    for start in range(0, len(data), _HEX_WIDTH):
        row = data[start : start + _HEX_WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)  # noqa: PLR2004 (printable ASCII)
        lines.append(f"{start:08x}  {row.hex(' '):<{3 * _HEX_WIDTH}} {text}")
    return lines


def _schema_lines(value: Decoded, size_bytes: int) -> list[TextLine]:
    return [
        [Cell("decoded as  ", "dim"), Cell(value.kind)],
        [Cell("schema      ", "dim"), Cell(value.schema or "none: the bytes name none")],
        [Cell("size        ", "dim"), Cell(f"{count_text(size_bytes)} bytes")],
    ]
