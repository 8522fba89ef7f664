"""From one version's dataclasses to another's: how an old message becomes the newest shape, and back.

A plan is made once per pair of classes and then only copies. Fields are matched by name. What the target has and the
source lacks gets the schema's default; what the source has and the target lacks is left out. The few messages whose
shape changed (a field that became a list) have their own functions in ``adapters.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, get_args, get_origin, get_type_hints
from uuid import UUID

# A message is one of a thousand generated dataclasses, known only at run time.
Message = Any
Convert = Callable[[Message], Message]

_plans: dict[tuple[type, type], Convert] = {}


def conversion(source: type, target: type) -> Convert:
    """Return the function that makes a ``target`` of a ``source``; the same one for every call."""
    plan = _plans.get((source, target))
    if plan is None:
        plan = _plans[source, target] = _compile(source, target)
    return plan


def default_of(message_field: Field[Any], hint: object) -> object:
    """Return the value a field has when its message does not carry it: the schema's default, or its type's zero."""
    if message_field.default is not MISSING:
        return message_field.default
    inner, is_array, is_nullable = describe(hint)
    if is_array:
        return ()
    if is_nullable:
        return None
    if is_dataclass(inner):
        hints = get_type_hints(inner)
        return inner(**{each.name: default_of(each, hints[each.name]) for each in fields(inner)})
    return _zero(inner)


def describe(hint: object) -> tuple[type, bool, bool]:
    """Return (type of the field or of the array's elements, whether it is an array, whether it may be null)."""
    alternatives = [each for each in get_args(hint) if each is not type(None)] if _is_union(hint) else []
    if alternatives:
        inner, is_array, _ = describe(alternatives[0])
        return inner, is_array, True
    if get_origin(hint) is tuple:
        return get_args(hint)[0], True, False
    assert isinstance(hint, type), f"a schema field of type {hint!r}"
    return hint, False, False


def _zero(inner: type) -> object:
    """Return the zero of a primitive type; ``kio`` has a class of its own for nearly every kind of integer."""
    if issubclass(inner, IntEnum):
        return inner(0)
    for base, zero in ((bool, False), (int, 0), (str, ""), (bytes, b""), (float, 0.0), (timedelta, timedelta(0))):
        if issubclass(inner, base):
            return zero
    if issubclass(inner, datetime):
        return datetime.fromtimestamp(0, UTC)
    assert issubclass(inner, UUID), f"a schema field of type {inner!r}"
    return None


def _is_union(hint: object) -> bool:
    return type(None) in get_args(hint)


def _compile(source: type, target: type) -> Convert:
    source_hints = get_type_hints(source)
    target_hints = get_type_hints(target)
    source_names = {each.name for each in fields(source)}
    copied: list[str] = []
    converted: list[tuple[str, Convert]] = []
    constant: dict[str, object] = {}
    for each in fields(target):
        default = default_of(each, target_hints[each.name])
        if each.name not in source_names:
            constant[each.name] = default
            continue
        convert = _field_conversion(source_hints[each.name], target_hints[each.name], default)
        if convert is None:
            copied.append(each.name)
        else:
            converted.append((each.name, convert))

    def convert_message(message: Message) -> Message:
        values = dict(constant)
        for name in copied:
            values[name] = getattr(message, name)
        for name, convert in converted:
            values[name] = convert(getattr(message, name))
        return target(**values)

    return convert_message


def _field_conversion(source_hint: object, target_hint: object, default: object) -> Convert | None:
    """Return how a field's value changes, or None if it is copied as it is."""
    source, is_array, source_nullable = describe(source_hint)
    target, _, target_nullable = describe(target_hint)
    null_to_default = source_nullable and not target_nullable
    if not is_dataclass(target):
        return (lambda value: default if value is None else value) if null_to_default else None
    inner = conversion(source, target)
    null = default if null_to_default else None
    if is_array:
        return lambda value: null if value is None else tuple([inner(each) for each in value])
    return lambda value: null if value is None else inner(value)
