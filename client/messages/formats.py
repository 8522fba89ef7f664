r"""kcat's format strings: ``%t %p %o %k %s %h %T %S %K %R %%`` and ``\n \t \r \0 \xNN``.

Source: kcat's manual and ``format.c`` (https://github.com/edenhill/kcat). A null key or value prints as nothing unless
said otherwise, and its length is -1. ``%h`` is ``name=value,name=value``, with ``NULL`` for a null value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from klamm.client.errors import SettingsError
from klamm.client.messages.record import Fields, Headers

_INT32: Final = Struct(">i")
_ESCAPES: Final = {"n": b"\n", "t": b"\t", "r": b"\r", "0": b"\x00", "\\": b"\\"}
_PIECE: Final = re.compile(r"%(.)|\\x([0-9a-fA-F]{2})|\\(.)|([^%\\]+)|(.)", re.DOTALL)
Format = Callable[[int, Fields], bytes]


def compile_format(text: str, topic: str, null: bytes = b"") -> Format:
    """Return a function of (partition, fields) that prints a record as kcat would.

    Raises:
        SettingsError: There is no such placeholder.
    """
    template = bytearray()
    getters: list[Callable[[int, Fields], Any]] = []
    makers = _makers(topic, null)
    for match in _PIECE.finditer(text):
        placeholder, code, escape, plain, other = match.groups()
        if placeholder == "%":
            template += b"%%"
        elif placeholder is not None:
            maker = makers.get(placeholder)
            if maker is None:
                msg = f"--format has no %{placeholder}; it has {' '.join('%' + each for each in makers)} and %%"
                raise SettingsError(msg, r"for example --format '%p@%o %k: %s\n'")
            template += b"%d" if placeholder in "poTSK" else b"%b"
            getters.append(maker)
        elif code is not None:
            template += bytes([int(code, 16)]).replace(b"%", b"%%")
        elif escape is not None:
            template += _ESCAPES.get(escape, f"\\{escape}".encode().replace(b"%", b"%%"))
        else:
            template += (plain or other).encode("utf-8", "surrogateescape").replace(b"%", b"%%")
    shape = bytes(template)
    if not getters:
        constant = shape % ()
        return lambda _partition, _fields: constant
    if len(getters) == 1:
        get = getters[0]
        return lambda partition, fields: shape % (get(partition, fields),)
    return lambda partition, fields: shape % tuple([get(partition, fields) for get in getters])


def _makers(topic: str, null: bytes) -> dict[str, Callable[[int, Fields], Any]]:
    name = topic.encode()
    return {
        "t": lambda _, fields: name,  # noqa: ARG005 (each takes the same)
        "p": lambda partition, _: partition,
        "o": lambda _, fields: fields[0],
        "k": lambda _, fields: null if fields[2] is None else fields[2],
        "s": lambda _, fields: null if fields[3] is None else fields[3],
        "h": lambda _, fields: headers_text(fields[4]),
        "T": lambda _, fields: fields[1],
        "S": lambda _, fields: -1 if fields[3] is None else len(fields[3]),
        "K": lambda _, fields: -1 if fields[2] is None else len(fields[2]),
        "R": lambda _, fields: _INT32.pack(-1 if fields[3] is None else len(fields[3])),
    }


def headers_text(headers: Headers) -> bytes:
    """Return headers as kcat prints them."""
    return b",".join(
        name.encode("utf-8", "surrogateescape") + b"=" + (b"NULL" if value is None else value)
        for name, value in headers
    )
