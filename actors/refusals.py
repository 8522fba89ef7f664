"""What a disk refuses, told when it begins, with what to do, and when it is over: not with every try in between."""

from __future__ import annotations

import logging
from typing import Final, NamedTuple

from klamm.storage.errors import StorageError

logger = logging.getLogger(__name__)


class Sentences(NamedTuple):
    """What is told of one kind of refusal."""

    begins: str
    over: str
    level: int


APPENDS: Final = Sentences("the disk refuses appends", "the disk takes appends again", logging.ERROR)
METADATA: Final = Sentences("metadata cannot be written", "metadata can be written again", logging.ERROR)
METADATA_LOG: Final = Sentences(
    "the metadata log takes no changes until it can be flushed", "the metadata log takes changes again", logging.ERROR
)
REOPENING: Final = Sentences("a partition's log cannot be opened", "a partition's log was opened", logging.ERROR)
UPKEEP: Final = Sentences("upkeep of a log failed", "upkeep of a log goes on", logging.WARNING)
SNAPSHOT: Final = Sentences(
    "a metadata snapshot could not be written", "metadata snapshots are written again", logging.WARNING
)
CHECKPOINT: Final = Sentences(
    "no checkpoint was written; the old one stands", "checkpoints are written again", logging.WARNING
)


class Refusals:
    """Refusals of one kind. Tell it what each try came to.

    Attributes:
        active: Whether the last try was refused.

    Args:
        sentences: What is told.
        partition: Whose log it is about, where it is about one.
    """

    __slots__ = ("_partition", "_sentences", "active")

    def __init__(self, sentences: Sentences, partition: str | None = None) -> None:
        self._sentences = sentences
        self._partition = partition
        self.active = False

    def refused(self, failure: StorageError) -> None:
        """Note a try that was refused."""
        if self.active:
            return
        self.active = True
        fields = {"reason": str(failure)} | ({"next": failure.next_step} if failure.next_step else {})
        logger.log(self._sentences.level, self._sentences.begins, extra=self._whose() | fields)

    def done(self) -> None:
        """Note a try that was not."""
        if self.active:
            self.active = False
            logger.warning(self._sentences.over, extra=self._whose())

    def _whose(self) -> dict[str, str]:
        return {} if self._partition is None else {"partition": self._partition}
