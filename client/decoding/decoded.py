"""What decoding a key or a value gives."""

from __future__ import annotations

import json
from typing import Any, Final

from klamm.client.decoding.display import visible

NULL_TEXT: Final = "␀"
"""How a null key or value is shown; an empty one is shown as nothing."""


class Decoded:
    """One decoded field.

    Attributes:
        kind: What it was decoded as: ``null``, ``json``, ``text``, ``hex``, ``msgpack``, ``avro``, ``protobuf``,
            ``jsonschema``, ``offsets``, or one of the forms that have to be asked for.
        value: It as JSON has it: dicts with text keys, lists, text, numbers, booleans, None. What filters look at.
        note: Why it could not be decoded as it should have been, or what is wrong with it; empty if nothing is.
        schema: Which schema it was decoded with, for people: ``#7 shop.Order``. Empty without one.
    """

    __slots__ = ("_text", "kind", "note", "schema", "value")

    def __init__(self, kind: str, value: Any, note: str = "", *, text: str | None = None, schema: str = "") -> None:  # noqa: ANN401 (JSON)
        """Keep what was found; without ``text`` it is made of ``value`` when it is first asked for."""
        self.kind = kind
        self.value = value
        self.note = note
        self.schema = schema
        self._text = text

    @property
    def text(self) -> str:
        """It in one line that is safe to print: no control characters, no terminal escapes."""
        if self._text is None:
            self._text = json_line(self.value)
        return self._text

    def with_note(self, note: str) -> Decoded:
        """Return the same with one more thing to say, in front."""
        return Decoded(
            self.kind, self.value, f"{note}; {self.note}" if self.note else note, text=self._text, schema=self.schema
        )

    def __repr__(self) -> str:
        """Return everything but the text."""
        return f"Decoded({self.kind!r}, {self.value!r}, note={self.note!r}, schema={self.schema!r})"


def json_line(value: Any) -> str:  # noqa: ANN401 (JSON)
    """Return a JSON-like value in one printable line."""
    return visible(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def bytes_text(data: bytes) -> str:
    """Return bytes inside a decoded value: as text if they are printable text, otherwise ``0x`` and hex digits."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"0x{data.hex()}"
    return text if text.isprintable() else f"0x{data.hex()}"
