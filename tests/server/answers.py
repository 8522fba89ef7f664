"""Answers that handlers give, waited for where they come later."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any


def finished(answer: Any) -> Any:
    """Return what a handler answers, at once or in slices."""
    return asyncio.run(_wait(answer)) if inspect.isawaitable(answer) else answer


async def _wait(answer: Awaitable[Any]) -> Any:
    return await answer
