"""Text that is safe to print: what commands a terminal, or cannot be seen, is shown as an escape."""

from __future__ import annotations

from typing import Final

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with control characters, escapes, lone surrogates and bidirectional marks as ``\x1b``.

    With ``lines`` line feeds and tabs stay, for a pane that has room for them.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else escaped(c) for c in text)


def escaped(character: str) -> str:
    """Return one character as an escape of the shortest form: two, four or eight digits."""
    short = _SHORT.get(character)
    if short is not None:
        return short
    point = ord(character)
    if point <= 0xFF:  # noqa: PLR2004 (two hexadecimal digits)
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}"  # noqa: PLR2004 (four digits)
