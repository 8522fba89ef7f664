"""The characters of the interface, and what stands for each where the terminal has only ASCII."""

from __future__ import annotations

import os
import sys
from typing import Final, NamedTuple

from rich.cells import cell_len


class Signs(NamedTuple):
    """One set. State is always a sign or a word as well as a colour."""

    ascii: bool = False
    cursor: str = "▸"
    mark: str = "●"
    bad: str = "✗"
    warn: str = "▲"
    note: str = "!"
    good: str = "✓"
    up: str = "▲"
    down: str = "▼"
    rule: str = "─"
    heavy: str = "━"
    cut: str = "…"
    arrow: str = "→"
    none: str = "∅"
    flat: str = "─"
    least: str = "≥"

    def sorted(self, sort: str) -> str:
        """Return how a table is sorted."""
        return f"sort {sort.removeprefix('-')} {self.down if sort.startswith('-') else self.up}"


ASCII = Signs(
    ascii=True, cursor=">", mark="*", bad="x", warn="^", note="!", good="+", up="^", down="v",
    rule="-", heavy="=", cut="~", arrow="->", none="none", flat="-",
    least=">=",
)  # fmt: skip


class _Ascii(dict[int, str]):
    """What is drawn in ASCII for a character, in as many cells."""

    def __missing__(self, code: int) -> str:
        if code < _ASCII_END:
            return chr(code)
        if code in _LINES:
            return "+"
        if code in _BLOCKS or code in _BRAILLE:
            return "#"
        return "?" * cell_len(chr(code))


_ASCII_END: Final = 0x80
_LINES, _BLOCKS, _BRAILLE = range(0x2500, 0x2580), range(0x2580, 0x25A0), range(0x2800, 0x2900)
_IN_ASCII: Final = _Ascii(
    (ord(sign), instead)
    for signs, instead in (
        ("─━╌┄═–—‐", "-"),
        ("│┃┆║▌▐▏▕", "|"),
        ("…", "~"),
        ("⏎↵", "<"),
        ("›→▸", ">"),
        ("∅", "0"),
        ("␀", "@"),
        ("\xa0⠀", " "),
    )
    for sign in signs
)
"""Frames, scroll bars and keys are drawn with these signs, whatever a screen takes from :data:`ASCII`."""


def in_ascii(drawn: str) -> str:
    """Return what is drawn with ASCII alone, in the same cells; ``?`` stands for letters that it does not have."""
    return drawn if drawn.isascii() else drawn.translate(_IN_ASCII)


def signs_of_terminal() -> Signs:
    """Return the signs that standard output can show: ASCII where it asks for it or its encoding is not Unicode."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    asked = os.environ.get("KLAMM_ASCII", "") not in {"", "0"}
    return ASCII if asked or "utf" not in encoding else Signs()
