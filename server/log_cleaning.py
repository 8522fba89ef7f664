"""The log cleaner of a node: what it may compact, by which configs, on which threads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from klamm.actors.dispatchers import ThreadDispatcher
from klamm.actors.log_cleaner import CleanerConfig, CleanerPorts, CleanNow, CompactedPartition, LogCleaner
from klamm.protocol.apis import ApiKey
from klamm.server.stopping import FOR_EVER_S

if TYPE_CHECKING:
    from klamm.actors.runtime import LoopActorRef
    from klamm.server.node import Node


class LogCleaning:
    """Starts the log cleaner and stops it."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._dispatcher: ThreadDispatcher | None = None
        self._cleaner: LoopActorRef | None = None

    def start(self) -> None:
        """Begin to look for logs to compact; the first look is ``log.cleaner.backoff.ms`` away."""
        node = self._node
        ports = CleanerPorts(
            node.clock,
            node.ports.timers,
            self._config,
            self._partitions,
            self._start_worker,
            time.sleep,
            self._produced,
        )
        self._cleaner = LogCleaner.start(ports, dispatcher=node.dispatcher)

    def look(self) -> None:
        """Have the cleaner look around at once: a config of its own has changed."""
        if self._cleaner is not None and self._cleaner.is_alive():
            self._cleaner.tell(CleanNow())

    async def stop(self) -> None:
        """Stop; what is under way is given up, and nothing of it stays."""
        if self._cleaner is not None:
            await self._cleaner.stop(block=False)
        if self._dispatcher is not None:
            for worker in reversed(self._dispatcher.refs()):
                await worker.stop(block=False)

    def close(self) -> None:
        """Wait for the workers, for ever if need be; not on the loop."""
        if self._dispatcher is not None:
            self._dispatcher.close(FOR_EVER_S)

    def _config(self) -> CleanerConfig:
        config = self._node.config
        return CleanerConfig(
            config.log_cleaner_enable,
            config.log_cleaner_threads,
            config.log_cleaner_backoff_ms,
            config.log_cleaner_dedupe_buffer_size,
            config.log_cleaner_io_max_bytes_per_second,
            config.producer_id_expiration_ms,
        )

    def _partitions(self) -> list[CompactedPartition]:
        return [part for part in self._node.partitions.values() if part.settings.compacted]

    def _produced(self) -> int:
        api = self._node.apis.get(ApiKey.PRODUCE)
        return 0 if api is None else api.stats.count

    def _start_worker(self, cleaner: LoopActorRef, ports: CleanerPorts) -> LoopActorRef:
        from klamm.actors.cleaner_worker import CleanerWorker  # noqa: PLC0415 (only where something is compacted)

        if self._dispatcher is None:
            self._dispatcher = ThreadDispatcher("cleaner")
        return CleanerWorker.start(cleaner, ports, dispatcher=self._dispatcher)
