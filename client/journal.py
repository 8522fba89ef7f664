"""The undo journal: one JSON file per change, with the operations that take it back.

Written after the change was made and before the command says so; of several requests after each, so that a command that
is killed leaves what it had done. Only this user's changes through klamm are in it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from klamm.client.errors import SettingsError
from klamm.client.folders import state_folder

ENTRIES_MAX: Final = 1000
"""Older entries are removed: an inverse from a thousand changes ago would hardly be meant."""


class Entry(NamedTuple):
    """One change. ``inverse`` are the operations that take it back, ``cannot`` what no operation brings back.

    ``cluster_id`` is None of a change that only concerns a schema registry. ``undoes`` is the number of the change that
    this one took back, 0 for none.
    """

    number: int
    at: str
    command: str
    summary: str
    context: str | None
    cluster_id: str | None
    inverse: list[dict[str, Any]]
    cannot: str
    undone: bool = False
    undoes: int = 0


def folder() -> Path:
    """Return where entries are."""
    return state_folder() / "undo"


def write(
    command: str,
    summary: str,
    context: str | None,
    cluster_id: str | None,
    inverse: list[dict[str, Any]],
    cannot: str,
    *,
    undoes: int = 0,
) -> Entry:
    """Write a new entry; it is in its file when this returns (not flushed: a note, not a log)."""
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    numbers = _numbers()
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    number = max(numbers, default=0) + 1
    entry = Entry(number, at, command, summary, context, cluster_id, inverse, cannot, undoes=undoes)
    while True:
        try:
            _save(entry, "x")
        except FileExistsError:  # another klamm took the number
            entry = entry._replace(number=entry.number + 1)
        else:
            break
    for old in sorted(numbers)[: max(0, len(numbers) + 1 - ENTRIES_MAX)]:
        _path(old).unlink(missing_ok=True)
    return entry


def rewrite(entry: Entry) -> None:
    """Replace an entry by what is known of its change by now; a kill leaves the one or the other."""
    _save(entry, "w")


def read(number: int) -> Entry:
    """Return an entry.

    Raises:
        SettingsError: There is none, or its file is damaged.
    """
    try:
        return Entry(**json.loads(_path(number).read_text()))
    except FileNotFoundError:
        msg = f"the undo journal has no entry {number}"
        raise SettingsError(msg, "klamm undo --list") from None
    except (ValueError, TypeError) as error:
        msg = f"{_path(number)} is damaged: {error}"
        raise SettingsError(msg) from error


def entries() -> list[Entry]:
    """Return every entry, the newest first."""
    return [read(number) for number in sorted(_numbers(), reverse=True)]


def mark_undone(entry: Entry, *, undone: bool = True) -> None:
    """Remember that an entry's inverse was applied, or that it was made again."""
    _save(entry._replace(undone=undone), "w")


def _numbers() -> list[int]:
    return [int(path.stem) for path in folder().glob("*.json") if path.stem.isdigit()]


def _path(number: int) -> Path:
    return folder() / f"{number:04}.json"


def _save(entry: Entry, mode: str) -> None:
    """Write an entry: ``x`` a new one, ``w`` in the place of what is there, which a kill leaves whole."""
    path = _path(entry.number)
    written = path if mode == "x" else path.with_suffix(".tmp")
    with written.open(mode) as file:
        json.dump(entry._asdict(), file, indent=1)
    if written != path:
        written.replace(path)
