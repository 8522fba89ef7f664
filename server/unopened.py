"""Partitions whose logs the disk would not open: tried again on its threads until they open or their topic is deleted.

A disk that is full or has no more file descriptors refuses one partition after another when topics are created or a
broker starts. Those are offline and answer KAFKA_STORAGE_ERROR; all others are served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from klamm.core.metadata_image import PartitionImage, TopicImage
from klamm.model.configs_topic import TopicSettings
from klamm.storage.errors import StorageError
from klamm.storage.partition_log import PartitionLog

logger = logging.getLogger(__name__)

RETRY_S: Final = 2.0
"""Between two tries: a person who made room sees it used by the time they have looked."""


@dataclass(slots=True)
class UnopenedPartition:
    """What is known of a partition but its log. ``open`` may wait for the disk and runs on any thread."""

    topic: TopicImage
    image: PartitionImage
    settings: TopicSettings
    open: Callable[[], PartitionLog]


class UnopenedPartitions:
    """The unopened partitions of a node, by (topic, partition). Used on the node's loop only.

    Args:
        loop: The node's loop.
        run: Runs something on the disk's threads.
        opened: Hears of each log that could be opened after all, on the loop.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run: Callable[[Callable[[], None]], object],
        opened: Callable[[UnopenedPartition, PartitionLog], None],
    ) -> None:
        self._loop = loop
        self._run = run
        self._opened = opened
        self._waiting: dict[tuple[str, int], UnopenedPartition] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    def __contains__(self, key: object) -> bool:
        """Whether the partition is one of them."""
        return key in self._waiting

    def __iter__(self) -> Iterator[tuple[str, int]]:
        """Return (topic, partition) of each."""
        return iter(list(self._waiting))

    def __len__(self) -> int:
        """Return their number."""
        return len(self._waiting)

    def values(self) -> list[UnopenedPartition]:
        """Return each."""
        return list(self._waiting.values())

    def get(self, topic: str, index: int) -> UnopenedPartition | None:
        """Return the partition, if it is one of them."""
        return self._waiting.get((topic, index))

    def add(self, partition: UnopenedPartition, reason: StorageError) -> None:
        """Keep a partition whose log could not be opened, and try again."""
        topic, index = partition.topic.name, partition.image.partition
        self._waiting[topic, index] = partition
        extra = {
            "partition": f"{topic}-{index}",
            "reason": str(reason),
            "retry_in_s": RETRY_S,
            "next": reason.next_step,
        }
        logger.error("partition is offline until its log can be opened", extra=extra)
        self._schedule()

    def change_settings(self, topic: str, settings: TopicSettings) -> None:
        """Note a topic's new configs."""
        for (name, _), partition in self._waiting.items():
            if name == topic:
                partition.settings = settings

    def forget(self, topic: str, index: int) -> bool:
        """Try no more: the topic was deleted. Return whether the partition was one of them."""
        return self._waiting.pop((topic, index), None) is not None

    def close(self) -> None:
        """Try no more: the broker stops."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()

    def _schedule(self) -> None:
        if self._retry is None and not self._closed:
            self._retry = self._loop.call_later(RETRY_S, self._try_again)

    def _try_again(self) -> None:
        waiting = list(self._waiting.items())

        def work() -> None:
            logs: list[tuple[tuple[str, int], UnopenedPartition, PartitionLog]] = []
            for key, partition in waiting:
                if self._waiting.get(key) is not partition:  # deleted; another topic may have the name by now
                    continue
                try:
                    logs.append((key, partition, partition.open()))
                except StorageError as error:
                    logger.debug("a log cannot be opened yet", extra={"partition": key, "reason": str(error)})
                except Exception:  # our own bug, with this log: the others are tried all the same, and it again
                    logger.exception("a log could not be opened", extra={"partition": key})
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._tried, logs)

        self._run(work)

    def _tried(self, logs: list[tuple[tuple[str, int], UnopenedPartition, PartitionLog]]) -> None:
        self._retry = None
        for key, partition, log in logs:
            if self._closed or self._waiting.get(key) is not partition:  # its directory was given up with the topic
                log.abandon()
                continue
            del self._waiting[key]
            self._opened(partition, log)
            logger.warning("partition is online", extra={"partition": f"{key[0]}-{key[1]}"})
        if self._waiting:
            self._schedule()
