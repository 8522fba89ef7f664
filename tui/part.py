"""What a loader found: for each panel its rows or its error, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from klamm.client.errors import ClientError


class Part(NamedTuple):
    """One panel's data. With an error ``rows`` may still hold what was found before, as old as ``at_ms`` says.

    ``rows`` is None while nothing was ever found. ``note`` stands in the panel's title; ``warnings`` are what is
    missing from otherwise good rows (one broker of three did not answer).
    """

    rows: Sequence[Any] | None = None
    error: ClientError | None = None
    at_ms: int = 0
    note: str = ""
    warnings: Sequence[ClientError] = ()


class Loaded(NamedTuple):
    """One refresh. ``error`` is what hit the whole of it: the cluster cannot be reached.

    ``more`` asks for the next refresh at once: this one was the quick part. ``cpu_s`` is what it took of the session's
    thread.
    """

    at_ms: int
    parts: Mapping[str, Part]
    error: ClientError | None = None
    more: bool = False
    cpu_s: float = 0.0

    def over(self, before: Loaded | None) -> Loaded:
        """Return this refresh with the rows of the one before where it has none of its own."""
        if before is None:
            return self
        parts = dict(before.parts)
        if self.error is not None:
            parts = {name: part._replace(error=self.error) for name, part in parts.items()}
        for name, part in self.parts.items():
            old = before.parts.get(name)
            if part.rows is None and old is not None:
                parts[name] = part._replace(rows=old.rows, at_ms=old.at_ms, note=old.note)
            else:
                parts[name] = part
        return self._replace(parts=parts)
