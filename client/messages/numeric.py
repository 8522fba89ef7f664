"""Comparisons of a filter with numbers, and a number behind its name in JSON's bytes that compares as it should."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final

from klamm.client.messages.conditions import Comparison

NUMERIC: Final = frozenset({"==", "like", "<", "<=", ">", ">="})
PLAIN: Final = re.compile(r"[^\"\\/\x00-\x1f\x7f]+")
"""Texts that JSON writes as they are, if they are ASCII and not written by number."""
_FIXED_STRING: Final = 0xA0
_FIXED_STRING_MAX: Final = 31
_WHOLE_MAX: Final = 1 << 63
"""Numbers beyond it get no pattern of their own: it has as many parts as the number digits."""


class NumberBehind:
    """Looks for a name with a number behind it that a comparison holds for, in bytes that nobody has decoded.

    A number has many spellings (``100``, ``1e2``, ``100.0``). A pattern leaves out most whole numbers that cannot be
    meant; each of the others is read as Python reads it. Names that JSON writes with escapes are not seen. MessagePack
    has numbers in binary: there the name alone counts, behind its size (of one byte or the last of several, or with the
    kind). One pattern looks for both, since it looks at every byte for the name anyway.
    """

    def __init__(self, name: str, operator: str, wanted: float) -> None:
        self._compare = compare_with(operator, wanted)
        bare = re.escape(name).encode()
        sizes = re.escape(bytes([len(name) & 0xFF, _FIXED_STRING | len(name) & _FIXED_STRING_MAX]))
        # Python reads Infinity, and 1e999 is it.
        number = rf"{_whole(operator, wanted)}(?![0-9.eE])|-?[0-9]+[.eE][0-9.eE+-]*|-?Infinity"
        in_json = rb'(?<="%b)"[ \t\r\n]*:[ \t\r\n]*(%b)' % (bare, number.encode())
        self._names = re.compile(rb"%b(?:%b|(?<=[%b]%b))" % (bare, in_json, sizes, bare)).finditer

    def find(self, data: bytes | bytearray, start: int, end: int) -> int:
        """Return where the first such name begins in ``data[start:end]``, -1 if nowhere."""
        for match in self._names(data, start, end):
            number = match[1]
            if number is None:
                return match.start()
            value = read_number(number)
            if value is not None and self._compare(value):
                return match.start()
        return -1


def number_behind(node: Comparison) -> NumberBehind | None:
    """Return how to look for the number that a comparison of a path wants; None where it wants another kind.

    The path has to end in a name that JSON writes as it is.
    """
    name, literal = node.operand.path[-1], node.literal
    if node.operator not in NUMERIC or isinstance(literal, bool) or not isinstance(literal, (int, float)):
        return None
    return NumberBehind(name, node.operator, literal) if isinstance(name, str) and is_plain(name) else None


def _whole(operator: str, wanted: float) -> str:
    """Return a pattern of whole numbers, as JSON writes them, among which are all that compare so."""
    if not math.isfinite(wanted) or abs(wanted) > _WHOLE_MAX:
        return "-?[0-9]+"
    if operator in {"==", "like"}:
        return f"-?{abs(int(wanted))}" if wanted == int(wanted) else "(?!)"
    if operator in {">", ">="} and wanted >= 1:
        return _at_least(str(math.floor(wanted)))
    return "-?[0-9]+"


def _at_least(digits: str) -> str:
    """Return a pattern of the whole numbers from one on: those with more digits, or a larger one at some place."""
    larger = [rf"[1-9][0-9]{{{len(digits)},}}", digits]
    for place, digit in enumerate(digits):
        if digit != "9":
            rest = len(digits) - place - 1
            larger.append(f"{digits[:place]}[{int(digit) + 1}-9][0-9]{{{rest}}}")
    return f"(?:{'|'.join(larger)})"


def is_plain(text: str) -> bool:
    """Return whether JSON writes a text as it is, unless it writes letters by number."""
    return text.isascii() and PLAIN.fullmatch(text) is not None


def compare_with(operator: str, wanted: Any) -> Callable[[Any], bool]:  # noqa: ANN401 (two of a kind)
    """Return the comparison of whatever comes with a value; equality unless the operator says an order."""
    match operator:
        case "<":
            return lambda value: bool(value < wanted)
        case "<=":
            return lambda value: bool(value <= wanted)
        case ">":
            return lambda value: bool(value > wanted)
        case ">=":
            return lambda value: bool(value >= wanted)
        case "exists":
            return lambda _: True
        case _:
            return lambda value: bool(value == wanted)


def read_number(data: bytes) -> float | None:
    """Return a number; whole ones stay whole, for a float would take neighbouring ids for one."""
    for kind in (int, float):
        try:
            return kind(data)
        except ValueError:
            continue
    return None
