"""How much an Avro schema can make of few bytes.

An array of items that take no bytes (null, an empty record) may claim any number of them, and records of records of
nulls multiply. So, before a schema is used, the worst is computed: ``excess`` is the most by which the values decoded
from any datum outnumber :data:`VALUES_PER_BYTE` times its bytes. A finite excess bounds every datum in advance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from klamm.client.decoding.plain import NotDecodableError

VALUES_PER_BYTE: Final = 16
"""Schemas in use make one or two values of a byte, records in records a few more."""
_EXCESS_MAX: Final = 100_000
_ROUNDS_MAX: Final = 200
DEPTH_MAX: Final = 300
"""fastavro's reader is C and ends the process somewhere between 1,000 and 5,000 deep."""
_SIZES: Final = {"null": 0, "float": 4, "double": 8}
_PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


def check_bounds(schema: Any, named: Mapping[str, Any], label: str) -> bool:  # noqa: ANN401 (a parsed schema)
    """Check a schema parsed by fastavro; return whether a datum of it is nested no deeper than the C stack bears.

    Raises:
        NotDecodableError: No datum of it ends, or one of few bytes may have more values than memory.
    """
    excess: dict[str, float] = dict.fromkeys(named, -math.inf)
    for _ in range(_ROUNDS_MAX):
        changed = False
        for name in reversed(list(named)):  # inner ones are named behind outer ones, so most are right in one round
            found = _excess(named[name], excess)
            changed = changed or found != excess[name]
            excess[name] = found
        if not changed or any(each > _EXCESS_MAX for each in excess.values()):
            break
    else:
        msg = f"schema {label} refers to itself in a way that cannot be bounded"
        raise NotDecodableError(msg)
    found = max([_excess(schema, excess), *excess.values()])
    if found == -math.inf:
        msg = f"schema {label} contains itself without end"
        raise NotDecodableError(msg)
    if found > _EXCESS_MAX:
        msg = f"schema {label} can make any number of values of few bytes"
        raise NotDecodableError(msg)
    return _depth_is_bounded(schema, named)


def _excess(schema: Any, named: Mapping[str, float]) -> float:  # noqa: ANN401 (as above)
    if isinstance(schema, list):
        return max((_excess(each, named) for each in schema), default=-math.inf) + 1 - VALUES_PER_BYTE
    if isinstance(schema, str):
        if schema in _PRIMITIVES:
            return 1 - VALUES_PER_BYTE * _SIZES.get(schema, 1)
        return named.get(schema, -math.inf)
    kind = schema["type"]
    if kind in {"record", "error"}:
        return 1.0 + sum(_excess(field["type"], named) for field in schema["fields"])
    if kind in {"array", "map"}:
        item = _excess(schema["items" if kind == "array" else "values"], named)
        name = 0 if kind == "array" else 1 - VALUES_PER_BYTE
        # The end of the blocks takes one byte; a block's count is shared by its items, so items count without it.
        return math.inf if item + name > 0 else 1 - VALUES_PER_BYTE
    if kind == "fixed":
        return 1 - VALUES_PER_BYTE * float(schema["size"])
    if kind == "enum":
        return 1 - VALUES_PER_BYTE
    return _excess(kind, named)


def _depth_is_bounded(schema: Any, named: Mapping[str, Any]) -> bool:  # noqa: ANN401 (as above)
    """Return whether the schema is not recursive, and nested at most :data:`DEPTH_MAX` deep, references followed."""
    uses = {name: _names_in(definition, named) for name, definition in named.items()}
    try:
        order = list(TopologicalSorter(uses).static_order())
    except CycleError:
        return False
    depths: dict[str, int] = {}
    for name in order:
        depths[name] = _depth(named[name], depths)
    return max([_depth(schema, depths), *depths.values()]) <= DEPTH_MAX


def _depth(schema: Any, named: Mapping[str, int]) -> int:  # noqa: ANN401 (as above)
    if isinstance(schema, str):
        return named.get(schema, 0)
    return 1 + max((_depth(each, named) for each in _parts(schema)), default=0)


def _names_in(schema: Any, named: Mapping[str, Any]) -> set[str]:  # noqa: ANN401 (as above)
    if isinstance(schema, str):
        return {schema} & named.keys()
    return set().union(*(_names_in(each, named) for each in _parts(schema)))


def _parts(schema: Any) -> list[Any]:  # noqa: ANN401 (as above)
    """Return the schemas inside a schema that is no name."""
    if isinstance(schema, list):
        return schema
    kind = schema["type"]
    if kind in {"record", "error"}:
        return [field["type"] for field in schema["fields"]]
    if kind in {"array", "map"}:
        return [schema["items" if kind == "array" else "values"]]
    return [] if kind in {"fixed", "enum"} else [kind]
