"""Where one is: a screen and what it is about."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A screen by its name in the registry, with the object it shows and, where it makes sense, a part of it."""

    kind: str
    name: str = ""
    detail: str = ""

    def __str__(self) -> str:
        """Return it as the command line of the interface takes it."""
        return " ".join(part for part in self if part)
