"""What a partition has done on the disk's threads besides flushing."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from klamm.actors.messages import Maintain
from klamm.core.partition import PartitionSettings
from klamm.storage.settings import LogSettings
from tests.actors.partitions import Partitions, sequenced

VALUE = b"x" * 900


def test_one_job_of_a_partition_at_a_time_is_with_the_disk(partition: Partitions) -> None:
    one = partition(PartitionSettings())
    one.log.update_settings(LogSettings(segment_bytes=1_500))
    works: list[Callable[[], None]] = []
    one.run = works.append  # type: ignore[method-assign, assignment]  # held until the test lets them go
    one.append(sequenced(0, VALUE))
    one.append(sequenced(1, VALUE))
    assert len(works) == 1, "the first segment was rolled"
    one.ref.tell(Maintain())
    one.go()
    one.append(sequenced(2, VALUE))
    assert len(works) == 1, "the snapshot waits, and an upkeep is under way"
    works[0]()
    one.go()
    assert len(works) == 2, "now the snapshot is saved"
    works[1]()
    one.append(sequenced(3, VALUE))
    assert len(works) == 3, "and segments rolled since are closed"


def test_a_segment_that_is_rolled_while_others_are_closed_is_closed_without_a_further_append(
    partition: Partitions, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = partition(PartitionSettings())
    one.log.update_settings(LogSettings(segment_bytes=1_500))
    works: list[Callable[[], None]] = []
    one.run = works.append  # type: ignore[method-assign, assignment]  # held until the test lets them go
    maintain, rolled = one.log.maintain, iter([sequenced(2, VALUE)])

    def maintained() -> None:
        maintain()
        for batch in rolled:
            one.append(batch)
            assert one.log.needs_maintenance, "another segment was rolled"

    monkeypatch.setattr(one.log, "maintain", maintained)
    one.append(sequenced(0, VALUE))
    one.append(sequenced(1, VALUE))
    while works:
        works.pop()()
        one.go()
    assert not one.log.needs_maintenance


def test_a_closed_segment_that_cannot_be_flushed_takes_the_partition_offline(partition: Partitions) -> None:
    one = partition(PartitionSettings())
    one.log.update_settings(LogSettings(segment_bytes=1_500))
    one.append(sequenced(0, VALUE))
    one.disk.sync_error = errno.EIO
    one.append(sequenced(1, VALUE))
    one.go()
    assert not one.ref.is_alive(), "the next flush would be called a success"
