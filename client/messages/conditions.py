"""The language of filters: ``value.total > 100 and h.region == "eu"``.

| what | is |
|---|---|
| ``key`` ``value`` | the bytes; with a path (``value.items[0].price``, ``value.items[*].id``) what is decoded |
| ``h.NAME`` ``h["odd name"]`` | a header; if several have the name, any of them |
| ``partition`` ``offset`` ``time`` ``size`` | numbers; a time compares with ``@TIME``; size is the value's, in bytes |
| ``==`` ``!=`` ``<`` ``<=`` ``>`` ``>=`` | exact; ``null`` ``true`` ``false`` are themselves |
| ``=`` or ``like`` | a glob over the whole: ``key=cust-*``; quotes may be left out |
| ``~`` ``!~`` | a regular expression anywhere |
| ``contains`` | a literal anywhere |
| ``and`` ``or`` ``not`` ``( )`` | as usual; a path alone asks whether it is there |

What is not there equals nothing: every comparison with it is false, and ``!=`` and ``!~`` are true.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Final, NamedTuple

from klamm.client.errors import SettingsError

ROOTS: Final = {
    "key": "key",
    "k": "key",
    "value": "value",
    "v": "value",
    "h": "header",
    "header": "header",
    "headers": "header",
    "partition": "partition",
    "p": "partition",
    "offset": "offset",
    "o": "offset",
    "time": "time",
    "timestamp": "time",
    "ts": "time",
    "size": "size",
}
DEPTH_MAX: Final = 100
"""Parentheses and ``not`` inside each other: far more than anybody writes, far less than Python's stack holds."""
ANY: Final = -1
"""The index ``[*]``."""
Segment = str | int
Literal = str | int | float | bool | None
_SEGMENT: Final = re.compile(r"\.([\w$@-]+)|\[(\d+|\*)\]|\[\"((?:[^\"\\]|\\.)*)\"\]|\['((?:[^'\\]|\\.)*)'\]")
_WORD: Final = re.compile(r"[A-Za-z_][\w]*")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.:*?-])")
_STRING: Final = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_BARE: Final = re.compile(r"[^\s()\"'&|<>=~!][^\s()\"'&|]*")
_OPERATOR: Final = re.compile(r"==|!=|<=|>=|=~|!~|[<>=~]|(?:like|contains|matches)\b", re.IGNORECASE)
_ALIASES: Final = {"=": "like", "=~": "~", "matches": "~"}
_JOIN: Final = {"and": re.compile(r"and\b|&&", re.IGNORECASE), "or": re.compile(r"or\b|\|\|", re.IGNORECASE)}
_NOT: Final = re.compile(r"not\b|!(?![=~])", re.IGNORECASE)
_NAMED: Final = {"null": None, "true": True, "false": False}


class FilterError(SettingsError):
    """A filter that cannot be parsed: the message shows it with a caret under the place."""

    def __init__(self, text: str, place: int, why: str) -> None:
        shown = text.replace("\n", " ").replace("\t", " ")
        super().__init__(f"the filter is wrong: {why}\n  {shown}\n  {' ' * place}^", "klamm message find --help")
        self.place = place
        self.why = why


class Operand(NamedTuple):
    """What a comparison looks at: key, value, header (its name is the first segment), partition, offset, time, size."""

    root: str
    path: tuple[Segment, ...] = ()


class Comparison(NamedTuple):
    """One comparison; ``place`` is where its literal stands. ``exists`` has none."""

    operand: Operand
    operator: str
    literal: Literal
    place: int


class Joined(NamedTuple):
    """``and`` or ``or`` of several."""

    operator: str
    parts: tuple[Node, ...]


class Negated(NamedTuple):
    """``not``."""

    part: Node


Node = Comparison | Joined | Negated


def parse(text: str) -> Node:
    """Return what a filter means.

    Raises:
        FilterError: It cannot be parsed.
    """
    return _Parser(text).parse()


class _Parser:
    """One walk over one filter, by recursive descent."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.depth = 0

    def parse(self) -> Node:
        self._space()
        if self.place == len(self.text):
            raise FilterError(self.text, self.place, "it is empty")
        node = self._joined("or")
        if self.place < len(self.text):
            raise FilterError(self.text, self.place, "'and', 'or' or the end was expected here")
        return node

    def _joined(self, operator: str) -> Node:
        parts = [self._joined("and") if operator == "or" else self._negated()]
        while self._take(_JOIN[operator]) is not None:
            parts.append(self._joined("and") if operator == "or" else self._negated())
        return parts[0] if len(parts) == 1 else Joined(operator, tuple(parts))

    def _negated(self) -> Node:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise FilterError(self.text, self.place, f"more than {DEPTH_MAX} levels")
        try:
            if self._take(_NOT) is not None:
                return Negated(self._negated())
            if self._take(re.compile(r"\(")) is not None:
                node = self._joined("or")
                if self._take(re.compile(r"\)")) is None:
                    raise FilterError(self.text, self.place, "a ) is missing here")
                return node
            return self._comparison()
        finally:
            self.depth -= 1

    def _comparison(self) -> Node:
        operand = self._operand()
        sign = self._take(_OPERATOR)
        if sign is None:
            return Comparison(operand, "exists", None, self.place)
        operator = _ALIASES.get(sign.lower(), sign.lower())
        place = self.place
        literal = self._literal(operand)
        if operator in {"~", "!~"}:
            literal = str(literal)
            try:
                with warnings.catch_warnings(action="ignore"):  # Python warns of what it may read otherwise one day
                    re.compile(literal)
            except re.error as error:
                inside = error.pos or 0
                quote = 1 if self.text[place] in "\"'" else 0
                raise FilterError(self.text, place + quote + inside, f"no regular expression: {error.msg}") from None
        if operator == "!~":
            return Negated(Comparison(operand, "~", literal, place))
        if operator == "!=":
            return Negated(Comparison(operand, "==", literal, place))
        return Comparison(operand, operator, literal, place)

    def _operand(self) -> Operand:
        start = self.place
        word = self._match(_WORD)
        if word is None:
            raise FilterError(
                self.text, self.place, "key, value, h.NAME, partition, offset, time or size was expected here"
            )
        root = ROOTS.get(word[0])
        if root is None:
            import difflib  # noqa: PLC0415 (only for whoever mistypes)

            near = difflib.get_close_matches(word[0], ROOTS, 1)
            hint = f"did you mean {near[0]}?" if near else "there is key, value, h.NAME, partition, offset, time, size"
            raise FilterError(self.text, start, f"{word[0]!r} is nothing a record has; {hint}")
        path: list[Segment] = []
        while (match := self._match(_SEGMENT)) is not None:
            name, index, double, single = match.groups()
            if index is not None:
                path.append(ANY if index == "*" else int(index))
            else:
                path.append(name if name is not None else _unescape(double if double is not None else single))
        if root == "header" and (len(path) != 1 or not isinstance(path[0], str)):
            raise FilterError(self.text, start, 'a header is named like h.region or h["odd name"]')
        if path and root not in {"key", "value", "header"}:
            raise FilterError(self.text, start + len(word[0]), f"{word[0]} is a number and has no parts")
        self._space()
        return Operand(root, tuple(path))

    def _literal(self, operand: Operand) -> Literal:
        start = self.place
        literal = self._any_literal()
        if operand.root == "time" and isinstance(literal, str):
            return _time(self.text, start, literal)
        if operand.root in {"partition", "offset", "time", "size"} and not isinstance(literal, (int, float)):
            raise FilterError(self.text, start, f"{operand.root} compares with a number")
        return literal

    def _any_literal(self) -> Literal:
        quoted = self._match(_STRING)
        if quoted is not None:
            self._space()
            return _unescape(quoted[1] if quoted[1] is not None else quoted[2])
        number = self._match(_NUMBER)
        if number is not None:
            self._space()
            return float(number[0]) if any(sign in number[0] for sign in ".eE") else int(number[0])
        if self.text[self.place : self.place + 1] in {'"', "'"}:
            raise FilterError(self.text, self.place, "this string has no end")
        bare = self._match(_BARE)
        if bare is None:
            raise FilterError(self.text, self.place, "a value was expected here")
        self._space()
        return _NAMED.get(bare[0], bare[0])

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.place)
        if match is not None:
            self.place = match.end()
        return match

    def _take(self, pattern: re.Pattern[str]) -> str | None:
        match = self._match(pattern)
        self._space()
        return None if match is None else match[0]

    def _space(self) -> None:
        while self.place < len(self.text) and self.text[self.place].isspace():
            self.place += 1


def _unescape(text: str) -> str:
    """Undo backslashes before quotes and backslashes; others stay, for regular expressions."""
    return re.sub(r"\\([\"'\\])", r"\1", text)


def _time(text: str, place: int, literal: str) -> int:
    import time  # noqa: PLC0415 (few filters have times)

    from klamm.client.positions import parse_time_ms  # noqa: PLC0415

    try:
        now_ms = int(time.time() * 1000)
        found = parse_time_ms(literal, now_ms)
        if found is None:
            found = parse_time_ms(f"@{literal}", now_ms)
    except SettingsError:
        found = None
    if found is None:
        raise FilterError(text, place, "this is no time; for example @-1h or 2026-11-23T10:00")
    return found


def joined(nodes: Sequence[Node]) -> Node | None:
    """Return one filter that is all of several, None for none."""
    if not nodes:
        return None
    return nodes[0] if len(nodes) == 1 else Joined("and", tuple(nodes))
