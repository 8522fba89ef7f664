"""The pager: what is longer than the terminal is shown in it."""

from __future__ import annotations

import os
import sys


def paged(text: str) -> bool:
    """Show a text that is longer than the terminal in the pager; return whether that was done."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()) or text.count("\n") < os.get_terminal_size().lines:
        return False
    import shlex
    import shutil
    import subprocess

    pager = shlex.split(os.environ.get("PAGER", "less -FRX"))
    if not pager or shutil.which(pager[0]) is None:
        return False
    subprocess.run(pager, input=text.encode(), check=False)  # noqa: S603 (the user's own pager)
    return True
