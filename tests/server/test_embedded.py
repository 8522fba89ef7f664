"""A broker inside another program: what it leaves alone, and how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pykka
import pytest

import klamm
from klamm.model.errors import InvalidConfigError
from klamm.server.controller import NodeController
from klamm.server.embedded import Broker
from klamm.storage.errors import StorageError
from tests.server.replicas import create_topic, on_loop, port_of, produce
from tests.support.process import wait_until
from tests.support.wire import FETCH, WireConnection, fetch_request

pytest_plugins = ["pytester"]


def write(broker: Broker, topic: str, *values: bytes) -> int:
    with WireConnection(port_of(broker)) as connection:
        return produce(connection, topic, *values, acks=-1)


def read(broker: Broker, topic: str, offset: int = 0) -> bytes:
    with WireConnection(port_of(broker)) as connection:
        return connection.request(FETCH, 4, fetch_request(topic, offset, 1_000_000, wait_max_ms=0))


class Bystander(pykka.ThreadingActor):
    """An actor of the host program."""

    def on_receive(self, message: Any) -> Any:
        return message


def loop_policy() -> object:
    return asyncio.get_event_loop_policy()  # pyright: ignore[reportDeprecated]  # hosts on older Pythons set one


def open_files() -> set[tuple[int, int, int]]:
    """Return descriptors and what they are of: those that earlier tests let go of may be closed at any time."""
    found: set[tuple[int, int, int]] = set()
    for name in os.listdir("/dev/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):  # that of the folder itself
            status = os.fstat(int(name))
            found.add((int(name), status.st_dev, status.st_ino))
    return found


def high_watermark(broker: Broker) -> int:
    partition = broker.node.partition("t", 0)
    return 0 if partition is None else partition.state.high_watermark


def threads() -> set[threading.Thread]:
    return set(threading.enumerate())


def test_nobody_can_connect_before_the_broker_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[bool] = []
    register = NodeController.register

    def connect(port: int) -> None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
            refused.append(False)
        except ConnectionRefusedError:
            refused.append(True)

    async def look_then_register(controller: NodeController) -> None:
        await asyncio.to_thread(connect, controller._node.advertised.port)
        await register(controller)

    monkeypatch.setattr(NodeController, "register", look_then_register)
    with Broker() as broker:
        assert refused == [True]
        connect(port_of(broker))
    assert refused == [True, False]


def test_several_brokers_run_in_one_process_and_share_nothing() -> None:
    with klamm.Broker(memory=True) as one, klamm.Broker(memory=True) as two, klamm.Broker() as three:
        assert len({one.bootstrap, two.bootstrap, three.bootstrap}) == 3
        assert len({broker.node.cluster_id for broker in (one, two, three)}) == 3
        for number, broker in enumerate((one, two, three)):
            create_topic(broker, "t")
            assert write(broker, "t", b"of broker %d" % number) == 0
        for number, broker in enumerate((one, two, three)):
            assert read(broker, "t").count(b"of broker") == 1
            assert b"of broker %d" % number in read(broker, "t")


def test_one_broker_stops_and_the_others_go_on() -> None:
    with klamm.Broker(memory=True) as stays:
        create_topic(stays, "t")
        with klamm.Broker(memory=True):
            pass
        assert write(stays, "t", b"v") == 0


def test_the_host_program_is_left_as_it_was() -> None:
    bystander = Bystander.start()
    root = logging.getLogger()
    before = (root.level, list(root.handlers), root.disabled, logging.getLogger("klamm").handlers)
    policy, handlers = loop_policy(), [signal.getsignal(each) for each in (2, 15)]
    running, actors = threads(), pykka.ActorRegistry.get_all()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert limit[0] > 64, "there is room below"
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[0] - 1, limit[1]))
    try:
        with klamm.Broker() as broker:
            create_topic(broker, "t")
            write(broker, "t", b"v")
            assert loop_policy() is policy
            assert [signal.getsignal(each) for each in (2, 15)] == handlers
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (limit[0] - 1, limit[1])
        assert (root.level, list(root.handlers), root.disabled, logging.getLogger("klamm").handlers) == before
        assert loop_policy() is policy
        assert [signal.getsignal(each) for each in (2, 15)] == handlers
        assert bystander.ask("still here", timeout=5) == "still here"
        assert pykka.ActorRegistry.get_all() == actors, "the broker's own actors are gone"
        assert threads() <= running, "the broker's threads are gone"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        bystander.stop()


def test_a_broker_that_cannot_start_leaves_nothing_behind(tmp_path: Path) -> None:
    actors, running = len(pykka.ActorRegistry.get_all()), threads()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match=r"in use; port=0 takes a free port"):
            Broker(port=taken.getsockname()[1], data=tmp_path / "one").start()
    with Broker(data=tmp_path / "two") as holder:
        held = threads()
        with pytest.raises(StorageError, match=r"in use|holds|lock"):
            Broker(data=tmp_path / "two").start()
        assert threads() <= held
        assert holder.bootstrap
    assert len(pykka.ActorRegistry.get_all()) == actors
    assert threads() <= running


def test_everything_is_there_after_a_restart_on_the_same_data(tmp_path: Path) -> None:
    with Broker(data=tmp_path) as broker:
        create_topic(broker, "t")
        assert write(broker, "t", b"kept") == 0
        cluster_id = broker.node.cluster_id
    for _ in range(2):
        with Broker(data=tmp_path) as broker:
            assert broker.node.cluster_id == cluster_id
            assert b"kept" in read(broker, "t")


def test_the_same_broker_can_be_started_again(tmp_path: Path) -> None:
    broker = Broker(data=tmp_path)
    for count in range(3):
        with broker:
            create_topic(broker, "t")
            assert read(broker, "t").count(b"again") == count
            write(broker, "t", b"again")


def test_stopping_twice_is_one_stop_and_starting_twice_an_error() -> None:
    broker = Broker(memory=True).start()
    with pytest.raises(RuntimeError, match="runs already"):
        broker.start()
    broker.stop()
    broker.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = broker.bootstrap


def test_a_temporary_folder_is_gone_when_the_broker_has_stopped() -> None:
    with Broker() as broker:
        folder = broker.data
        assert folder is not None
        assert folder.is_dir()
    assert not folder.exists()


def test_a_forked_child_that_ends_it_takes_nothing_from_its_parent() -> None:
    def child(broker: Broker) -> None:
        assert broker.bootstrap, "a child may be a client"
        broker.__exit__(None, None, None)  # as it leaves the block that it was forked in

    with Broker() as broker:
        create_topic(broker, "t")
        process = multiprocessing.get_context("fork").Process(target=child, args=(broker,))
        process.start()
        process.join(20)
        assert process.exitcode == 0
        assert broker.data is not None
        assert broker.data.is_dir()
        assert write(broker, "t", b"v") == 0


def test_a_forked_child_ends_with_the_exit_code_that_it_gives() -> None:
    program = (
        "import klamm, os, sys\n"
        "with klamm.Broker(), klamm.Broker(memory=True, host='localhost'):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        sys.exit(3)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")


def test_a_name_of_several_addresses_is_listened_on_at_one_port_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> list[Any]:
        hosts = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "192.0.2.1")]
        return [(family, socket.SOCK_STREAM, 6, "", (host, 0)) for family, host in hosts]

    monkeypatch.setattr("klamm.server.listener.socket.getaddrinfo", look_up)
    with Broker(memory=True, host="several.invalid") as broker:
        port = broker.node.advertised.port
        monkeypatch.undo()
        for host in ("127.0.0.1", "127.0.0.2"):  # the third is nobody's here
            socket.create_connection((host, port), timeout=10).close()


def test_every_interface_of_ipv6_takes_ipv4_as_well() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:  # a machine without IPv6, where nobody can ask for this
        hosts = ["127.0.0.1"]
    else:
        hosts = ["127.0.0.1", "::1"]
    with Broker(memory=True, host="::" if "::1" in hosts else "0.0.0.0") as broker:
        port = broker.node.advertised.port
        for host in hosts:
            with socket.create_connection((host, port), timeout=10):
                wait_until(partial(connected, broker, {host}), 20, f"{host} is connected by that name")
            wait_until(partial(connected, broker, set()), 20, "and gone")


def connected(broker: Broker, hosts: set[str]) -> bool:
    listener = broker.node._listener
    assert listener is not None
    return {connection.client_host for connection in listener.connections} == hosts


def test_data_and_memory_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exclude"):
        Broker(data=tmp_path, memory=True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"data": ""}, "empty"),
        ({"host": ""}, "empty"),
        ({"port": 65536}, "port=65536 is no port"),
        ({"port": "9092"}, "port='9092' is no port"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_refused_before_anything_starts(
    arguments: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Broker(**arguments)


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("log.dirs", "/var/x", "data="),
        ("listeners", "PLAINTEXT://:9099", "host= and port="),
        ("klamm.metrics.listen", ":9464", "telemetry=True"),
    ],
)
def test_a_config_that_an_argument_stands_for_warns_and_names_the_argument(name: str, value: str, instead: str) -> None:
    with pytest.warns(UserWarning, match=rf"{name} has no effect.*{instead}"):
        Broker(config={name: value})


def test_a_config_out_of_range_is_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidConfigError, match=r"num\.partitions"):
        Broker(config={"num.partitions": 0})


def test_a_config_of_an_unknown_name_warns_where_it_was_given_and_names_the_nearest() -> None:
    with pytest.warns(UserWarning, match=r"num\.partitons; did you mean num\.partitions") as warned:
        Broker(config={"num.partitons": 3})
    assert warned[0].filename == __file__


def test_a_stop_without_its_folder_says_what_could_not_be_kept() -> None:
    running = threads()
    broker = Broker().start()
    assert broker.data is not None
    shutil.rmtree(broker.data)
    with pytest.raises(StorageError, match="clean-shutdown"):
        broker.stop()
    assert threads() <= running


def test_an_exception_in_the_block_comes_through_and_the_broker_is_gone(tmp_path: Path) -> None:
    running = threads()
    with pytest.raises(ZeroDivisionError), Broker(data=tmp_path):
        _ = 1 / 0
    assert threads() <= running
    with Broker(data=tmp_path):  # and lets go of its data
        pass


def test_it_serves_an_asyncio_program_that_has_a_loop_of_its_own() -> None:
    async def program() -> bytes:
        with Broker(memory=True) as broker:
            await asyncio.to_thread(create_topic, broker, "t")
            await asyncio.to_thread(write, broker, "t", b"v1")
            return await asyncio.to_thread(read, broker, "t")

    assert b"v1" in asyncio.run(program())


def test_it_stops_at_once_and_leaves_no_file_open_under_load() -> None:
    with Broker(memory=True):
        pass  # what is loaded once
    files = open_files()
    ended = threading.Event()

    def load(broker: Broker) -> None:
        with contextlib.suppress(OSError), WireConnection(port_of(broker)) as connection:
            while not ended.is_set():
                produce(connection, "t", b"v" * 1000, acks=-1)

    with Broker() as broker:
        create_topic(broker, "t")
        clients = [threading.Thread(target=load, args=(broker,)) for _ in range(4)]
        for client in clients:
            client.start()
        wait_until(lambda: on_loop(broker, lambda: high_watermark(broker)) > 100, 20, "it is under load")
    ended.set()
    for client in clients:
        client.join(20)
        assert not client.is_alive(), "whoever was connected was closed"
    wait_until(lambda: open_files() <= files, 30, "everything that was opened is closed")


def test_a_broker_that_a_test_forgot_does_not_keep_python_from_ending(pytester: pytest.Pytester) -> None:
    script = pytester.makepyfile("import klamm; klamm.Broker(memory=True).start(); print('started')")
    result = pytester.runpython(script)
    result.stdout.fnmatch_lines(["started"])


def test_its_name_is_offered_before_it_is_loaded() -> None:
    assert "Broker" in dir(klamm)


def test_the_package_brings_a_pytest_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import socket

        def test_it_runs(klamm_broker):
            host, _, port = klamm_broker.bootstrap.rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()

        def test_each_test_has_its_own(klamm_broker):
            assert not klamm_broker.node.partitions
        """
    )
    pytester.runpytest_subprocess("-q").assert_outcomes(passed=2)


def test_a_partition_whose_log_fails_comes_back_with_everything_acknowledged() -> None:
    with Broker(config={"acks.all.single": "flushed"}) as broker:
        create_topic(broker, "t")
        for number in range(10):
            assert write(broker, "t", b"record %d." % number) == 0
        partition = broker.node.partition("t", 0)
        assert partition is not None
        failed = partition.ref
        failed.tell("nonsense that no partition understands")
        wait_until(lambda: not failed.is_alive(), 30, "the actor fails")
        wait_until(lambda: partition.online and partition.ref is not failed, 20, "the partition comes back")
        wait_until(lambda: partition.state.high_watermark == 10, 30, "it leads again")
        found = read(broker, "t")
        assert all(b"record %d." % number in found for number in range(10))
        assert write(broker, "t", b"after") == 0
        assert on_loop(broker, lambda: partition.log.log_end_offset) == 11


def test_a_broker_that_ended_by_itself_says_why_when_it_is_stopped() -> None:
    broker = Broker(memory=True).start()
    ended = broker._thread
    assert ended is not None

    def cancel_all() -> None:
        for task in asyncio.all_tasks():
            task.cancel()

    broker.node.loop.call_soon_threadsafe(cancel_all)
    ended.join(30)
    with pytest.raises(asyncio.CancelledError):
        broker.stop()


def test_a_program_that_ends_without_stopping_its_broker_leaves_no_folder_behind(tmp_path: Path) -> None:
    program = (
        "import klamm, os, sys\n"
        "broker = klamm.Broker().start()\n"
        "if os.fork() == 0:\n"
        "    sys.exit(0)\n"
        "os.wait()\n"
        "assert broker.data.exists(), 'a child ends with nothing of its parent'\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
