"""Programs outside: the person's editor and pager, which have the terminal while the interface waits.

What is shown or edited goes through a file that only its owner can read, gone when the program has ended.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

EDITORS: Final = ("nano", "vi")
PAGERS: Final = ("less", "more")
"""What is looked for where the environment names none."""
_TMUX_S: Final = 5.0


def edit(app: KlammApp, name: str, text: str) -> str | None:
    """Let the person edit a text; return it, or None if it was left as it was or the editor failed.

    ``name`` is the file's: editors colour by its ending.
    """
    program = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    found = _run(app, program, EDITORS, name, text)
    return None if found == text else found


def page(app: KlammApp, name: str, lines: Sequence[str]) -> None:
    """Show lines in the person's pager. They must be printable: a pager may let terminal escapes through."""
    _run(app, os.environ.get("PAGER"), PAGERS, name, "".join(f"{line}\n" for line in lines))


def copy_by_tmux(text: str) -> None:
    """Have the tmux around us keep a text, and give it to the clipboard of the terminal that it is in.

    tmux heeds OSC 52 of its programs only with ``set-clipboard on``, and its default is another.
    """
    for words in (["tmux", "load-buffer", "-w", "-"], ["tmux", "load-buffer", "-"]):  # -w came with 3.2
        try:
            ran = subprocess.run(  # noqa: S603 (tmux, from the person's own path)
                words, input=text.encode("utf-8", "replace"), capture_output=True, timeout=_TMUX_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return
        if ran.returncode == 0:
            return


def _run(app: KlammApp, program: str | None, usual: Sequence[str], name: str, text: str) -> str | None:
    """Run a program on a file with this text; return the file's text afterwards, None if it failed and was said so."""
    from textual.app import SuspendNotSupported

    try:
        words = shlex.split(program) if program else [_first(usual)]
        with tempfile.TemporaryDirectory(prefix="klamm-") as folder:
            path = Path(folder) / name
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
            with app.suspend():
                ran = subprocess.run([*words, str(path)], check=False)  # noqa: S603 (the person's own program)
            if ran.returncode == 0:
                return path.read_bytes().decode("utf-8", "surrogateescape")
        app.say(f"{words[0]} ended with {ran.returncode}: nothing was taken from it", "warn")
    except SuspendNotSupported:
        app.say("there is no terminal for another program here", "warn")
    except (OSError, ValueError, ClientError) as error:
        app.say(f"{program or ' or '.join(usual)}: {error}", "bad")
    return None


def _first(usual: Sequence[str]) -> str:
    import shutil

    for each in usual:
        if shutil.which(each) is not None:
            return each
    code, msg = "NO_PROGRAM", f"neither of them is installed, and no variable names another: {', '.join(usual)}"
    raise ClientError(code, msg)
