"""The characters of the interface, and what stands for each where the terminal has only ASCII."""

from __future__ import annotations

import os
import sys
from typing import NamedTuple


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


def signs_of_terminal() -> Signs:
    """Return the signs that standard output can show: ASCII where it asks for it or its encoding is not Unicode."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    asked = os.environ.get("KLAMM_ASCII", "") not in {"", "0"}
    return ASCII if asked or "utf" not in encoding else Signs()
