"""Where this user's files are: what is configured, and what is remembered (XDG Base Directory Specification)."""

from __future__ import annotations

import os
from pathlib import Path


def config_folder() -> Path:
    """Return where programs keep what is configured; ours is ``klamm`` in it."""
    home = os.environ.get("XDG_CONFIG_HOME")
    return Path(home) if home else Path.home() / ".config"


def state_folder() -> Path:
    """Return where klamm remembers what outlives a command: the undo journal, unfinished copies, the interface."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "klamm"
