"""A program on a terminal of its own (a pseudo-terminal), typed to and read as a person would."""

import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from fcntl import ioctl
from types import TracebackType
from typing import Self

# Makes the terminal the program's own, so that Ctrl-C interrupts it.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


class Terminal:
    """A started program whose standard input, output and error are one terminal; use it in ``with``."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, columns: int = 80, lines: int = 24
    ) -> None:
        """Start ``command`` on a terminal of ``columns`` by ``lines``."""
        self._end, inner = pty.openpty()
        ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *command],
            stdin=inner, stdout=inner, stderr=inner, env=dict(environment), start_new_session=True,
        )  # fmt: skip
        os.close(inner)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(20)
        os.close(self._end)

    def type(self, text: str) -> None:
        """Type a text."""
        os.write(self._end, text.encode())

    def wait_for(self, text: str, timeout_s: float = 30.0) -> str:
        """Read until ``text`` is on the screen; return all that was shown.

        Raises:
            AssertionError: It was not shown in time, or the program ended without.
        """
        deadline = time.monotonic() + timeout_s
        while text not in self.shown:
            assert self._read(deadline), f"{text!r} was never shown:\n{self.shown}"
        return self.shown

    def end(self, timeout_s: float = 30.0) -> int:
        """Read to the program's end; return its exit code."""
        deadline = time.monotonic() + timeout_s
        while self._read(deadline):
            pass
        return self._process.wait(max(1.0, deadline - time.monotonic()))

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing more was shown in time:\n{self.shown}"
        try:
            data = os.read(self._end, 65536)
        except OSError:  # Linux says so when the last program on the terminal has ended
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
