"""``klamm serve`` as a process of its own, as a user runs it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.support.ports import free_port
from tests.support.process import ChildProcess, LocalServer, wait_until
from tests.support.wire import is_serving

START_TIMEOUT_S = 60.0  # half a second on a quiet machine
STOP_TIMEOUT_S = 60.0


class KlammProcess(LocalServer):
    """One ``klamm serve`` on 127.0.0.1. Its log goes on in one file over restarts.

    Attributes:
        name: What parametrised tests call this kind of broker.
        port: Where clients connect; the same after a restart.
        data_directory: The broker's data.
    """

    name = "klamm"

    def __init__(self, directory: Path, arguments: Sequence[str] = (), *, port: int | None = None) -> None:
        """Prepare a broker with its data and log under ``directory``; ``arguments`` follow the ones given here."""
        super().__init__()
        self.port = free_port() if port is None else port
        self.data_directory = directory / "data"
        self.log_path = directory / "klamm.log"
        self._arguments = tuple(arguments)
        directory.mkdir(parents=True, exist_ok=True)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that serves this broker's data on its port, with ``arguments`` at its end."""
        return [*klamm_command("serve"), "--data", str(self.data_directory), "--listen", self.bootstrap, *arguments]

    def start(self, *arguments: str) -> Self:
        """Start the broker and wait until it answers; ``arguments`` hold for this start only.

        Raises:
            AssertionError: It ended, or did not answer in time; the message has its log.
        """
        self._process = process = ChildProcess(self.command(*self._arguments, *arguments), self.log_path)

        def serves_or_ended() -> bool:
            return process.exit_code is not None or is_serving(self.port)

        try:
            wait_until(serves_or_ended, START_TIMEOUT_S, f"klamm on {self.bootstrap} serves")
        except AssertionError as late:
            process.kill()
            message = f"{late}\n{self.log()}"
            raise AssertionError(message) from None
        assert process.exit_code is None, f"klamm serve ended with {process.exit_code}:\n{self.log()}"
        return self

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Send SIGTERM and check that the broker ends with exit code 0. Nothing happens if it does not run.

        Raises:
            AssertionError: It ended otherwise, or not in time; the message has its log.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        exit_code = process.stop(timeout_s)
        assert exit_code == 0, f"klamm serve ended with {exit_code} on SIGTERM:\n{process.log()[-4000:]}"

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self._running().kill()
        self._process = None

    def log(self) -> str:
        """Return what the broker has written to standard output and standard error."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


def klamm_command(*arguments: str) -> list[str]:
    """Return the command line of ``klamm`` in the interpreter that runs the tests."""
    return [sys.executable, "-m", "klamm", *arguments]
