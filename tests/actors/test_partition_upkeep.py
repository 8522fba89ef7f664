"""What a partition has done on the disk's threads besides flushing."""

from __future__ import annotations

from collections.abc import Callable

from klamm.actors.messages import Maintain
from klamm.core.partition import PartitionSettings
from klamm.storage.settings import LogSettings
from tests.actors.partitions import Partitions, sequenced

VALUE = b"x" * 900


def test_a_saved_snapshot_does_not_let_a_second_upkeep_begin_beside_the_first(partition: Partitions) -> None:
    one = partition(PartitionSettings())
    one.log.update_settings(LogSettings(segment_bytes=1_500))
    works: list[Callable[[], None]] = []
    one.run = works.append  # type: ignore[method-assign, assignment]  # held until the test lets them go
    one.append(sequenced(0, VALUE))
    one.append(sequenced(1, VALUE))
    assert len(works) == 1, "the first segment was rolled"
    one.ref.tell(Maintain())
    one.go()
    assert len(works) == 2, "the snapshot is saved beside the upkeep"
    works[1]()
    one.append(sequenced(2, VALUE))
    assert len(works) == 2, "one upkeep at a time"
    works[0]()
    one.append(sequenced(3, VALUE))
    assert len(works) == 3
