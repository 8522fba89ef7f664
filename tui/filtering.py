"""What one types after ``/``: words, and comparisons with columns.

``ord`` keeps rows with that text in a searched column, ``!ord`` those without it, ``-f odr`` those with these letters
in this order; ``lag>1k state=Empty age<10m`` compare columns, with ``= != < > <= >=``, the units k M G T, KiB MiB GiB
TiB and ms s m h d. All terms have to hold.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from klamm.tui.columns import Column

_COMPARISON: Final = re.compile(r"([A-Za-z][\w-]*)(!=|<=|>=|=|<|>)(.*)")
_NUMBER: Final = re.compile(r"(-?\d+(?:\.\d+)?)(ms|s|m|h|d|k|M|G|T|KiB|MiB|GiB|TiB|%)?")
_UNITS: Final = {
    "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40, "%": 0.01,
}  # fmt: skip
_SIGNS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge
}  # fmt: skip

Test = Callable[[Any], bool]


class Filter(NamedTuple):
    """A filter as typed; ``problem`` says why it cannot be meant, and then it keeps every row."""

    text: str = ""
    tests: tuple[Test, ...] = ()
    problem: str = ""

    def keeps(self, row: Any) -> bool:
        """Return whether a row is shown."""
        return all(test(row) for test in self.tests)


def parse_filter(text: str, columns: Sequence[Column]) -> Filter:
    """Return the filter that a text means."""
    tests: list[Test] = []
    fuzzy = False
    for term in text.split():
        if term == "-f":
            fuzzy = True
            continue
        inverse = term.startswith("!") and len(term) > 1
        word = term[1:] if inverse else term
        comparison = _COMPARISON.fullmatch(word)
        if comparison is not None:
            column = _column(comparison[1], columns)
            if column is None:
                known = ", ".join(each.key for each in columns if each.title)
                return Filter(text, (), f"no column {comparison[1]!r}; there is {known}")
            test = _compare(column, comparison[2], comparison[3])
            if test is None:
                return Filter(text, (), f"{comparison[3]!r} is no number")
        else:
            test = _contains(word, columns, fuzzy=fuzzy)
        tests.append(_not(test) if inverse else test)
    return Filter(text, tuple(tests))


def fuzzy_pattern(word: str) -> re.Pattern[str]:
    """Return the pattern of texts that hold the letters of ``word`` in order, nearest first."""
    return re.compile(".*?".join(re.escape(letter) for letter in word), re.IGNORECASE)


def _column(name: str, columns: Sequence[Column]) -> Column | None:
    wanted = _plain(name)
    exact = [each for each in columns if wanted in {_plain(each.key), _plain(each.title)}]
    near = [each for each in columns if _plain(each.key).startswith(wanted) or _plain(each.title).startswith(wanted)]
    found = exact or near
    return found[0] if found else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _contains(word: str, columns: Sequence[Column], *, fuzzy: bool) -> Test:
    values = [column.value for column in columns if column.search]
    if fuzzy:
        search = fuzzy_pattern(word).search
        return lambda row: any(search(str(value(row))) is not None for value in values)
    folded = word.lower()
    if len(values) == 1:
        (only,) = values
        return lambda row: folded in str(only(row)).lower()
    return lambda row: any(folded in str(value(row)).lower() for value in values)


def _compare(column: Column, sign: str, wanted: str) -> Test | None:
    value = column.value
    number = _NUMBER.fullmatch(wanted)
    if sign in {"=", "!="} and number is None:
        pattern = wanted.lower() if any(each in wanted for each in "*?[") else f"{wanted.lower()}*"
        if sign == "=":
            return lambda row: fnmatchcase(str(value(row)).lower(), pattern)
        return lambda row: not fnmatchcase(str(value(row)).lower(), pattern)
    if number is None:
        return None
    limit = float(number[1]) * _UNITS.get(number[2] or "", 1.0)
    compared = _SIGNS[sign]

    def holds(row: Any) -> bool:
        found = value(row)
        if not isinstance(found, int | float):
            return sign == "!=" if found is None else (str(found) == wanted) is (sign == "=")
        return bool(compared(found, limit))

    return holds


def _not(test: Test) -> Test:
    return lambda row: not test(row)
