"""A child process of a test: its output kept in a file, ended by its own process id."""

import asyncio
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path


class ChildProcess:
    """A started program.

    Attributes:
        log_path: The file that standard output and standard error go to, in order of writing.
    """

    def __init__(self, command: Sequence[str], log_path: Path, environment: Mapping[str, str] | None = None) -> None:
        """Start ``command`` with no standard input."""
        self.log_path = log_path
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Return the exit code, negative for the signal that ended the process, None while it runs."""
        return self._process.poll()

    def log(self) -> str:
        """Return what the program has written so far."""
        return self.log_path.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the program still runs."""
        self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int:
        """Wait for the program to end and return its exit code.

        Raises:
            AssertionError: It did not end in time; it has been killed.
        """
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            message = f"pid {self.pid} still ran after {timeout_s} s; its log:\n{self.log()[-4000:]}"
            raise AssertionError(message) from None

    def stop(self, timeout_s: float) -> int:
        """Send SIGTERM, wait, and return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout_s)

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._process.kill()
        self._process.wait(30)


class LocalServer:
    """A server on 127.0.0.1 that is started as a process of its own.

    Attributes:
        name: What parametrised tests call this kind of broker.
        port: Where clients connect; the same after a restart.
    """

    name: str
    port: int

    def __init__(self) -> None:
        """Not started yet."""
        self._process: ChildProcess | None = None

    @property
    def host(self) -> str:
        """Return the address clients connect to."""
        return "127.0.0.1"

    @property
    def bootstrap(self) -> str:
        """Return ``host:port`` for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Return the process id of the running server."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Tell whether the process is there."""
        return self._process is not None and self._process.exit_code is None

    def _running(self) -> ChildProcess:
        assert self._process is not None, f"{self.name} was not started"
        return self._process


def wait_until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Poll until ``condition`` holds.

    Raises:
        AssertionError: It did not hold within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            message = f"not within {timeout_s} s: {what}"
            raise AssertionError(message)
        time.sleep(0.02)


async def eventually(condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
    """Poll as :func:`wait_until` does, in an event loop.

    Raises:
        AssertionError: It did not hold within ``timeout_s``.
    """
    deadline = time.monotonic() + timeout_s
    while not await condition():
        if time.monotonic() > deadline:
            message = f"not within {timeout_s} s: {what}"
            raise AssertionError(message)
        await asyncio.sleep(0.02)
