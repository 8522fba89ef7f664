"""What a partition has done on the disk's threads besides flushing."""

from __future__ import annotations

from collections.abc import Callable

from klamm.actors.messages import Maintain
from klamm.storage.settings import LogSettings
from tests.actors.partitions import Partition, sequenced

VALUE = b"x" * 900


def test_a_saved_snapshot_does_not_let_a_second_upkeep_begin_beside_the_first() -> None:
    partition = Partition()
    partition.log.update_settings(LogSettings(segment_bytes=1_500))
    works: list[Callable[[], None]] = []
    partition.run = works.append  # type: ignore[method-assign, assignment]  # held until the test lets them go
    partition.append(sequenced(0, VALUE))
    partition.append(sequenced(1, VALUE))
    assert len(works) == 1, "the first segment was rolled"
    partition.ref.tell(Maintain())
    partition.go()
    assert len(works) == 2, "the snapshot is saved beside the upkeep"
    works[1]()
    partition.append(sequenced(2, VALUE))
    assert len(works) == 2, "one upkeep at a time"
    works[0]()
    partition.append(sequenced(3, VALUE))
    assert len(works) == 3
