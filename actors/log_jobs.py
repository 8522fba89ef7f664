"""What one log has to have done on the disk's threads, one job after another: no two touch its files at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from klamm.actors.partition_ports import DiskPort


class JobEnded(NamedTuple):
    """Told to the actor that owns the log: the job is over, for better or worse."""

    failure: Exception | None


class _Job(NamedTuple):
    work: Callable[[], object]
    then: Callable[[Exception | None], object]


class LogJobs:
    """The jobs of one log. Whoever owns this is told :class:`JobEnded` and passes it to :meth:`ended`.

    Args:
        disk: Whose threads do the work.
        tell: Tells the owner something, from any thread; it may be gone.
    """

    __slots__ = ("_disk", "_jobs", "_tell")

    def __init__(self, disk: DiskPort, tell: Callable[[JobEnded], None]) -> None:
        self._disk = disk
        self._tell = tell
        self._jobs: list[_Job] = []  # the first one is being done

    def run(self, work: Callable[[], object], then: Callable[[Exception | None], object]) -> None:
        """Have ``work`` done once the jobs before it are over; ``then`` takes its failure, on the owner's thread."""
        self._jobs.append(_Job(work, then))
        if len(self._jobs) == 1:
            self._begin(work)

    def ended(self, message: JobEnded) -> None:
        """Begin the next job, and call the ``then`` of the one that ended."""
        job = self._jobs.pop(0)
        if self._jobs:
            self._begin(self._jobs[0].work)
        job.then(message.failure)

    def _begin(self, work: Callable[[], object]) -> None:
        def perform() -> None:
            failure: Exception | None = None
            try:
                work()
            except Exception as error:  # noqa: BLE001  # it is raised, or told of, where the job came from
                failure = error
            self._tell(JobEnded(failure))

        self._disk.run(perform)
