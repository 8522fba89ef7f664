"""What a node does by itself, every now and then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from klamm.server.embedded import Broker
from tests.server.replicas import on_loop
from tests.support.process import wait_until


def test_rounds_of_upkeep_do_not_pile_up_on_a_disk_that_is_slower_than_their_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[None] = []
    disk_goes_on = threading.Event()

    def checkpoint() -> Callable[[], object]:
        begun.append(None)
        return lambda: disk_goes_on.wait(60)

    with Broker(memory=True, config={"log.retention.check.interval.ms": "1"}) as broker:
        on_loop(broker, lambda: monkeypatch.setattr(broker.node._table, "checkpoint", checkpoint))
        wait_until(lambda: bool(begun), 60, "a round has begun")
        for _ in range(20):  # one a millisecond would be asked for
            time.sleep(0.002)
            on_loop(broker, lambda: None)
        assert len(begun) == 1
        disk_goes_on.set()
        wait_until(lambda: len(begun) > 1, 60, "the next one has begun")
