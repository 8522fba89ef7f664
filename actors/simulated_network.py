"""The network of the simulator: messages between named nodes are delayed, lost, doubled, reordered and cut off."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

DELAY_MAX_S: Final = 0.05
"""Longest way of a message that is not lost: a busy network, not a broken one."""

Deliver = Callable[[str, str, object, float], None]
"""Source, target, payload, delay in seconds."""


@dataclass(slots=True)
class NetworkFaults:
    """Chances, in [0, 1], of what may happen to one message."""

    drop: float = 0.0
    duplicate: float = 0.0
    delay_max_s: float = DELAY_MAX_S


class Network:
    """All links. A message to a node that is down, or behind a partition when it arrives, is lost."""

    def __init__(self, source: random.Random, deliver: Deliver) -> None:
        self.faults = NetworkFaults()
        self.sent = 0
        self.dropped = 0
        self.duplicated = 0
        self._random = source
        self._deliver = deliver
        self._islands: tuple[frozenset[str], ...] = ()

    def partition(self, *islands: Iterable[str]) -> None:
        """Cut all links between the given sets of nodes; nodes in none of them reach everybody."""
        self._islands = tuple(frozenset(island) for island in islands)

    def heal(self) -> None:
        """Restore all links."""
        self._islands = ()

    def separated(self, one: str, other: str) -> bool:
        """Whether no message gets from one to the other."""
        home = next((island for island in self._islands if one in island), None)
        return home is not None and other not in home and any(other in island for island in self._islands)

    def send(self, source: str, target: str, payload: object) -> None:
        """Send a message on its way, or lose it."""
        self.sent += 1
        if self._random.random() < self.faults.drop:
            self.dropped += 1
            return
        copies = 1
        if self._random.random() < self.faults.duplicate:
            self.duplicated += 1
            copies = 2
        for _ in range(copies):
            self._deliver(source, target, payload, self._random.random() * self.faults.delay_max_s)


class Transport:
    """One node's end of the network."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name
        self.listener: Callable[[str, object], None] | None = None

    def send(self, target: str, payload: object) -> None:
        """Send a message to another node; nobody learns whether it arrives."""
        self._network.send(self._name, target, payload)

    def deliver(self, source: str, payload: object) -> None:
        """Hand a message that arrived to whoever listens."""
        if self.listener is not None:
            self.listener(source, payload)
