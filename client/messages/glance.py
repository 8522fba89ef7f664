"""A glance at what a search would otherwise rule out by its bytes: which headers there are, and whether it can be read.

A literal that stands in no batch may be mistyped, and a value's names stand in no batch of a binary form. So of each
answer the first record is looked at: it costs next to nothing, and a search that found nothing can say why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, assert_never

from klamm.client.decoding.framing import schema_named
from klamm.client.messages.conditions import Comparison, Joined, Negated, Node
from klamm.client.messages.record import Fields
from klamm.client.text import counted, printable

NAMES_MAX: Final = 1000
"""Header names that are kept apart; a topic that has more has them made by a program."""
NAMES_SHOWN: Final = 8
_KEY_PLACE: Final = 2
_VALUE_PLACE: Final = 3
_PLACES: Final = {"key": _KEY_PLACE, "value": _VALUE_PLACE}


class Glance:
    """What the glances of one search saw.

    Args:
        headers: Names of headers that the search looks for.
        literal: The keys and values (by place) that its paths look into are expected to be JSON, and literals to stand
            in them.
    """

    def __init__(self, headers: Iterable[str] = (), literal: Iterable[int] = ()) -> None:
        self.headers = tuple(dict.fromkeys(headers))
        self._literal = tuple(literal)
        self._names = Counter[str]()
        self._count = 0

    def __call__(self, fields: Fields) -> bool:
        """Look at a record; return whether literals cannot rule out others like it: it names a registry's schema."""
        self._count += 1
        if len(self._names) < NAMES_MAX:
            self._names.update({name for name, _ in fields[4]})
        fields_at = {_KEY_PLACE: fields[2], _VALUE_PLACE: fields[3]}
        return any(
            schema_named(data, fields[4], is_key=place == _KEY_PLACE) is not None
            for place in self._literal
            if (data := fields_at[place])
        )

    def missing_text(self) -> str:
        """Return which header names no record had that was looked at, and which there are; empty if there is none."""
        missing = [name for name in self.headers if name not in self._names]
        if not missing or not self._count:
            return ""
        of = counted(self._count, "record")
        if not self._names:
            return f"no header at all in {of} looked at for that"
        names = sorted(self._names, key=lambda name: (-self._names[name], name))
        more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
        there = printable(", ".join(names[:NAMES_SHOWN])) + more
        return f"no header {printable(', '.join(map(repr, missing)))} in {of} looked at for that; there is {there}"


def header_names(node: Node) -> Iterator[str]:
    """Yield the names of the headers that a filter looks for."""
    return (str(each.operand.path[0]) for each in _comparisons(node) if each.operand.root == "header")


def looked_into(node: Node) -> set[int]:
    """Return the places of a record's fields (2 the key, 3 the value) that a filter's paths look into."""
    return {
        _PLACES[each.operand.root] for each in _comparisons(node) if each.operand.path and each.operand.root in _PLACES
    }


def _comparisons(node: Node) -> Iterator[Comparison]:
    match node:
        case Joined(_, parts):
            for part in parts:
                yield from _comparisons(part)
        case Negated(part):
            yield from _comparisons(part)
        case Comparison():
            yield node
        case _:
            assert_never(node)
