r"""kcat's format strings: ``%t %p %o %k %s %h %T %S %K %R %%`` and ``\n \t \r \0 \xNN``.

Source: kcat's manual and ``format.c`` (https://github.com/edenhill/kcat). A null key or value prints as nothing unless
said otherwise, and its length is -1. ``%h`` is ``name=value,name=value``, with ``NULL`` for a null value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from struct import Struct
from typing import Any, Final

from klamm.client.errors import SettingsError
from klamm.client.messages.record import Columns, Fields, Headers

_INT32: Final = Struct(">i")
_ESCAPES: Final = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\x00", "\\": b"\\"}
_PIECE: Final = re.compile(r"%(.)|\\x([0-9a-fA-F]{2})|\\(.)|([^%\\]+)|(.)", re.DOTALL)
_PLAIN_FIELDS: Final = {"o": 0, "T": 1, "k": 2, "s": 3}
"""Placeholders that are a record's fields as they are, and which."""
_COLUMNS: Final = {"o": 0, "k": 1, "s": 2}
"""Placeholders that are a column as it is, and which."""
_NUMBERS: Final = frozenset("oTSK")
_CONSTANT: Final = frozenset("tp")
"""Placeholders that are the same for a whole partition."""
_PLACEHOLDERS: Final = "tpokshTSKR"


class Format:
    """A format string at work on records of one topic.

    What is the same for a whole partition is put into the template once, and all records of a batch are formatted by a
    template that repeats it: a call for each record would take longer than all the rest.
    """

    def __init__(self, text: str, topic: str, null: bytes = b"") -> None:
        """Parse ``text``; ``null`` is what a null key or value prints.

        Raises:
            SettingsError: There is no such placeholder.
        """
        self._pieces = _parse(text)
        self._topic = topic.encode()
        self._null = null
        self._names = [piece for piece in self._pieces if isinstance(piece, str) and piece not in _CONSTANT]
        self._pick = _picker(self._names)
        self._templates: dict[int, bytes] = {}
        self.takes_columns = all(name in _COLUMNS for name in self._names)
        """Whether offsets, keys and values are all that is printed: :meth:`render_columns` can do that."""

    def render(self, partition: int, rows: Sequence[Fields]) -> bytes:
        """Return what records print."""
        template = self._template_of(partition)
        if self._pick is None:
            makers = [_maker(name, self._null) for name in self._names]
            return template * len(rows) % tuple([make(fields) for fields in rows for make in makers])
        return self._filled(template * len(rows), tuple(chain.from_iterable(map(self._pick, rows))))

    def render_columns(self, partition: int, columns: Columns) -> bytes:
        """Return what records print, as :meth:`render` does; the format must take columns."""
        count, width = len(columns.offsets), len(self._names)
        fields: list[Any] = [None] * (count * width)
        for place, name in enumerate(self._names):
            fields[place::width] = columns[_COLUMNS[name]]
        return self._filled(self._template_of(partition) * count, tuple(fields))

    def _filled(self, template: bytes, fields: tuple[Any, ...]) -> bytes:
        try:
            return template % fields
        except TypeError:  # a null among the bytes
            return template % tuple([self._null if each is None else each for each in fields])

    def _template_of(self, partition: int) -> bytes:
        template = self._templates.get(partition)
        if template is None:
            template = self._templates[partition] = self._template(partition)
        return template

    def _template(self, partition: int) -> bytes:
        constant = {"t": self._topic, "p": b"%d" % partition}
        template = bytearray()
        for piece in self._pieces:
            if isinstance(piece, bytes):
                template += piece.replace(b"%", b"%%")
            elif piece in constant:
                template += constant[piece].replace(b"%", b"%%")
            else:
                template += b"%d" if piece in _NUMBERS else b"%b"
        return bytes(template)


def _picker(names: Sequence[str]) -> Callable[[Fields], tuple[Any, ...]] | None:
    """Return what takes these out of a record's fields, if they stand there as they are and are two at least."""
    if len(names) < 2 or not all(name in _PLAIN_FIELDS for name in names):  # noqa: PLR2004 (itemgetter makes tuples of two)
        return None
    return itemgetter(*[_PLAIN_FIELDS[name] for name in names])


def _parse(text: str) -> list[bytes | str]:
    """Return bytes as they are printed, and placeholders as their letters."""
    pieces: list[bytes | str] = []
    for match in _PIECE.finditer(text):
        placeholder, code, escape, plain, other = match.groups()
        if placeholder == "%":
            pieces.append(b"%")
        elif placeholder is not None:
            if placeholder not in _PLACEHOLDERS:
                known = " ".join(f"%{each}" for each in _PLACEHOLDERS)
                msg = f"--format has no %{placeholder}; it has {known} and %%"
                raise SettingsError(msg, r"for example --format '%p@%o %k: %s\n'")
            pieces.append(placeholder)
        elif code is not None:
            pieces.append(bytes([int(code, 16)]))
        elif escape is not None:
            pieces.append(_ESCAPES.get(escape, f"\\{escape}".encode()))
        else:
            pieces.append((plain or other).encode("utf-8", "surrogateescape"))
    return pieces


def _maker(name: str, null: bytes) -> Callable[[Fields], Any]:
    match name:
        case "o":
            return lambda fields: fields[0]
        case "T":
            return lambda fields: fields[1]
        case "k":
            return lambda fields: null if fields[2] is None else fields[2]
        case "s":
            return lambda fields: null if fields[3] is None else fields[3]
        case "h":
            return lambda fields: headers_text(fields[4])
        case "K":
            return lambda fields: -1 if fields[2] is None else len(fields[2])
        case "S":
            return lambda fields: -1 if fields[3] is None else len(fields[3])
        case _:
            return lambda fields: _INT32.pack(-1 if fields[3] is None else len(fields[3]))


def headers_text(headers: Headers) -> bytes:
    """Return headers as kcat prints them."""
    return b",".join(
        name.encode("utf-8", "surrogateescape") + b"=" + (b"NULL" if value is None else value)
        for name, value in headers
    )
