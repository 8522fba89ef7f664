"""A session without a cluster: a fixed clock and loaders that say what the test wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from klamm.client.errors import ClientError
from klamm.client.settings import Settings, parse_bootstrap
from klamm.tui.app import KlammApp
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from klamm.tui.preferences import Preferences
from klamm.tui.session import Loader, Memory, Session
from klamm.tui.signs import Signs

NOW_S = 1_790_000_000.0
NOW_MS = int(NOW_S * 1000)
Script = Callable[[Place], Loaded]


def settings(**fields: Any) -> Settings:
    """Return settings of a cluster that nobody connects to."""
    return Settings(parse_bootstrap("kafka.example:9092"), {}, **fields)


def loaded(**parts: Any) -> Loaded:
    """Return a refresh: each part's rows, an error, or a whole Part."""
    made: dict[str, Part] = {}
    for name, given in parts.items():
        if isinstance(given, Part):
            made[name] = given
        elif isinstance(given, ClientError):
            made[name] = Part(None, given, NOW_MS)
        else:
            made[name] = Part(given, None, NOW_MS)
    return Loaded(NOW_MS, made)


class ScriptedSession(Session):
    """Its loaders look into ``script``, by the screen's name; a test changes that between refreshes.

    A screen that is not in it never answers; one of ``unasked`` is made without asking the cluster.
    """

    def __init__(self, script: Mapping[str, Loaded | Script], **fields: Any) -> None:
        self.script = dict(script)
        self.loads: list[Place] = []
        self.unasked: set[str] = set()
        super().__init__(settings(**fields), self._scripted, clock=lambda: NOW_S)

    def _scripted(self, kind: str) -> Loader:
        async def load(session: Session, place: Place, memory: Memory) -> Loaded:
            self.loads.append(place)
            if kind not in self.script:
                import asyncio

                await asyncio.Event().wait()
            found = self.script[kind]
            made = found(place) if callable(found) else found
            if made.error is None and kind not in self.unasked:
                self.cluster.answered_at_s = time.monotonic()
            return made

        return load


def make_app(
    session: Session, place: Place, *, keymap: Mapping[str, str] | None = None, path: Path | None = None
) -> KlammApp:
    """Return the application over a session, remembering nothing unless told where."""
    session.start()
    preferences = Preferences(path, {"keymap": dict(keymap or {})})
    return KlammApp(session, preferences, place, signs=Signs())


async def settle(app: KlammApp, pilot: Any, holds: Callable[[], bool], what: str = "") -> None:
    """Wait until something holds, for at most 60 s."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what or f"it did not come to hold: {app.history[app.at].place}"
        await pilot.pause(0.02)
