"""``klamm serve`` on the command line: what it says, what it refuses, and how it ends."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from klamm.storage.log_directory import CLEAN_SHUTDOWN_NAME
from tests.clients.confluent import TIMEOUT_S, create_topic, make_admin, make_producer, produce_values
from tests.conftest import KlammFactory
from tests.support.klamm_process import KlammProcess, klamm_command
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.support.wire import is_serving

pytestmark = pytest.mark.wire


def refused(*arguments: str | Path) -> str:
    """Run ``klamm serve`` with arguments it must refuse; return what it says about them."""
    command = klamm_command("serve", *map(str, arguments))
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    return done.stderr


def test_it_says_in_one_screen_what_it_serves_and_where(klamm_server: KlammProcess) -> None:
    log = klamm_server.log()
    assert klamm_server.bootstrap in log
    assert str(klamm_server.data_directory) in log
    assert len(log.splitlines()) <= 24
    assert "WARNING" not in log


@pytest.fixture
def hangup_heard() -> Iterator[None]:
    """Let what is started hear of SIGHUP, in a run under nohup as well: who inherits it ignored leaves it so."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup_heard")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_exit_code_0(klamm_process: KlammFactory, number: signal.Signals) -> None:
    server = klamm_process().start()
    make_admin(server).list_topics(timeout=TIMEOUT_S)
    process = server._running()
    process.signal(number)
    assert process.wait(TIMEOUT_S) == 0
    assert "Traceback" not in server.log()
    assert (server.data_directory / CLEAN_SHUTDOWN_NAME).exists()


def in_shell(before: str, after: str, *arguments: str | Path) -> list[str]:
    """Return the command line of ``klamm serve`` in a shell that does something before, and with its streams."""
    return ["sh", "-c", f'{before}; exec "$@" {after}', "sh", *klamm_command("serve", *map(str, arguments))]


def serve_and_stop(process: subprocess.Popen[bytes], port: int, *numbers: signal.Signals) -> None:
    """Wait until it serves, send signals (SIGTERM if none is named), and see that it ends with exit code 0."""
    try:
        wait_until(lambda: is_serving(port), TIMEOUT_S, "it serves")
        for number in numbers or (signal.SIGTERM,):
            process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()


def test_under_nohup_it_outlives_its_terminal() -> None:
    port = free_port()
    command = in_shell("trap '' HUP", ">/dev/null 2>&1", "--memory", "--listen", f"127.0.0.1:{port}")
    with subprocess.Popen(command) as process:
        # The first of two that wait is handled first: SIGHUP has the lower number.
        serve_and_stop(process, port, signal.SIGHUP, signal.SIGTERM)


def test_it_serves_and_stops_cleanly_with_its_streams_closed(tmp_path: Path) -> None:
    port, data = free_port(), tmp_path / "data"
    command = in_shell(":", "<&- >&- 2>&-", "--data", data, "--listen", f"127.0.0.1:{port}")
    with subprocess.Popen(command) as process:
        serve_and_stop(process, port)
    assert (data / CLEAN_SHUTDOWN_NAME).exists()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_it_stops_cleanly_when_nobody_reads_what_it_says(tmp_path: Path, stream: str) -> None:
    port, data = free_port(), tmp_path / "data"
    command = klamm_command("serve", "--data", str(data), "--listen", f"127.0.0.1:{port}")
    reading, writing = os.pipe()
    os.close(reading)
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: writing}
    with subprocess.Popen(command, stdout=streams["stdout"], stderr=streams["stderr"]) as process:
        os.close(writing)
        serve_and_stop(process, port)
    assert (data / CLEAN_SHUTDOWN_NAME).exists()


def test_a_signal_ends_it_although_clients_are_connected(klamm_server: KlammProcess, topic: str) -> None:
    producer = make_producer(klamm_server)
    produce_values(producer, topic, [b"value"])
    klamm_server.stop()
    assert not klamm_server.is_running


def test_a_port_in_use_is_said_to_be_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        message = refused("--data", tmp_path / "data", "--listen", address)
    assert address in message
    assert "in use" in message


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid"])  # RFC 5737, RFC 6761: nobody's
def test_an_address_of_another_machine_is_not_said_to_be_in_use(host: str) -> None:
    message = refused("--memory", "--listen", f"{host}:9092")
    assert f"{host}:9092" in message
    assert "an address of this machine" in message
    assert "Unknown error" not in message
    assert "another broker" not in message


def test_a_second_broker_on_the_same_data_is_refused_and_the_first_serves_on(klamm_server: KlammProcess) -> None:
    message = refused("--data", klamm_server.data_directory, "--listen", f"127.0.0.1:{free_port()}")
    assert str(klamm_server.pid) in message
    assert str(klamm_server.data_directory) in message
    make_admin(klamm_server).list_topics(timeout=TIMEOUT_S)


def test_a_data_directory_of_a_newer_format_is_refused_and_left_alone(klamm_process: KlammFactory) -> None:
    server = klamm_process().start()
    server.stop()
    meta = server.data_directory / "klamm.json"
    newer = json.dumps({**json.loads(meta.read_text()), "format_version": 9_999})
    meta.write_text(newer)
    message = refused("--data", server.data_directory, "--listen", server.bootstrap)
    assert "9999" in message
    assert meta.read_text() == newer


def test_a_data_directory_of_apache_kafka_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").write_text("version=1\ncluster.id=abc\nnode.id=1\n")
    assert "Apache Kafka" in refused("--data", tmp_path, "--listen", f"127.0.0.1:{free_port()}")
    assert not (tmp_path / "klamm.json").exists()


def test_data_whose_klamm_json_is_gone_is_served_with_a_warning(klamm_server: KlammProcess, topic: str) -> None:
    produce_values(make_producer(klamm_server), topic, [b"value"])
    klamm_server.stop()
    (klamm_server.data_directory / "klamm.json").unlink()
    klamm_server.start()
    assert topic in make_admin(klamm_server).list_topics(timeout=TIMEOUT_S).topics
    assert "klamm.json is missing beside data" in klamm_server.log()


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    assert str(file) in refused("--data", file, "--listen", f"127.0.0.1:{free_port()}")


@pytest.mark.parametrize("option", ["--data", "--listen", "--advertise", "--config", "--metrics"])
@pytest.mark.parametrize("written", ["{} ", "{}="])
def test_an_empty_value_is_refused_and_nothing_is_made_here(
    option: str, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = written.format(option).split(" ")
    assert "it is empty" in refused(*words)
    assert not list(tmp_path.iterdir())


def test_an_unknown_config_warns_and_names_the_nearest(klamm_process: KlammFactory) -> None:
    server = klamm_process("-X", "num.partition=3").start()
    [warning] = [line for line in server.log().splitlines() if "unknown config" in line]
    assert "num.partition;" in warning
    assert "num.partitions" in warning
    server.stop()


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("num.partitions=0", "num.partitions"),
        ("num.partitions=many", "num.partitions"),
        ("num.partitions", "KEY=VALUE"),
    ],
)
def test_a_config_that_is_wrong_is_refused_by_name(tmp_path: Path, setting: str, expected: str) -> None:
    message = refused("--data", tmp_path / "data", "--listen", f"127.0.0.1:{free_port()}", "-X", setting)
    assert expected in message
    assert not (tmp_path / "data").exists()


def test_a_config_out_of_range_is_refused_with_its_range(tmp_path: Path) -> None:
    message = refused("--data", tmp_path, "--listen", f"127.0.0.1:{free_port()}", "-X", "num.partitions=0")
    assert "1" in message.replace("127.0.0.1", "")


@pytest.mark.parametrize("address", ["127.0.0.1:-1", "SSL://127.0.0.1:9093", "127.0.0.1:99999", "127.0.0.1:http"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    assert address in refused("--data", tmp_path, "--listen", address)


def test_a_config_file_holds_and_the_command_line_overrides_it(klamm_process: KlammFactory, tmp_path: Path) -> None:
    file = tmp_path / "server.properties"
    file.write_text("# ours\nnum.partitions=3\nmessage.max.bytes = 5000\n")
    server = klamm_process("--config", str(file), "-X", "num.partitions=4").start()
    admin = make_admin(server)
    produce_values(make_producer(server), "made-on-first-use", [b"value"])
    assert len(admin.list_topics(timeout=TIMEOUT_S).topics["made-on-first-use"].partitions) == 4
    with pytest.raises(AssertionError):  # too large
        produce_values(make_producer(server), "made-on-first-use", [b"x" * 10_000])
    server.stop()


def test_a_config_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "missing.properties"
    assert str(missing) in refused("--data", tmp_path, "--config", missing)


def test_memory_keeps_nothing_on_disk(tmp_path: Path) -> None:
    port = free_port()
    server = KlammProcess(tmp_path, port=port)
    server.command = lambda *_: klamm_command("serve", "--memory", "--listen", server.bootstrap)  # type: ignore[method-assign]  # without --data
    server.start()
    create_topic(server, "topic")
    assert produce_values(make_producer(server), "topic", [b"value"]) == [0]
    server.stop()
    assert not server.data_directory.exists()
    server.start()
    assert "topic" not in make_admin(server).list_topics(timeout=TIMEOUT_S).topics
    server.stop()


def test_memory_and_data_together_are_refused(tmp_path: Path) -> None:
    assert "--memory" in refused("--memory", "--data", tmp_path)


def test_listening_beyond_loopback_warns_and_advertises_what_it_is_told(klamm_process: KlammFactory) -> None:
    server = klamm_process()
    arguments = ("serve", "--data", str(server.data_directory), "--listen", f"0.0.0.0:{server.port}")
    command = klamm_command(*arguments, "--advertise", f"localhost:{server.port}")
    server.command = lambda *_: command  # type: ignore[method-assign]  # another --listen
    server.start()
    assert "without authentication" in server.log()
    [broker] = make_admin(server).list_topics(timeout=TIMEOUT_S).brokers.values()
    assert f"{broker.host}:{broker.port}" == f"localhost:{server.port}"
    server.stop()


def test_port_0_takes_a_free_port_and_says_which(klamm_process: KlammFactory) -> None:
    server = klamm_process()
    log = server.log_path
    command = klamm_command("serve", "--data", str(server.data_directory), "--listen", "127.0.0.1:0")
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "127.0.0.1:" in server.log(), TIMEOUT_S, "the address is shown")
        server.port = int(server.log().partition("127.0.0.1:")[2].split()[0])
        assert server.port != 0
        make_admin(server).list_topics(timeout=TIMEOUT_S)
    finally:
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
