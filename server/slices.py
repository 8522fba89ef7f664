"""Large requests and answers worked on in slices, so that one of them keeps nobody else waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import perf_counter
from typing import Final, TypeVar

from klamm.core.steps import Steps

__all__ = ["Steps", "in_slices", "rest_in_slices"]

SLICE_S: Final = 0.002
"""How long one request is worked on before others get their turn."""

_T = TypeVar("_T")


def in_slices(steps: Steps[_T]) -> _T | Awaitable[_T]:
    """Return what ``steps`` returns: at once if that takes no longer than one slice, else when it is awaited."""
    try:
        _one_slice(steps)
    except StopIteration as end:
        result: _T = end.value
        return result
    return rest_in_slices(steps)


async def rest_in_slices(steps: Steps[_T]) -> _T:
    """Return what ``steps`` returns, with a turn of the loop before each slice."""
    while True:
        await asyncio.sleep(0)
        try:
            _one_slice(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


def _one_slice(steps: Steps[_T]) -> None:
    """Take steps, at least one, until the time is over; StopIteration when there are no more."""
    until = perf_counter() + SLICE_S
    next(steps)
    while perf_counter() < until:
        next(steps)
