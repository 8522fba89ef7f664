"""Filters at work: a test on a record's fields, and the needles that rule out a batch by its bytes."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from fnmatch import translate
from typing import Any, Final, NamedTuple, assert_never

from klamm.client.messages.conditions import ANY, Comparison, Joined, Literal, Negated, Node, Segment
from klamm.client.messages.glance import Glance
from klamm.client.messages.needles import UNICODE_ESCAPE, Clause, header_needle, needles_of, ordered
from klamm.client.messages.numeric import compare_with, is_plain, number_behind, read_number
from klamm.client.messages.record import Fields

Test = Callable[[int, Fields], bool]
Decode = Callable[[Fields, int], Any]
"""Makes the key (place 2) or the value (place 3) of a record into what paths go into, or raises ``ValueError``."""
Prepare = Callable[[Sequence[Fields]], Awaitable[None]]
_JSON_STARTS: Final = frozenset({b"{", b"["})


class Filter(NamedTuple):
    """A filter ready for :class:`klamm.client.messages.scan.Scan`; ``prepare`` loads what its decoding needs.

    ``undecoded`` counts the records so far that its paths could not be looked for in, by the reason.
    """

    check: Test
    needles: Sequence[Clause]
    prepare: Prepare | None = None
    undecoded: Mapping[str, int] = {}
    glance: Glance | None = None

    def test(self, partition: int, fields: Fields) -> bool:
        """Return whether a record matches."""
        return self.check(partition, fields)


def decode_json(fields: Fields, place: int) -> object:
    """Return JSON in UTF-8.

    Raises:
        ValueError: It is none.
    """
    data = fields[place]
    assert isinstance(data, bytes), f"place {place} is looked into only where it is not null"
    return json.loads(data.decode())


def build(node: Node, decode: Decode = decode_json, prepare: Prepare | None = None, *, literal: bool = True) -> Filter:
    """Return a filter at work.

    ``literal`` says that what ``decode`` gives stands in the bytes as it is, or in JSON's escapes: then a path's names
    and texts rule out batches as well.
    """
    needles = ordered(needles_of(node, json_only=literal))
    return Filter(_test(node, decode, quick=literal), needles, prepare if _has_paths(node) else None)


def _has_paths(node: Node) -> bool:
    match node:
        case Joined(_, parts):
            return any(_has_paths(part) for part in parts)
        case Negated(part):
            return _has_paths(part)
        case Comparison():
            return bool(node.operand.path) and node.operand.root != "header"
        case _:
            assert_never(node)


def literal_filter(
    *, key: bytes | None = None, text: bytes | None = None, headers: Iterable[tuple[str, bytes | None]] = ()
) -> Filter:
    """Return a filter for an exact key, a literal anywhere in key, value or headers, and exact headers."""
    tests: list[Test] = []
    needles: list[Clause] = []
    if key is not None:
        tests.append(lambda _, fields: fields[2] == key)
        needles += [(key,)] if key else []
    if text is not None:
        tests.append(_anywhere(text))
        needles += [(text,)] if text else []
    for name, value in headers:
        tests.append(_has_header(name, value))
        needles.append((header_needle(name, value),))
    return Filter(_all(tests), ordered(needles))


def both(first: Filter | None, second: Filter | None) -> Filter | None:
    """Return a filter that is both."""
    if first is None or second is None:
        return first or second
    needles = ordered([*first.needles, *second.needles])
    prepare, undecoded = first.prepare or second.prepare, first.undecoded or second.undecoded
    glance = first.glance or second.glance
    return Filter(_all([first.check, second.check]), needles, prepare, undecoded, glance)


def _anywhere(text: bytes) -> Test:
    def check(_: int, fields: Fields) -> bool:
        key, value, headers = fields[2], fields[3], fields[4]
        if (value is not None and text in value) or (key is not None and text in key):
            return True
        return any(
            text in name.encode("utf-8", "surrogateescape") or (each is not None and text in each)
            for name, each in headers
        )

    return check


def _has_header(name: str, value: bytes | None) -> Test:
    wanted = (name, value)
    if value is None:
        return lambda _, fields: any(each[0] == name for each in fields[4])
    return lambda _, fields: wanted in fields[4]


def _test(node: Node, decode: Decode, *, quick: bool) -> Test:
    match node:
        case Joined("and", parts):
            return _all([_test(part, decode, quick=quick) for part in parts])
        case Joined(_, parts):
            return _any([_test(part, decode, quick=quick) for part in parts])
        case Negated(part):
            inner = _test(part, decode, quick=quick)
            return lambda partition, fields: not inner(partition, fields)
        case Comparison():
            return _compare(node, decode, quick=quick)
        case _:
            assert_never(node)


def _all(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda partition, fields: all(test(partition, fields) for test in tests)


def _any(tests: Sequence[Test]) -> Test:
    return lambda partition, fields: any(test(partition, fields) for test in tests)


def _compare(node: Comparison, decode: Decode, *, quick: bool) -> Test:
    operand = node.operand
    if operand.root in {"partition", "offset", "time", "size"}:
        return _compare_number(node)
    if operand.root == "header":
        name = str(operand.path[0])
        if node.operator == "exists":
            return lambda _, fields: any(each[0] == name for each in fields[4])
        on_bytes = _on_bytes(node.operator, node.literal)
        return lambda _, fields: any(on_bytes(value) for each, value in fields[4] if each == name)
    if not operand.path:
        return _compare_bytes(node)
    place = 2 if operand.root == "key" else 3
    on_value = _on_value(node.operator, node.literal)
    path = operand.path
    may_hold = _quick_look(node) if quick else None

    def check(_: int, fields: Fields) -> bool:
        data: Any = fields[place]
        if data is None or (may_hold is not None and not may_hold(data)):
            return False
        try:
            decoded = decode(fields, place)
        except (ValueError, RecursionError):
            return False
        return any(map(on_value, _at(decoded, path)))

    return check


def _quick_look(node: Comparison) -> Callable[[bytes], bool] | None:
    """Return a look at JSON's bytes that may save decoding it: whether the name stands there with a value that fits.

    It says no only where decoding would. Names may be written with escapes, and what is no JSON is for the decoder.
    """
    name, literal = node.operand.path[-1], node.literal
    number = number_behind(node)
    find: Callable[[bytes], bool]
    if number is not None:
        find = lambda data: number.find(data, 0, len(data)) >= 0  # noqa: E731 (as the other)
    elif isinstance(name, str) and isinstance(literal, str) and is_plain(name) and is_plain(literal):
        if node.operator != "==":
            return None
        pattern = rf'"{re.escape(name)}"[ \t\r\n]*:[ \t\r\n]*"{re.escape(literal)}"'
        text = re.compile(pattern.encode()).search
        find = lambda data: text(data) is not None  # noqa: E731 (as the other)
    else:
        return None

    def may_hold(data: bytes) -> bool:
        return data[:1] not in _JSON_STARTS or find(data) or (b"\\" in data and UNICODE_ESCAPE in data)

    return may_hold


def _compare_bytes(node: Comparison) -> Test:
    exists = node.operator == "exists"
    on_bytes = _on_bytes(node.operator, node.literal)
    if node.operand.root == "key":
        return (lambda _, fields: fields[2] is not None) if exists else (lambda _, fields: on_bytes(fields[2]))
    return (lambda _, fields: fields[3] is not None) if exists else (lambda _, fields: on_bytes(fields[3]))


def _at(value: Any, path: Sequence[Segment]) -> list[Any]:  # noqa: ANN401 (whatever was decoded)
    """Return what stands at a path: nothing, one, or several where it has ``[*]``."""
    found = [value]
    for segment in path:
        if segment == ANY:
            found = [inner for each in found if isinstance(each, list) for inner in each]
        elif isinstance(segment, int):
            found = [each[segment] for each in found if isinstance(each, list) and segment < len(each)]
        else:
            found = [each[segment] for each in found if isinstance(each, dict) and segment in each]
    return found


def _compare_number(node: Comparison) -> Test:
    wanted: Any = node.literal
    place = {"offset": 0, "time": 1}.get(node.operand.root)
    compare = compare_with(node.operator, wanted)
    if node.operand.root == "partition":
        return lambda partition, _: compare(partition)
    if place is None:
        return lambda _, fields: compare(len(fields[3] or b""))
    return lambda _, fields: compare(fields[place])


def _on_bytes(operator: str, literal: Literal) -> Callable[[bytes | None], bool]:
    """Return a comparison of bytes: with a number as a number, else as text."""
    if literal is None and operator in {"==", "like"}:
        return lambda data: data is None
    if isinstance(literal, (int, float)) and not isinstance(literal, bool) and operator != "contains":
        return _on_number(operator, literal)
    text = _text_of(literal)
    raw = text.encode("utf-8", "surrogateescape")
    if operator == "==":
        return lambda data: data == raw
    if operator == "contains":
        return lambda data: data is not None and raw in data
    if operator == "~":
        find = re.compile(text).search
        return lambda data: data is not None and find(data.decode("utf-8", "surrogateescape")) is not None
    if operator == "like":
        whole = re.compile(translate(text)).match
        return lambda data: data is not None and whole(data.decode("utf-8", "surrogateescape")) is not None
    compare = compare_with(operator, raw)
    return lambda data: data is not None and compare(data)


def _on_number(operator: str, literal: float) -> Callable[[bytes | None], bool]:
    compare = compare_with(operator, literal)
    text = re.compile(re.escape(_text_of(literal)).encode()).search

    def check(data: bytes | None) -> bool:
        if data is None:
            return False
        if operator == "~":
            return text(data) is not None
        number = read_number(data)
        return number is not None and compare(number)

    return check


def _on_value(operator: str, literal: Literal) -> Callable[[Any], bool]:
    """Return a comparison of what was decoded: each kind with its own kind."""
    if operator == "exists":
        return lambda _: True
    text = _text_of(literal)
    if operator == "~":
        find = re.compile(text).search
        return lambda value: find(_text_of(value)) is not None
    if operator == "like" and isinstance(literal, str):
        whole = re.compile(translate(text)).match
        return lambda value: whole(_text_of(value)) is not None
    if operator == "contains":
        return lambda value: literal in value if isinstance(value, list) else text in _text_of(value)
    if operator in {"==", "like"}:
        return lambda value: isinstance(value, bool) is isinstance(literal, bool) and value == literal
    compare = compare_with(operator, literal)
    if isinstance(literal, str):
        return lambda value: isinstance(value, str) and compare(value)
    if literal is None or isinstance(literal, bool):
        return lambda _: False
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and compare(value)


def _text_of(value: Any) -> str:  # noqa: ANN401 (whatever was decoded)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
