"""A share as a bar."""

from __future__ import annotations

from klamm.tui.signs import Signs

_EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, width: int, signs: Signs) -> str:
    """Return a bar of ``width`` cells of which a share is full."""
    if signs.ascii:
        full = round(share * width)
        return "#" * full + "." * (width - full)
    eighths = round(share * width * 8)
    text = "█" * (eighths // 8) + (_EIGHTHS[eighths % 8] if eighths % 8 else "")
    return text.ljust(width, "░")
