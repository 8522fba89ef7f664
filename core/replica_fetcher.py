"""What a follower asks its leader for next, and what it makes of the answer.

| state | on | then |
|---|---|---|
| fetching | records | they are appended; fetching from the new log end offset |
| fetching | a diverging epoch | our log is cut where it parted from the leader's (KIP-101, KIP-595); fetching |
| fetching | OFFSET_OUT_OF_RANGE | the leader's earliest offset is asked for; locating |
| locating | the earliest offset | below it nothing is left to copy: our log begins there anew; fetching |
| any | another error, or no answer | waiting, longer each time |
| waiting | time | fetching |

The leader epoch in force when a fetch was sent is checked by whoever applies the answer: an answer to an older epoch's
question changes nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from klamm.model.errors import ErrorCode

BACKOFF_FIRST_MS: Final = 100
BACKOFF_MAX_MS: Final = 10_000
"""A leader that is away is looked for every ten seconds at most; the controller names another one long before."""


class FetchFrom(NamedTuple):
    """Fetch from ``offset`` on; ``last_fetched_epoch`` is the leader epoch of the record before it, or -1."""

    offset: int
    last_fetched_epoch: int
    leader_epoch: int


class FetchAnswer(NamedTuple):
    """What a leader answered. ``diverging_epoch`` is (epoch, its end offset there)."""

    error: ErrorCode
    records: memoryview
    high_watermark: int
    log_start_offset: int
    diverging_epoch: tuple[int, int] | None = None
    client_ids: tuple[bytes | None, ...] = ()
    append_times_us: tuple[int | None, ...] = ()


class Append(NamedTuple):
    """Append the answer's records, take over its high watermark and log start offset."""

    answer: FetchAnswer


class Truncate(NamedTuple):
    """Cut our log at ``offset``."""

    offset: int


class StartAt(NamedTuple):
    """Throw our log away and begin at ``offset``."""

    offset: int


class LocateEarliest(NamedTuple):
    """Ask the leader for its earliest offset."""


class Wait(NamedTuple):
    """Do nothing for ``delay_ms``."""

    delay_ms: int


Step = Append | Truncate | StartAt | LocateEarliest | Wait


class ReplicaFetcherState:
    """One follower's way to its leader's log."""

    __slots__ = ("_failures", "leader_epoch")

    def __init__(self, leader_epoch: int) -> None:
        self.leader_epoch = leader_epoch
        self._failures = 0

    def next_fetch(self, log_end_offset: int, latest_epoch: int) -> FetchFrom:
        """Return what to ask for, given how far our log goes."""
        return FetchFrom(log_end_offset, latest_epoch, self.leader_epoch)

    def answered(self, answer: FetchAnswer, our_end_of_epoch: tuple[int, int] | None) -> Step:
        """Decide on an answer.

        Args:
            answer: What the leader said.
            our_end_of_epoch: For a diverging epoch: the largest epoch up to it in our log, and its end offset here.
        """
        if answer.error == ErrorCode.OFFSET_OUT_OF_RANGE:
            return LocateEarliest()
        if answer.error != ErrorCode.NONE:
            return self.failed()
        self._failures = 0
        if answer.diverging_epoch is not None:
            assert our_end_of_epoch is not None, "a diverging epoch is compared with our own log"
            epoch, end_offset = answer.diverging_epoch
            our_epoch, our_end_offset = our_end_of_epoch
            return Truncate(min(end_offset, our_end_offset) if our_epoch == epoch else our_end_offset)
        return Append(answer)

    def located(self, earliest_offset: int, log_end_offset: int) -> Step:
        """Decide on the leader's earliest offset."""
        self._failures = 0
        if earliest_offset > log_end_offset:
            return StartAt(earliest_offset)
        return Truncate(max(earliest_offset, 0))

    def failed(self) -> Wait:
        """No answer came, or one that has to be waited out."""
        delay_ms = min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** min(self._failures, 16))
        self._failures += 1
        return Wait(delay_ms)
