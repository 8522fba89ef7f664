"""A partition copied from one broker to another, both in this process."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from klamm.actors.messages import DeleteRecords
from klamm.storage.memory_filesystem import MemoryFile
from tests.server.replicas import TIMEOUT_S, TOPIC, Replicas, on_loop, port_of
from tests.support.process import wait_until
from tests.support.record_batch import record_batch
from tests.support.wire import FETCH, PRODUCE, WireConnection, fetch_request, produce_request


@pytest.fixture
def replicas() -> Iterator[Replicas]:
    """Return two brokers, of which the second is out of sync."""
    with Replicas() as pair:
        yield pair


@pytest.fixture
def in_sync() -> Iterator[Replicas]:
    """Return two brokers that are both in the ISR."""
    with Replicas(in_sync=True) as pair:
        yield pair


def in_thread(work: Callable[[], Any]) -> list[Any]:
    """Do something beside the test; what it returns is put into the list."""
    done: list[Any] = []
    threading.Thread(target=lambda: done.append(work()), daemon=True).start()
    return done


def test_a_follower_holds_the_leaders_bytes_and_high_watermark(replicas: Replicas) -> None:
    replicas.produce(b"before", b"it followed")
    replicas.lead_and_follow()
    for number in range(20):
        replicas.produce(b"%d" % number * 100)
    replicas.await_copy()
    assert replicas.payload(2) == replicas.payload(1)
    assert replicas.partition(2).state.high_watermark == 22
    assert replicas.partition(2).log.epochs == replicas.partition(1).log.epochs


def provenance(replicas: Replicas, broker: int) -> list[tuple[int, int | None, bytes | None]]:
    """Return (base offset, append time, client id) of every batch that a broker holds."""
    log = replicas.partition(broker).log
    rows = on_loop(replicas.brokers[broker], lambda: list(log.rows_from(log.log_start_offset)))
    return [(row.base_offset, row.append_time_us, row.client_id) for row in rows]


def not_in_memory(file: MemoryFile, size: int, position: int) -> None:
    """Read nothing (``MemoryFile.read_now``): the disk has to be waited for."""


@pytest.mark.parametrize("cold", [False, True])
def test_a_follower_knows_who_sent_each_batch_and_when(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, *, cold: bool
) -> None:
    if cold:
        monkeypatch.setattr(MemoryFile, "read_now", not_in_memory)
    for number in range(3):
        replicas.produce(b"%d" % number)
    other = b"somebody else"
    with WireConnection(port_of(replicas.brokers[1])) as connection:
        for number in range(5):
            header = struct.pack(">hhih", PRODUCE, 3, number, len(other)) + other
            connection.send_frame(header + produce_request(TOPIC, record_batch([b"together", b"%d" % number])))
        for _ in range(5):
            connection.receive_frame()
    replicas.lead_and_follow()
    replicas.produce(b"later")
    replicas.await_copy()
    known = provenance(replicas, 1)
    assert {client for _, _, client in known} == {b"wire-test", other}
    assert provenance(replicas, 2) == known


def test_with_both_in_sync_acks_all_waits_for_the_follower(in_sync: Replicas) -> None:
    in_sync.tell(1, 1)
    done = in_thread(lambda: in_sync.produce(b"v", acks=-1))
    wait_until(lambda: in_sync.partition(1).log.log_end_offset == 1, TIMEOUT_S, "it is written")
    in_sync.hold(lambda: not done and in_sync.partition(1).state.high_watermark == 0)
    in_sync.tell(2, 1)
    wait_until(lambda: bool(done), TIMEOUT_S, "acks=all is answered")
    assert done == [0]
    assert in_sync.partition(2).log.log_end_offset == 1


def test_a_fetch_as_a_replica_of_an_older_epoch_counts_for_nothing(in_sync: Replicas) -> None:
    in_sync.epoch = 5
    in_sync.tell(1, 1)
    in_sync.produce(b"v")
    partition = in_sync.partition(1)
    with WireConnection(int(in_sync.brokers[1].bootstrap.rpartition(":")[2])) as connection:
        request = bytearray(fetch_request(TOPIC, 1, 1000, wait_max_ms=0))
        request[0:4] = (2).to_bytes(4, "big")
        # Version 9 has the current leader epoch: an older one than the leader's must not move the high watermark.
        head, topic_and_rest = bytes(request[:17]), bytes(request[17:])
        session = (0).to_bytes(4, "big") + (-1).to_bytes(4, "big", signed=True)
        topics = topic_and_rest[: 4 + 2 + len(TOPIC) + 4 + 4]
        offset_and_size = topic_and_rest[len(topics) :]
        start = (-1).to_bytes(8, "big", signed=True)
        for epoch, high_watermark in ((4, 0), (5, 1)):
            body = head + session + topics + epoch.to_bytes(4, "big")
            body += offset_and_size[:8] + start + offset_and_size[8:] + (0).to_bytes(4, "big")
            connection.request(FETCH, 9, body)
            assert partition.state.high_watermark == high_watermark


def test_what_only_the_follower_had_is_cut_off(replicas: Replicas) -> None:
    replicas.produce(b"shared")
    replicas.lead_and_follow()
    replicas.await_copy()
    replicas.epoch = 2
    replicas.tell(2, 2)
    for number in range(3):
        replicas.produce(b"only on 2: %d" % number, broker=2)
    replicas.epoch = 3
    replicas.tell(1, 1)
    replicas.produce(b"only on 1", b"and more", b"and more")
    replicas.tell(2, 1)
    wait_until(lambda: replicas.payload(2) == replicas.payload(1), TIMEOUT_S, "the logs are the same again")
    assert b"only on 1" in replicas.payload(2)
    assert replicas.partition(2).log.epochs == replicas.partition(1).log.epochs


def test_a_follower_begins_anew_where_the_leaders_log_begins(replicas: Replicas) -> None:
    for number in range(10):
        replicas.produce(b"%d" % number)
    leader = replicas.partition(1)
    assert leader.ref.ask(DeleteRecords(7), timeout=TIMEOUT_S) == 7
    replicas.lead_and_follow()
    replicas.await_copy()
    assert replicas.partition(2).log.log_start_offset == 7
    assert replicas.payload(2).endswith(replicas.payload(1)[-50:])


def test_what_the_leader_deletes_the_follower_deletes(replicas: Replicas) -> None:
    replicas.lead_and_follow()
    for number in range(10):
        replicas.produce(b"%d" % number)
    replicas.await_copy()
    replicas.partition(1).ref.ask(DeleteRecords(4), timeout=TIMEOUT_S)
    wait_until(lambda: replicas.partition(2).log.log_start_offset == 4, TIMEOUT_S, "the follower's start moves")


def test_a_leader_that_is_away_for_a_while_is_copied_again_when_it_is_back(replicas: Replicas) -> None:
    replicas.lead_and_follow()
    replicas.produce(b"before")
    replicas.await_copy()
    listener = replicas.brokers[1].node._listener
    assert listener is not None
    away = listener.apis

    def close_all() -> None:
        for connection in listener.connections:
            connection.abort("away")

    on_loop(replicas.brokers[1], lambda: setattr(listener, "apis", {}))  # every request closes its connection
    on_loop(replicas.brokers[1], close_all)
    replicas.hold(replicas.partition(2).ref.is_alive)
    on_loop(replicas.brokers[1], lambda: setattr(listener, "apis", away))
    replicas.produce(b"after")
    replicas.await_copy()
    assert replicas.payload(2) == replicas.payload(1)


def test_nothing_is_copied_from_a_leader_whose_epoch_is_another(replicas: Replicas) -> None:
    replicas.lead_and_follow()
    replicas.produce(b"before")
    replicas.await_copy()
    replicas.epoch = 2
    replicas.tell(1, 1)
    replicas.produce(b"of epoch 2")
    replicas.hold(lambda: replicas.partition(2).log.log_end_offset == 1)
    replicas.tell(2, 1)
    replicas.await_copy()
    assert replicas.partition(2).log.latest_epoch == 2


def test_a_broker_that_takes_over_copies_no_longer(replicas: Replicas) -> None:
    replicas.lead_and_follow()
    replicas.produce(b"shared")
    replicas.await_copy()
    fetchers = replicas.brokers[2].node._table._fetchers._fetchers
    (fetcher,) = fetchers.values()
    replicas.epoch = 2
    replicas.tell(2, 2)
    wait_until(lambda: not fetcher.ref.is_alive(), TIMEOUT_S, "the fetcher ends")
    assert not fetchers
    assert replicas.produce(b"by the new leader", broker=2) == 0
    replicas.tell(1, 2)
    wait_until(lambda: replicas.partition(1).log.log_end_offset == 2, TIMEOUT_S, "the old leader follows")
    assert replicas.payload(1) == replicas.payload(2)


def test_a_leader_that_registers_later_is_copied_from_then_on(replicas: Replicas) -> None:
    replicas.tell(1, 1)
    replicas.produce(b"v")
    introduce, replicas._introduce = replicas._introduce, lambda *_: None  # type: ignore[method-assign]
    replicas.tell(2, 1)
    assert not replicas.brokers[2].node._table._fetchers._fetchers
    introduce(2, 1)
    on_loop(replicas.brokers[2], replicas.brokers[2].node._table._fetchers.brokers_changed)
    replicas.await_copy()
