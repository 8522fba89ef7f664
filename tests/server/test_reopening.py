"""A partition that failed is opened anew by one thread, once, and is back soon after the disk lets it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from klamm.server.embedded import Broker
from klamm.server.partition_table import RESTARTS
from klamm.storage.partition_log import PartitionLog
from tests.server.replicas import create_topic, on_loop, port_of, produce
from tests.support.process import wait_until
from tests.support.wire import WireConnection

TIMEOUT_S = 60.0


def test_a_log_that_takes_long_to_open_is_not_opened_twice_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Broker(data=tmp_path) as broker:
        create_topic(broker, "t")
        with WireConnection(port_of(broker)) as connection:
            assert produce(connection, "t", b"before", acks=-1) == 0
        partition = broker.node.partition("t", 0)
        assert partition is not None
        table, opened, tried, let_go = broker.node._table, [], [], threading.Event()
        reopen_log, restart = broker.node.data.reopen_log, table.restart

        def slow(*arguments: Any) -> PartitionLog:
            opened.append(1)
            assert let_go.wait(TIMEOUT_S)
            return reopen_log(*arguments)

        def watched(*arguments: Any) -> Any:
            tried.append(1)
            return restart(*arguments)

        monkeypatch.setattr(broker.node.data, "reopen_log", slow)
        monkeypatch.setattr(table, "restart", watched)
        on_loop(broker, lambda: partition.ref.tell("nonsense that no partition understands"))
        wait_until(lambda: len(tried) >= 3, TIMEOUT_S, "its restart was tried several times")
        assert len(opened) == 1
        let_go.set()
        wait_until(lambda: partition.online, TIMEOUT_S, "the partition is online")
        assert len(opened) == 1
        with WireConnection(port_of(broker)) as connection:
            assert produce(connection, "t", b"after", acks=-1) == 0
        assert (partition.log.log_end_offset, partition.reopened) == (2, None)


def test_a_partition_waits_seconds_for_its_disk_and_never_gives_up() -> None:
    assert RESTARTS.restarts_max is None
    assert RESTARTS.backoff_max_s <= 2.0
