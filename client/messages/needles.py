"""What must stand in a batch's bytes for a record of it to match: it rules out whole batches before any is decoded.

Keys, values and headers are contiguous bytes once decompressed, so literals stand there as they are. A text inside of
JSON may be written with escapes by number instead, so there a backslash and ``u`` counts as a hit as well. A number is
looked for behind its name (:mod:`klamm.client.messages.numeric`).

What is no JSON may be MessagePack. It has texts as they are too, but decoding makes texts of what it has beyond JSON:
those are no needles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, assert_never

from klamm.client.messages.any_case import AnyCase
from klamm.client.messages.conditions import Comparison, Joined, Negated, Node
from klamm.client.messages.numeric import NumberBehind, is_plain, number_behind

Needle = bytes | NumberBehind | AnyCase
Clause = Sequence[Needle]
"""Alternatives: one of them stands in whatever matches."""

UNICODE_ESCAPE: Final = b"\\u"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.+-]+")
"""Signs that in JSON only stand together in one string, number or word."""
_SOMETIMES_A_NUMBER: Final = re.compile(r"[0-9.+eE-]*")
_MADE: Final = ("true", "false", "null", "True", "False", "None", "nan", "-inf", "extension", "data", "nanoseconds")
"""Words that decoding makes of MessagePack that has them in binary, and ``seconds``, which is in the last one."""
_MADE_NAMES: Final = frozenset({"True", "False", "None", "nan", "inf", "extension", "data", "seconds", "nanoseconds"})
_MADE_TEXTS: Final = frozenset({"nan", "inf", "-inf"})
_HEX: Final = re.compile(r"[0-9a-fx]*")
"""Parts of ``0x0af3``, as bytes inside of MessagePack are written."""
_QUANTIFIERS: Final = "?*{"
_META: Final = set(".^$*+?{}[]\\|()")
_RARE_GAP: Final = 256
"""Bytes for each first byte of a needle that are worth a look at what follows, before all are searched for it."""


def find(needle: Needle, data: bytes | bytearray, start: int, end: int) -> int:
    """Return where a needle begins in ``data[start:end]``, -1 if nowhere."""
    if not isinstance(needle, bytes):
        return needle.find(data, start, end)
    first = needle[:1]
    if first.isalnum() or len(needle) == 1:
        return data.find(needle, start, end)
    # One byte is found a thousand times faster than two, and there are few that texts do not have.
    place, looked = data.find(first, start, end), 0
    while place >= 0:
        if data.startswith(needle, place, end):
            return place
        looked += 1
        if looked * _RARE_GAP > place - start + _RARE_GAP * 16:
            return data.find(needle, place, end)
        place = data.find(first, place + 1, end)
    return -1


def ordered(clauses: Iterable[Clause]) -> list[Clause]:
    """Return clauses so that the one that rules out most is first: of few needles, and those long."""
    return sorted(clauses, key=lambda clause: (len(clause), -min(map(_length, clause))))


def _length(needle: Needle) -> int:
    return 1 if isinstance(needle, NumberBehind) else len(needle)


def needles_of(node: Node, *, json_only: bool) -> list[Clause]:
    """Return the clauses of a condition; ``json_only`` says that paths go into JSON."""
    match node:
        case Joined("and", parts):
            return [clause for part in parts for clause in needles_of(part, json_only=json_only)]
        case Joined(_, parts):
            each = [ordered(needles_of(part, json_only=json_only)) for part in parts]
            return [tuple(dict.fromkeys(needle for clauses in each for needle in clauses[0]))] if all(each) else []
        case Negated():
            return []
        case Comparison():
            return [clause for clause in _clauses(node, json_only=json_only) if all(map(_length, clause))]
        case _:
            assert_never(node)


def header_needle(name: str, value: bytes | None) -> bytes:
    """Return the bytes of a header in a record: its name, and the value behind its size."""
    encoded = name.encode("utf-8", "surrogateescape")
    return encoded if value is None else encoded + _zigzag(len(value)) + value


def _zigzag(size: int) -> bytes:
    value = size << 1
    encoded = bytearray()
    while value > 0x7F:  # noqa: PLR2004 (seven bits a byte)
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _clauses(node: Comparison, *, json_only: bool) -> Iterable[Clause]:
    operand, literal = node.operand, node.literal
    if operand.root in {"partition", "offset", "time", "size"}:
        return ()
    if operand.root == "header":
        return _header_clauses(node)
    if operand.path:
        return _path_clauses(node) if json_only else ()
    if not isinstance(literal, str):
        return ()
    return ((_literal_in(node.operator, literal),),)


def _header_clauses(node: Comparison) -> Iterable[Clause]:
    name = str(node.operand.path[0])
    if node.operator == "==" and isinstance(node.literal, str):
        return ((header_needle(name, node.literal.encode("utf-8", "surrogateescape")),),)
    inner = _literal_in(node.operator, node.literal) if isinstance(node.literal, str) else b""
    named = ((name.encode("utf-8", "surrogateescape"),),)
    return (*named, (inner,)) if inner else named


def _path_clauses(node: Comparison) -> Iterable[Clause]:
    """Return what a JSON path needs: its names, and what it is compared with, as far as each is written in one way."""
    path, literal = node.operand.path, node.literal
    names = [segment for segment in path if isinstance(segment, str) and is_plain(segment) and not _is_made(segment)]
    found: list[Clause] = []
    number = number_behind(node)
    if number is not None and names and names[-1] == path[-1]:
        found.append((number, UNICODE_ESCAPE))
        names.pop()  # it is in the needle
    elif isinstance(literal, str):
        text = literal if node.operator == "==" else _token_in(_literal_in(node.operator, literal))
        if text not in _MADE_TEXTS and not text.startswith("0x") and is_plain(text):
            found.append((text.encode(), UNICODE_ESCAPE))
    return [*found, *((name.encode(), UNICODE_ESCAPE) for name in names)]


def _is_made(name: str) -> bool:
    """Return whether decoding may have made a name of a key that is no text in MessagePack."""
    return (
        name in _MADE_NAMES or name.startswith("0x") or "{" in name or _SOMETIMES_A_NUMBER.fullmatch(name) is not None
    )


def _token_in(literal: bytes) -> str:
    """Return the longest part of a text that stands in one piece wherever a value, written as text, holds the text.

    A list or an object is compared as JSON of ours, which may write a number in another way and has other spaces. So
    the part is within one string or word, which a letter tells that is in no number.
    """
    tokens = [each for each in _TOKEN.findall(literal.decode("utf-8", "replace")) if each not in "Infinity"]
    return max((each for each in tokens if not _is_made_part(each)), key=len, default="")


def _is_made_part(token: str) -> bool:
    made = any(token in word for word in _MADE) or _HEX.fullmatch(token) is not None
    return made or _SOMETIMES_A_NUMBER.fullmatch(token) is not None


def _literal_in(operator: str, literal: str) -> bytes:
    """Return bytes that whatever matches must hold; empty if there is none."""
    if operator in {"==", "contains"}:
        return literal.encode("utf-8", "surrogateescape")
    if operator == "like":
        return max(re.split(r"[*?]", literal.split("[", maxsplit=1)[0]), key=len).encode("utf-8", "surrogateescape")
    return _literal_of_regex(literal).encode() if operator == "~" else b""


def _literal_of_regex(pattern: str) -> str:
    """Return the longest run of plain characters outside of groups and classes, which every match holds.

    Anything that makes parts optional, changes how letters compare or writes a letter by its number gives nothing.
    """
    if not pattern.isascii() or re.search(r"\||\(\?|\\[xuUN0-9]|\[[^\]]*\\", pattern):
        return ""
    runs = [""]
    place = depth = 0
    while place < len(pattern):
        sign = pattern[place]
        if sign == "\\":
            runs.append("")
            place += 2
            continue
        if sign == "[":
            first = place + 2 if pattern[place + 1 : place + 2] == "^" else place + 1
            end = pattern.find("]", first + 1)  # a bracket in the first place is one of the class
            place = len(pattern) if end < 0 else end + 1
            runs.append("")
            continue
        depth += (sign == "(") - (sign == ")")
        after = pattern[place + 1 : place + 2]
        if sign in _META or depth or (after and after in _QUANTIFIERS):
            runs.append("")
            if sign == "{":
                place = max(place, pattern.find("}", place))
        else:
            runs[-1] += sign
        place += 1
    return max(runs, key=len)


class Hits:
    """Where one of several needles is in a frame, asked for from left to right: each byte is searched once."""

    def __init__(self, frame: bytes | bytearray, needles: Clause, start: int, end: int) -> None:
        self._frame = frame
        self._end = end
        self._next = [(needle, self._find(needle, start)) for needle in needles]

    def first(self, start: int) -> int:
        """Return where the first of them from ``start`` on begins, the end if none does; ``start`` never goes back."""
        for place, (needle, at) in enumerate(self._next):
            if at < start:
                self._next[place] = (needle, self._find(needle, start))
        return min(at for _, at in self._next)

    def _find(self, needle: Needle, start: int) -> int:
        at = find(needle, self._frame, start, self._end)
        return self._end if at < 0 else at
