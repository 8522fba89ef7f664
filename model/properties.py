"""The syntax of ``.properties`` files, as ``java.util.Properties.load`` reads it.

``key=value``, ``key: value`` or ``key value``; ``#`` and ``!`` begin a comment line; a backslash at the end of a line
continues it, before ``t n r f`` or ``uXXXX`` names a character, and elsewhere quotes what follows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from klamm.model.errors import InvalidConfigError

_BLANK: Final = " \t\f"
_ESCAPES: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_HEX_DIGITS: Final = 4


def parse_properties(text: str) -> dict[str, str]:
    r"""Return the properties in ``text``; of a key that stands twice, the last value.

    Raises:
        InvalidConfigError: A ``\u`` is not followed by four hexadecimal digits.
    """
    return dict(_split(line) for line in _logical_lines(text))


def _logical_lines(text: str) -> Iterator[str]:
    pending = ""
    for raw in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        line = raw.lstrip(_BLANK)
        if not pending and (not line or line[0] in "#!"):
            continue
        backslashes = len(line) - len(line.rstrip("\\"))
        if backslashes % 2:
            pending += line[:-1]
            continue
        yield pending + line
        pending = ""
    if pending:
        yield pending


def _split(line: str) -> tuple[str, str]:
    end = 0
    while end < len(line) and line[end] not in _BLANK + "=:":
        end += 2 if line[end] == "\\" else 1
    rest = line[end:].lstrip(_BLANK)
    if rest[:1] in {"=", ":"}:
        rest = rest[1:].lstrip(_BLANK)
    return _unescape(line[:end]), _unescape(rest)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    parts: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character != "\\" or position == len(text):
            parts.append(character)
            continue
        escaped = text[position]
        position += 1
        if escaped == "u":
            digits = text[position : position + _HEX_DIGITS]
            position += _HEX_DIGITS
            parts.append(_character(digits))
        else:
            parts.append(_ESCAPES.get(escaped, escaped))
    return "".join(parts)


def _character(digits: str) -> str:
    try:
        if len(digits) == _HEX_DIGITS:
            return chr(int(digits, 16))
    except ValueError:
        pass
    msg = f"malformed \\u{digits} in a properties file: four hexadecimal digits must follow"
    raise InvalidConfigError(msg)
