"""What the interface remembers of its user, and what the user says in the configuration file.

Remembered, in ``$XDG_STATE_HOME/klamm/ui.json``: theme, refresh interval, the sort of each table. Said, in the ``[ui]``
table of the configuration file: ``theme``, ``refresh`` (seconds) and ``[ui.keymap]`` (action id → keys).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from klamm.client.contexts import read_files
from klamm.client.errors import SettingsError
from klamm.client.folders import state_folder

INTERVALS_S: Final = (1.0, 2.0, 5.0, 10.0, 30.0)


class Preferences:
    """Read once at the start, written when something changes. A file that cannot be written is no hindrance.

    Attributes:
        keymap: Keys by action id, as the user wants them.
    """

    def __init__(self, path: Path | None, said: dict[str, Any] | None = None) -> None:
        """Read what is remembered; without a ``path`` nothing is."""
        self._path = path
        self._kept: dict[str, Any] = _read(path)
        said = said or {}
        self.keymap: dict[str, str] = {str(key): str(value) for key, value in said.get("keymap", {}).items()}
        self._said = said

    @property
    def theme(self) -> str | None:
        """The theme: remembered, else said."""
        found = self._kept.get("theme", self._said.get("theme"))
        return None if found is None else str(found)

    @theme.setter
    def theme(self, name: str) -> None:
        if name != self.theme:
            self._kept["theme"] = name
            self._write()

    @property
    def interval_s(self) -> float:
        """Seconds between refreshes."""
        found = self._kept.get("interval_s", self._said.get("refresh", INTERVALS_S[0]))
        return float(found) if isinstance(found, int | float) and found > 0 else INTERVALS_S[0]

    @interval_s.setter
    def interval_s(self, seconds: float) -> None:
        self._kept["interval_s"] = seconds
        self._write()

    def sort_of(self, kind: str, table: str) -> str | None:
        """Return how a table was sorted last; None if never changed."""
        found = self._kept.get("sort", {}).get(f"{kind}/{table}")
        return found if isinstance(found, str) else None

    def remember_sort(self, kind: str, table: str, sort: str) -> None:
        """Keep how a table is sorted."""
        sorts = self._kept.setdefault("sort", {})
        if sorts.get(f"{kind}/{table}") != sort:
            sorts[f"{kind}/{table}"] = sort
            self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps(self._kept, indent=1))
            beside.replace(self._path)
        except OSError:
            self._path = None  # a read-only home: remember for as long as this runs


def read_preferences() -> Preferences:
    """Return the preferences of whoever runs this."""
    said: dict[str, Any] = {}
    for path, found in read_files():
        table = found.get("ui", {})
        if not isinstance(table, dict):
            msg = f"{path}: ui must be a table: [ui]"
            raise SettingsError(msg, "klamm context edit")
        _check(path, table)
        said.update(table)
    return Preferences(state_path(), said)


def _check(path: Path, table: dict[str, Any]) -> None:
    """Refuse what cannot be meant.

    Raises:
        SettingsError: An entry is of another kind than it must be.
    """
    kinds: dict[str, tuple[type | tuple[type, ...], str]] = {
        "theme": (str, 'a name: theme = "nord"'),
        "refresh": ((int, float), "a number of seconds: refresh = 2"),
        "keymap": (dict, "a table: [ui.keymap]"),
    }
    for key, value in table.items():
        if key not in kinds:
            msg = f"{path}: [ui] has no {key}; it has {', '.join(kinds)}"
            raise SettingsError(msg, "klamm context edit")
        kind, words = kinds[key]
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int | float) and value <= 0):
            msg = f"{path}: [ui] {key} must be {words}"
            raise SettingsError(msg, "klamm context edit")


def state_path() -> Path:
    """Return where the interface's state is kept."""
    return state_folder() / "ui.json"


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
