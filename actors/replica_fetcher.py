"""The replica fetcher actor: copies one partition from its leader, as ``klamm.core.replica_fetcher`` decides.

It asks the leader through a port, tells the partition what came, and asks again once the partition has applied it. It
stops when the partition's leader epoch moves on: whoever starts fetchers starts another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from klamm.actors.messages import FollowerAppend, Following, TruncateTo
from klamm.actors.ports import Timers
from klamm.actors.runtime import LoopActor, LoopActorRef
from klamm.core.replica_fetcher import (
    Append,
    FetchAnswer,
    FetchFrom,
    LocateEarliest,
    ReplicaFetcherState,
    StartAt,
    Step,
    Truncate,
    Wait,
)
from klamm.storage.partition_log import PartitionLog

logger = logging.getLogger(__name__)


class FetchPort(Protocol):
    """Reaches one leader. Each answer is called once, on the fetcher's dispatcher; None is a failure."""

    def fetch(self, fetch: FetchFrom, answer: Callable[[FetchAnswer | None], None]) -> None:
        """Ask for records; the leader may hold the answer back for a while."""

    def earliest(self, leader_epoch: int, answer: Callable[[int | None], None]) -> None:
        """Ask for the earliest offset."""


class _Fetched(NamedTuple):
    answer: FetchAnswer | None


class _Located(NamedTuple):
    earliest_offset: int | None


class _Applied(NamedTuple):
    """The partition has done what it was told."""


class ReplicaFetcherActor(LoopActor):
    """Copies one partition. ``log`` is only looked at; the partition's own actor changes it."""

    def __init__(
        self, partition: LoopActorRef, log: PartitionLog, leader_epoch: int, port: FetchPort, timers: Timers
    ) -> None:
        super().__init__()
        self._partition = partition
        self._log = log
        self._state = ReplicaFetcherState(leader_epoch)
        self._port = port
        self._timers = timers

    def on_start(self) -> None:
        """Wait until the partition has done what an earlier leader asked of its log, then ask for the first records."""
        self._apply(Following(self._state.leader_epoch, self._applied))

    def on_receive(self, message: object) -> None:
        """Take an answer, or the partition's word that it has applied one."""
        match message:
            case _Fetched(None) | _Located(None):
                self._perform(self._state.failed())
            case _Fetched(FetchAnswer() as answer):
                diverging = answer.diverging_epoch
                ours = self._log.end_offset_for_epoch(diverging[0]) if diverging is not None else None
                self._perform(self._state.answered(answer, ours))
            case _Located(int() as earliest_offset):
                self._perform(self._state.located(earliest_offset, self._log.log_end_offset))
            case _Applied():
                self._fetch()
            case _:
                msg = f"a replica fetcher does not understand {message!r}"
                raise AssertionError(msg)

    def _fetch(self) -> None:
        fetch = self._state.next_fetch(self._log.log_end_offset, self._log.latest_epoch)
        self._port.fetch(fetch, lambda answer: self._tell(_Fetched(answer)))

    def _perform(self, step: Step) -> None:
        match step:
            case Append(answer):
                self._apply(
                    FollowerAppend(
                        answer.records,
                        answer.high_watermark,
                        answer.log_start_offset,
                        self._state.leader_epoch,
                        answer.client_ids,
                        answer.append_times_us,
                        self._applied,
                    )
                )
            case Truncate(offset):
                logger.warning("cutting a follower's log where it parted from its leader's", extra={"offset": offset})
                self._apply(TruncateTo(offset, self._state.leader_epoch, self._applied))
            case StartAt(offset):
                logger.warning("a follower's log begins anew at its leader's start", extra={"offset": offset})
                self._apply(TruncateTo(offset, self._state.leader_epoch, self._applied, anew=True))
            case LocateEarliest():
                self._port.earliest(self._state.leader_epoch, lambda offset: self._tell(_Located(offset)))
            case Wait(delay_ms):
                self.call_later(self._timers, delay_ms / 1000, self._fetch)

    def _apply(self, message: FollowerAppend | Following | TruncateTo) -> None:
        if self._partition.is_alive():
            self._partition.tell(message)
        else:
            self.stop()

    def _applied(self, *, current: bool) -> None:
        """Hear from the partition: done, or (not ``current``) its leader epoch has moved on and we are over."""
        if current:
            self._tell(_Applied())
        else:
            self.stop()

    def _tell(self, message: object) -> None:
        if self.actor_ref.is_alive():
            self.actor_ref.tell(message)
