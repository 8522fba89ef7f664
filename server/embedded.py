"""A broker inside another program: ``with klamm.Broker() as broker: broker.bootstrap``.

It has a thread and an event loop of its own. The host program's loggers, signal handlers, event loop policy and pykka
actors are never touched. Several brokers may run in one process.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from klamm.model.configs_broker import BrokerConfig
from klamm.server.event_loop import new_event_loop
from klamm.server.node import Node
from klamm.server.options import DEFAULT_HOST, PORT_MAX, Address, NodeOptions

START_TIMEOUT_S: Final = 60.0
"""A recovery of much data takes time; longer than this, something is wrong."""

STOP_TIMEOUT_S: Final = 90.0
"""A node gives a disk up that does not answer (``stopping.py``) before this."""

EMBEDDED_CONFIG: Final = {
    "acks.all.single": "written",
    "group.initial.rebalance.delay.ms": "0",
    "klamm.telemetry.enable": "false",
}
"""In a test a power cut loses the test as well: no flush is waited for (Kafka's own behaviour). And nobody waits three
seconds for further members of a group: Kafka's own quickstart sets that delay to 0. And nobody is told what nobody
asked for: ``telemetry=True`` turns that on."""

INSTEAD: Final = {
    "advertised.listeners": "host= and port=",
    "listeners": "host= and port=",
    "log.dir": "data=",
    "log.dirs": "data=",
}
"""Configs that a process has and this broker does not look at, and the argument that says the same."""


class Broker:
    """A broker in this process.

    Args:
        data: Folder of its data, kept afterwards. None: a temporary folder, removed when the broker stops.
        host: Where it listens.
        port: Where it listens; 0 is a free port.
        memory: Keep everything in memory; ``data`` must be None.
        config: Broker configs by Kafka's names, e.g. ``{"num.partitions": "3"}``, over :data:`EMBEDDED_CONFIG`. A name
            that there is not is warned of (``UserWarning``), with the nearest one, and so is one without effect.
        telemetry: Write the broker's own topics, and export metrics and traces (docs/observability.md).

    Raises:
        InvalidConfigError: A config value is out of its range.
        ValueError: Both ``data`` and ``memory`` were asked for; ``data`` or ``host`` is empty, ``port`` is no port.
    """

    def __init__(
        self,
        *,
        data: str | Path | None = None,
        host: str = DEFAULT_HOST,
        port: int = 0,
        memory: bool = False,
        config: Mapping[str, object] | None = None,
        telemetry: bool = False,
    ) -> None:
        if data is not None and memory:
            msg = "data and memory exclude each other"
            raise ValueError(msg)
        if data == "" or not host:
            msg = "data and host may not be empty: leave them out for a temporary folder and for 127.0.0.1"
            raise ValueError(msg)
        if port not in range(PORT_MAX + 1):
            msg = f"port={port!r} is no port: give an integer, 0 (a free one) to {PORT_MAX}"
            raise ValueError(msg)
        asked = {"klamm.telemetry.enable": "true"} if telemetry else {}
        properties = EMBEDDED_CONFIG | asked | {key: _text(value) for key, value in (config or {}).items()}
        self._config, mistakes = BrokerConfig.from_properties(properties)
        mistakes += [
            f"config {name} has no effect here: give {INSTEAD[name]}" for name in INSTEAD if name in properties
        ]
        if self._config.klamm_metrics_listen and not self._config.klamm_telemetry_enable:
            mistakes.append("klamm.metrics.listen has no effect without telemetry=True")
        for mistake in mistakes:
            warnings.warn(mistake, stacklevel=2)
        self._data = Path(data) if data is not None else None
        self._memory = memory
        self._listen = Address(host, port)
        self._temporary: Path | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._node: Node | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._process_id = 0  # of the process that started it: a fork of that has no broker, only its address

    @property
    def bootstrap(self) -> str:
        """``host:port``, for a client's ``bootstrap.servers``.

        Raises:
            RuntimeError: The broker is not running.
        """
        return str(self.node.advertised)

    @property
    def node(self) -> Node:
        """The running node.

        Raises:
            RuntimeError: The broker is not running.
        """
        if self._node is None:
            msg = "the broker is not running: use it in a with statement, or call start()"
            raise RuntimeError(msg)
        return self._node

    @property
    def data(self) -> Path | None:
        """The folder of its data; None in memory or before the start."""
        return self._data or self._temporary

    def start(self) -> Self:
        """Start; returns when clients can connect.

        Raises:
            RuntimeError: It runs already, or did not start in time.
            OSError: The address cannot be listened on.
            StorageError: The data folder cannot be used: another broker's, a newer format, no right to write.
        """
        if self._thread is not None:
            msg = "the broker runs already"
            raise RuntimeError(msg)
        self._failure = None
        self._process_id = os.getpid()
        self._started.clear()
        if self._data is None and not self._memory:
            self._temporary = Path(tempfile.mkdtemp(prefix="klamm-"))
            atexit.register(self._leave_nothing)
        self._thread = threading.Thread(target=self._run, name="klamm-broker", daemon=True)
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            msg = f"the broker was not ready after {START_TIMEOUT_S} s"
            raise RuntimeError(msg)
        failure = self._take_failure()
        if failure is not None:
            self._thread.join()
            self._thread = None
            self._remove_temporary()
            raise failure
        return self

    def stop(self) -> None:
        """Stop cleanly; everything is flushed when it returns. Stopping twice is one stop.

        In a forked child this does nothing: the broker, and its data, are the parent's.
        """
        if self._process_id != os.getpid():
            return
        thread, loop, stopping = self._thread, self._loop, self._stopping
        if thread is None or loop is None or stopping is None:
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself: why is raised below
            loop.call_soon_threadsafe(stopping.set)
        thread.join(STOP_TIMEOUT_S)
        alive = thread.is_alive()
        self._thread = None
        self._remove_temporary()
        if alive:
            msg = f"the broker did not stop in {STOP_TIMEOUT_S} s"
            raise RuntimeError(msg)
        failure = self._take_failure()
        if failure is not None:
            raise failure

    def _take_failure(self) -> BaseException | None:
        """Return what ended the broker's thread, set by that thread."""
        failure, self._failure = self._failure, None
        return failure

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _run(self) -> None:
        loop = new_event_loop()
        try:
            loop.run_until_complete(self._serve(loop))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            self._failure = error
        finally:
            loop.run_until_complete(loop.shutdown_default_executor())  # its thread is ours, too
            loop.close()
            self._node = None
            self._started.set()

    async def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._stopping = loop, asyncio.Event()
        folder = None if self._memory else self.data
        node = Node(self._config, NodeOptions(folder, self._listen), loop)
        try:
            await node.start()
        except OSError as error:
            msg = f"cannot listen on {self._listen}: {error.strerror or error}; port=0 takes a free port of 127.0.0.1"
            raise OSError(error.errno, msg) from error
        self._node = node
        self._started.set()
        try:
            await self._stopping.wait()
        finally:
            await node.stop()

    def _remove_temporary(self) -> None:
        if self._temporary is not None:
            with contextlib.suppress(FileNotFoundError):  # the host program has removed it itself
                shutil.rmtree(self._temporary)
            self._temporary = None
            atexit.unregister(self._leave_nothing)

    def _leave_nothing(self) -> None:
        """Remove the temporary folder of a broker that runs to the program's end; a forked child has none."""
        if self._process_id == os.getpid():
            with contextlib.suppress(OSError):  # the broker still runs: what it makes meanwhile may stay
                self._remove_temporary()


def _text(value: object) -> str:
    """Return a config value as Kafka writes it: booleans in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)
