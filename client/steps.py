"""One step from what a cluster is to what a declarative file says."""

from __future__ import annotations

from typing import Any, NamedTuple


class Step(NamedTuple):
    """One change. ``sign`` is + (new), ~ (changed), - (removed) or ! (cannot be done)."""

    sign: str
    kind: str
    name: str
    detail: str
    argument: Any
