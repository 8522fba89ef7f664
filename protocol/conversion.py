"""From one version's dataclasses to another's, for the messages whose shape changed.

Most messages need none of this: they are decoded into, and encoded from, the newest shape as they are. A plan is made
once per pair of classes and then only copies. Fields are matched by name; what the target has and the source lacks gets
the schema's default; what the source has and the target lacks is left out, unless ``ignorable.py`` says it may not be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import is_dataclass

from klamm.protocol.ignorable import check_nothing_is_lost, fields_that_must_not_be_lost
from klamm.protocol.schema import Message, SchemaField, schema_fields

Convert = Callable[[Message], Message]

_plans: dict[tuple[type, type], Convert] = {}


def conversion(source: type[Message], target: type[Message]) -> Convert:
    """Return the function that makes a ``target`` of a ``source``; the same one for every call."""
    plan = _plans.get((source, target))
    if plan is None:
        plan = _plans[source, target] = _compile(source, target)
    return plan


def _compile(source: type[Message], target: type[Message]) -> Convert:
    sources = {each.name: each for each in schema_fields(source)}
    steps: list[tuple[str, Convert]] = []
    constant: dict[str, object] = {}
    for each in schema_fields(target):
        if each.name in sources:
            steps.append((each.name, _field_conversion(sources[each.name], each)))
        else:
            constant[each.name] = each.default

    lost = fields_that_must_not_be_lost(source, target)

    def convert(message: Message) -> Message:
        check_nothing_is_lost(message, lost, target)
        values = dict(constant)
        for name, convert_field in steps:
            values[name] = convert_field(getattr(message, name))
        return target(**values)

    return convert


def _field_conversion(source: SchemaField, target: SchemaField) -> Convert:
    if not is_dataclass(target.inner):
        return lambda value: value
    inner = conversion(source.inner, target.inner)
    if target.is_array:
        return lambda value: None if value is None else tuple([inner(each) for each in value])
    return lambda value: None if value is None else inner(value)
