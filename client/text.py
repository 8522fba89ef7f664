"""How both faces, command line and terminal interface, write names, sizes and times."""

from __future__ import annotations

from collections.abc import Sequence

_NAMES_SHOWN = 5
_DAY_S, _HOUR_S, _MINUTE_S = 86_400, 3_600, 60


def printable(text: str) -> str:
    """Return text with control characters escaped: a name must not command the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """Return text of several lines with every other control character escaped."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))


def size_text(size_bytes: float) -> str:
    """Return a size with a binary unit: ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size_bytes) < 1024 or unit == "TiB":  # noqa: PLR2004 (binary units)
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1024
    raise AssertionError(size_bytes)


def count_text(count: int) -> str:
    """Return a count with its thousands set apart."""
    return f"{count:,}"


def short_count(count: float) -> str:
    """Return a count in at most five characters: ``812``, ``41.9k``, ``98.1M``."""
    size = abs(count)
    if size < 10 and count != int(count):  # noqa: PLR2004 (one digit before the point)
        return f"{count:.1f}"
    for unit in ("", "k", "M", "G", "T"):
        if size < 999.5 or unit == "T":  # noqa: PLR2004 (999.5 would be written as 1000)
            return f"{count:.0f}{unit}" if size >= 99.95 or not unit else f"{count:.1f}{unit}"  # noqa: PLR2004
        count /= 1000
        size /= 1000
    raise AssertionError(count)


def duration_text(milliseconds: float) -> str:
    """Return a length of time by its two biggest units: ``0.2s``, ``38s``, ``4m12s``, ``6d23h``."""
    if milliseconds < 0:
        return "-" + duration_text(-milliseconds)
    seconds = milliseconds / 1000
    if seconds < 9.95:  # noqa: PLR2004 (below ten seconds the tenth matters)
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE_S:
        return f"{whole}s"
    for long, unit, short, next_unit in (
        (_DAY_S, "d", _HOUR_S, "h"),
        (_HOUR_S, "h", _MINUTE_S, "m"),
        (_MINUTE_S, "m", 1, "s"),
    ):
        if whole >= long:
            rest = whole % long // short
            return f"{whole // long}{unit}" + (f"{rest:02}{next_unit}" if rest else "")
    raise AssertionError(milliseconds)


def counted(count: int, noun: str) -> str:
    """Return ``1 broker``, ``2 brokers``, ``1,204 records``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def topics_text(names: Sequence[str]) -> str:
    """Return topics as a sentence has them; of many, the first: ``topic orders``, ``2 topics (orders, payments)``."""
    if len(names) == 1:
        return f"topic {names[0]}"
    more = ", …" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)} topics ({', '.join(names[:_NAMES_SHOWN])}{more})"


def reason_of(error: OSError | ValueError) -> str:
    """Return why a file cannot be read, without the number and the path that Python says beside."""
    return str(getattr(error, "strerror", None) or error)
