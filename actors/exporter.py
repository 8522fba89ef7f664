"""The telemetry exporter: an actor on a thread of its own, so that telling about the broker never holds it up.

What it is told is a piece of work; whoever tells it looks at :attr:`~klamm.actors.mailbox.Mailbox.messages` first, and
drops what would make them too many.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from klamm.actors.runtime import LoopActor

logger = logging.getLogger(__name__)


class Export(NamedTuple):
    """Do a piece of work on the exporter's thread."""

    work: Callable[[], None]


class ExporterActor(LoopActor):
    """Does one piece of work after another; what goes wrong with one must not end it."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.actor_name = name

    def on_receive(self, message: object) -> None:
        """Work."""
        assert isinstance(message, Export), f"an exporter does not understand {message!r}"
        try:
            message.work()
        except Exception:
            logger.exception("telemetry could not be exported")
