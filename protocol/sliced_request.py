"""A request decoded some elements at a time, so that a broker serves others in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from klamm.protocol.decoder import (
    DECODING_ERRORS,
    ArrayPlan,
    Budget,
    array_plans,
    plan,
    protocol_error,
    read_tagged,
)
from klamm.protocol.schema import Message


def decode_in_slices(
    schema: type[Message], shape: type[Message], view: memoryview, elements_max: int
) -> Generator[None, None, Message]:
    """Decode as ``decoder.decode`` does, and yield after each structure of an array.

    Raises:
        ProtocolError: As there.
    """
    try:
        message, _ = yield from _message(schema, shape, view, 0, [elements_max])
    except DECODING_ERRORS as error:
        raise protocol_error(error) from error
    return message


def _message(
    schema: type[Message], shape: type[Message], view: memoryview, position: int, budget: Budget
) -> Generator[None, None, tuple[Message, int]]:
    defaults, steps, tagged, flexible = plan(schema, shape)
    values = dict(defaults)
    for names, numbers, name, read_field in steps:
        if numbers is not None:
            values.update(zip(names, numbers.unpack_from(view, position), strict=True))
            position += numbers.size
            continue
        array = array_plans.get(read_field)
        if array is None:
            value, position = read_field(view, position, budget)
        else:
            value, position = yield from _array(array, view, position, budget)
        if name is not None:
            values[name] = value
    if flexible:
        position = read_tagged(view, position, budget, tagged, values) if view[position] else position + 1
    return shape(**values), position


def _array(
    array: ArrayPlan, view: memoryview, position: int, budget: Budget
) -> Generator[None, None, tuple[tuple[Any, ...] | None, int]]:
    count, position = array.read_count(view, position, budget)
    if count is None:
        return None, position
    values: list[Any] = []
    for _ in range(count):
        if array.nested:
            value, position = yield from _message(array.schema, array.shape, view, position, budget)
        else:
            value, position = array.read_element(view, position, budget)
        values.append(value)
        yield
    return tuple(values), position
