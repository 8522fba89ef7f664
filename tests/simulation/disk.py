"""The disk of a simulated node: it loses power at any step, and while a thread flushes it the world goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from klamm.actors.simulation import NodeCrashed, Simulation
from klamm.storage.faulty_filesystem import FaultyFile, FaultyFilesystem, TrackedContent
from klamm.storage.filesystem import File


class SimulatedFile(FaultyFile):
    """A file whose flush takes time; what is written during it is not flushed by it."""

    __slots__ = ("_disk",)

    def __init__(self, disk: SimulatedDisk, content: TrackedContent) -> None:
        super().__init__(disk, content)
        self._disk = disk

    def sync(self) -> None:
        self._disk.step()
        content = self.tracked
        self._disk.flushes += 1
        number = self._disk.flushes
        changes = len(content.unflushed)
        self._disk.simulation.interleave()
        if number > self._disk.flushed.get(content, 0):  # else another one began later and is done: it covers this one
            self.flush(changes)
            self._disk.flushed[content] = self._disk.flushes


class SimulatedDisk(FaultyFilesystem):
    """A disk that outlives its node. ``on_power_loss`` must crash the node; then this disk loses what it may lose."""

    def __init__(self, simulation: Simulation, on_power_loss: Callable[[], None]) -> None:
        super().__init__(simulation.random)
        self.simulation = simulation
        self.power_loss_at: int | None = None
        self.flushes = 0
        self.flushed: dict[TrackedContent, int] = {}
        self._on_power_loss = on_power_loss

    def step(self) -> None:
        self.simulation.check_alive()
        if self.power_loss_at is not None and self.steps >= self.power_loss_at:
            self.power_loss_at = None
            self._on_power_loss()
            raise NodeCrashed
        super().step()

    def reading(self) -> None:
        self.simulation.check_alive()
        super().reading()

    def open(self, path: str, *, create: bool = False, read_only: bool = False) -> File:
        opened: Any = super().open(path, create=create, read_only=read_only)
        return SimulatedFile(self, opened.tracked)

    def lose_power_at_a_step(self, within: int) -> None:
        """Have the power go at one of the next ``within`` steps."""
        self.power_loss_at = self.steps + self.simulation.random.randrange(within)

    def refuse_to_flush(self) -> None:
        """Have flushes fail with EIO for up to a second."""
        self.sync_error = errno.EIO
        self.simulation.call_later(self.simulation.random.random(), self._flush_again)

    def refuse_to_write(self) -> None:
        """Have writes fail with EIO for up to a second, some of them half done."""
        self.write_error = errno.EIO
        self.simulation.call_later(self.simulation.random.random(), self._write_again)

    def run_full(self) -> None:
        """Have room for less than 3,000 bytes for up to a second."""
        self.space_bytes = self.simulation.random.randrange(3000)
        self.simulation.call_later(self.simulation.random.random(), self._make_room)

    def _flush_again(self) -> None:
        self.sync_error = None

    def _write_again(self) -> None:
        self.write_error = None

    def _make_room(self) -> None:
        self.space_bytes = None
