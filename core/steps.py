"""Decisions about many things, taken in steps: whoever performs them serves others in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

_T = TypeVar("_T")
Steps = Generator[None, None, _T]
"""Work that may be interrupted wherever it yields, and what it returns."""


def to_end(steps: Steps[_T]) -> _T:
    """Take all steps, and return what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
