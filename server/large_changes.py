"""Large changes of the metadata, acted on in slices, with turns for others between.

The folders of many new partitions are made on the disk's threads: one takes the kernel a quarter of a millisecond, and
1,000 topics would keep the loop from everybody for that time. Who asked is answered, and clients hear of new topics,
when all is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from klamm.core.metadata_delta import MetadataDelta
from klamm.core.metadata_image import PartitionImage, TopicImage
from klamm.model.configs_topic import TopicSettings
from klamm.server.off_the_loop import off_the_loop
from klamm.server.slices import Steps, rest_in_slices
from klamm.storage.errors import StorageFailureError
from klamm.storage.partition_log import PartitionLog

if TYPE_CHECKING:
    from klamm.server.node import Node
    from klamm.server.partition_table import PartitionTable

logger = logging.getLogger(__name__)

FEW: Final = 20
"""So many partitions are made on the spot, in some milliseconds."""
FEW_TOLD: Final = 100
"""So many topics are told of new settings, or of their end, on the spot, in a millisecond."""
OPENED_TOGETHER: Final = 50
"""Logs that a thread opens before it looks after flushes again: some 15 ms."""

Opened = Callable[[], PartitionLog]
"""Returns an opened log, or raises why it could not be opened."""
_New = tuple[TopicImage, PartitionImage, TopicSettings]


class LargeChanges:
    """Acts on large changes of the metadata: makes partitions, ends others, and has others obey new settings."""

    def __init__(self, node: Node, table: PartitionTable) -> None:
        self._node = node
        self._table = table
        self._task: asyncio.Task[None] | None = None

    def is_large(self, delta: MetadataDelta) -> bool:
        """Whether a change is to be acted on here; not at a start."""
        told = max(len(delta.topic_settings), len(delta.topics_deleted))
        return not self._table.loading and (told > FEW_TOLD or self._creates_many(delta))

    def _creates_many(self, delta: MetadataDelta) -> bool:
        """Whether many partitions are to be made, and no deleted topic's folder may be in the way."""
        return (
            len(delta.partitions_created) > FEW and not delta.topics_deleted and len(self._table.to_create(delta)) > FEW
        )

    def act_on(
        self, delta: MetadataDelta, act_on_rest: Callable[[MetadataDelta], None], done: Callable[[], None]
    ) -> None:
        """End, make and change partitions, then have the rest of the change acted on, and call ``done``."""
        assert self._task is None, "one change after the other"
        self._task = self._node.loop.create_task(self._act_on(delta, act_on_rest, done))

    async def finished(self) -> None:
        """Return when nothing is being acted on."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def give_up(self) -> None:
        """Have what is being acted on left as it is: the broker stops, and its disk does not answer."""
        if self._task is not None:
            self._task.cancel()

    async def _act_on(
        self, delta: MetadataDelta, act_on_rest: Callable[[MetadataDelta], None], done: Callable[[], None]
    ) -> None:
        try:
            await rest_in_slices(self._table.deleting(delta))
            if self._creates_many(delta):
                await self._make(delta)
            await rest_in_slices(self._table.changing_settings(delta))
            act_on_rest(delta)
        except Exception:  # committed is committed, as in the controller
            logger.exception("a change of the metadata could not be acted on")
        finally:
            self._task = None
            done()

    async def _make(self, delta: MetadataDelta) -> None:
        new = [(topic, image, delta.topic_settings[topic.name]) for topic, image in self._table.to_create(delta)]
        groups = [new[first : first + OPENED_TOGETHER] for first in range(0, len(new), OPENED_TOGETHER)]
        opened = await asyncio.gather(*map(self._open, groups))
        await rest_in_slices(self._create(new, [one for group in opened for one in group]))

    def _open(self, group: Sequence[_New]) -> asyncio.Future[list[Opened]]:
        """Have logs opened on a thread of the disk."""
        openings = [self._table.opening(*one) for one in group]
        return off_the_loop(self._node.disk.run, lambda: [_opened(open_log) for open_log in openings])

    def _create(self, new: Sequence[_New], opened: Sequence[Opened]) -> Steps[None]:
        for one, log in zip(new, opened, strict=True):
            self._table.create(*one, log)
            yield


def _opened(open_log: Opened) -> Opened:
    try:
        log = open_log()
    except StorageFailureError as failure:
        return partial(_raise, failure)
    return lambda: log


def _raise(failure: StorageFailureError) -> PartitionLog:
    raise failure
