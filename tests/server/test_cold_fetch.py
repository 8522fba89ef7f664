"""A fetch whose records have to come from the disk first."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs forget it

import klamm
from klamm.protocol.fetch import FetchPartition, FetchRequest
from klamm.server.connection import Connection
from klamm.server.fetch_response import FetchResponse
from klamm.server.handlers.fetch import FetchApi
from klamm.server.node import Node
from klamm.server.response_slot import ResponseSlot
from klamm.storage.errors import StorageFailureError
from klamm.storage.partition_log import ColdRead, PartitionLog
from klamm.storage.slicing import LogSlice
from tests.server.replicas import on_loop
from tests.support.process import wait_until

PARTITIONS = 6
RECORD_SIZE = 200_000
MAX_BYTES = 500_000


class Client:
    """A connection that only keeps what it is answered."""

    closing = False
    sends_files = False

    def __init__(self) -> None:
        self.answered: list[ResponseSlot] = []

    def completed(self, slot: ResponseSlot) -> None:
        self.answered.append(slot)


def read_cold(log: PartitionLog, *args: Any, **kwargs: Any) -> ColdRead:
    return ColdRead(partial(cast("Any", PartitionLog.read), log, *args, **kwargs))


def refuse(*_args: Any, **_kwargs: Any) -> LogSlice:
    msg = "t-0: read at offset 0: [Errno 5] Input/output error"
    raise StorageFailureError(msg) from OSError(errno.EIO, "Input/output error")


def refuse_cold(*_args: Any, **_kwargs: Any) -> ColdRead:
    return ColdRead(refuse)


def have_read(node: Node, index: int, read: Callable[..., Any]) -> None:
    found = node.partition("t", index)
    assert found is not None
    found.log.read = partial(read, found.log)  # type: ignore[method-assign]


def start_fetch(node: Node, client: Client, indexes: Sequence[int] = range(PARTITIONS)) -> None:
    partitions = [FetchPartition(index, -1, 0, -1, -1, MAX_BYTES) for index in indexes]
    request = FetchRequest(-1, -1, 500, 1, MAX_BYTES, 0, 0, -1, [("t", None, partitions)], [], "")
    FetchResponse(cast("Connection", client), cast("FetchApi", node.apis[1]), 12, 7, "test", request).start()


def test_what_comes_from_the_disk_counts_against_max_bytes() -> None:
    client = Client()
    with klamm.Broker() as broker:
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("t", PARTITIONS)])["t"].result(20)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for index in range(PARTITIONS):
            for _ in range(3):
                producer.produce("t", b"x" * RECORD_SIZE, partition=index)
                producer.flush(60)
        for index in range(PARTITIONS):
            have_read(broker.node, index, read_cold)
        on_loop(broker, lambda: start_fetch(broker.node, client))
        wait_until(lambda: bool(client.answered), 30, "the fetch is answered")
        (slot,) = client.answered
        size = sum(len(buffer) for buffer in slot.buffers or [])
    assert RECORD_SIZE < size <= MAX_BYTES + 2 * RECORD_SIZE


@pytest.mark.parametrize("read", [refuse, refuse_cold])
def test_a_read_that_the_disk_refuses_is_told_of_once_with_what_to_do(
    read: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    client = Client()
    with klamm.Broker() as broker, caplog.at_level(logging.ERROR):
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("t", PARTITIONS)])["t"].result(20)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        producer.produce("t", b"x", partition=0)
        producer.flush(60)
        have_read(broker.node, 0, read)
        on_loop(broker, lambda: start_fetch(broker.node, client, [0]))
        wait_until(lambda: len(client.answered) == 1, 30, "the first fetch is answered")
        on_loop(broker, lambda: start_fetch(broker.node, client, [0]))
        wait_until(lambda: len(client.answered) == 2, 30, "the second fetch is answered")
    (told,) = [record for record in caplog.records if record.getMessage() == "the disk refuses reads"]
    assert told.__dict__["partition"] == "t-0"
    assert "Input/output error" in told.__dict__["reason"]
    assert "dmesg" in told.__dict__["next"]
