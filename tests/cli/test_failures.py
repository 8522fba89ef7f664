"""What cannot work says why, at once, with the next step and the right exit code."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from klamm.client.settings import SETUP_TIMEOUT_S
from tests.cli.conftest import Klamm
from tests.support.brokers import Broker
from tests.support.ports import free_port

Reply = Callable[[socket.socket], None]


@pytest.fixture
def listener() -> Iterator[Callable[[Reply], str]]:
    """Return a function that listens, hands each connection to ``reply`` and returns ``host:port``."""
    sockets: list[socket.socket] = []

    def start(reply: Reply) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        sockets.append(server)

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                sockets.append(connection)
                try:
                    reply(connection)
                except OSError:
                    continue

        threading.Thread(target=accept, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield start
    for each in sockets:
        each.close()


def test_a_refused_connection_is_5_without_a_wait(klamm: Klamm) -> None:
    ran = klamm("topics", "-b", f"127.0.0.1:{free_port()}", "-o", "json")
    assert ran.code == 5, "124 is a wait that was too long"
    assert ran.codes == ["UNREACHABLE_TCP"]
    assert "next: is it running, on that port? klamm doctor" in ran.err


def test_a_broker_that_accepts_and_never_answers_is_124_within_five_seconds(
    klamm: Klamm, listener: Callable[[Reply], str]
) -> None:
    address = listener(lambda _: None)
    assert SETUP_TIMEOUT_S < 5
    ran = klamm("topics", "-b", address, "-o", "json")
    assert ran.code == 124
    assert "did not answer ApiVersions" in ran.err
    assert ran.codes == ["TIMEOUT"]


def test_timeout_bounds_the_whole_command(klamm: Klamm, listener: Callable[[Reply], str]) -> None:
    never = ("-X", "socket.connection.setup.timeout.ms=3600000")
    ran = klamm("topics", "-b", listener(lambda _: None), "--timeout", "500ms", *never)
    assert ran.code == 124
    assert "no result within 0.5 s" in ran.err


def test_a_name_that_does_not_resolve_is_5(klamm: Klamm) -> None:
    ran = klamm("topics", "-b", "no-such-host.invalid:9092")
    assert ran.code == 5
    assert "UNREACHABLE_DNS" in ran.err


def test_an_http_server_is_no_broker(klamm: Klamm, listener: Callable[[Reply], str]) -> None:
    ran = klamm("topics", "-b", listener(lambda each: each.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    assert ran.code == 5
    assert "an HTTP server answered" in ran.err


def test_plaintext_against_tls_says_so(klamm: Klamm, listener: Callable[[Reply], str]) -> None:
    ran = klamm("topics", "-b", listener(lambda each: each.sendall(b"\x15\x03\x03\x00\x02\x02\x46")))
    assert ran.code == 5
    assert "speaks TLS" in ran.err
    assert "security.protocol=SSL" in ran.err


def test_tls_against_plaintext_says_so(klamm: Klamm, listener: Callable[[Reply], str]) -> None:
    ran = klamm("topics", "-b", listener(lambda each: each.close()), "-X", "security.protocol=SSL")
    assert ran.code == 5
    assert "UNREACHABLE_TLS" in ran.err
    assert "PLAINTEXT" in ran.err


def test_a_broker_that_hangs_up_names_the_likely_cause(klamm: Klamm, listener: Callable[[Reply], str]) -> None:
    ran = klamm("topics", "-b", listener(lambda each: each.close()))
    assert ran.code == 5
    assert "may speak TLS" in ran.err


def test_credentials_for_a_listener_that_asks_nobody_are_said_to_be_so(klamm: Klamm, any_broker: Broker) -> None:
    sasl = ("security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=a", "sasl.password=b")
    ran = klamm("topics", "-b", any_broker.bootstrap, *(word for each in sasl for word in ("-X", each)))
    assert (ran.code, "asks nobody who they are" in ran.err) == (5, True), ran.err
    assert "-X security.protocol=PLAINTEXT" in ran.err


def test_tls_against_a_plaintext_broker_says_what_happened(klamm: Klamm, any_broker: Broker) -> None:
    ran = klamm("topics", "-b", any_broker.bootstrap, "-X", "security.protocol=SSL", "-o", "json")
    assert (ran.code, ran.codes) == (5, ["UNREACHABLE_TLS"])
    assert not ran.envelope["errors"][0]["message"].rstrip().endswith(":")


def test_a_file_that_is_not_there_is_told_in_words(klamm: Klamm) -> None:
    for words in (
        ("plan", "none.yaml"),
        ("group", "offsets", "import", "g", "none.json"),
        ("partition", "reassign", "apply", "none.json"),
    ):
        ran = klamm(*words, "-b", "127.0.0.1:1")
        assert (ran.code, "No such file or directory" in ran.err, "Errno" in ran.err) == (2, True, False), ran.err


def test_what_is_refused_in_a_context_is_examined_and_no_broker_started(klamm: Klamm, home: Path) -> None:
    (home / "config.toml").write_text(f'[contexts.far]\nbootstrap = "127.0.0.1:{free_port()}"\n')
    ran = klamm("topics", "-c", "far")
    assert (ran.code, "klamm doctor" in ran.err, "klamm serve" in ran.err) == (5, True, False), ran.err
    doctor = klamm("doctor", "-c", "far")
    assert (doctor.code, "klamm doctor" in doctor.err) == (5, False), doctor.err


def test_a_dead_bootstrap_broker_does_not_hide_the_next(klamm: Klamm, apache_kafka: object) -> None:
    bootstrap = apache_kafka.bootstrap  # type: ignore[attr-defined] # the fixture's class has it
    assert klamm("topics", "-b", f"127.0.0.1:{free_port()},{bootstrap}").code == 0


@pytest.mark.parametrize(
    ("versions", "age", "step"), [((0, 1), "old", "Apache Kafka 0.11"), ((90, 99), "new", "a newer klamm")]
)
def test_a_broker_of_another_age_is_said_to_be_too_old_or_too_new(
    klamm: Klamm, listener: Callable[[Reply], str], versions: tuple[int, int], age: str, step: str
) -> None:
    def reply(connection: socket.socket) -> None:
        request = connection.recv(1000)
        while request:  # version 0, as Apache Kafka 0.10 answers whatever version it is asked in; Metadata is API 3
            error = 35 if request[6:8] != b"\x00\x00" else 0
            served = struct.pack(">hihhhhhh", error, 2, 18, 0, 0, 3, *versions)
            connection.sendall(struct.pack(">i", 4 + len(served)) + request[8:12] + served)
            request = connection.recv(1000)

    ran = klamm("topics", "-b", listener(reply))
    assert ran.code == 5, "124 is a wait that was too long"
    assert f"too {age} for this klamm" in ran.err
    assert step in ran.err


def test_nonsense_behind_a_valid_length_is_no_traceback(klamm: Klamm, listener: Callable[[Reply], str]) -> None:
    def reply(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"\x00\x00\x00\x0a" + b"\x00\x00\x00\x01" + b"\xff" * 6)

    ran = klamm("topics", "-b", listener(reply))
    assert ran.code in {1, 5}
    assert "Traceback" not in ran.err


def test_every_error_in_json_is_an_envelope(klamm: Klamm, home: Path) -> None:
    for words in (("topics", "-b", "127.0.0.1:1"), ("topics", "-c", "nope"), ("undo", "99")):
        ran = klamm(*words, "-o", "json")
        assert ran.code in {2, 5}
        found = json.loads(ran.out)
        assert found["items"] == []
        assert found["errors"]


def test_without_a_context_it_says_how_to_start_a_broker(klamm: Klamm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klamm.client.contexts.DEFAULT_BOOTSTRAP", f"localhost:{free_port()}")
    ran = klamm("topics")
    assert ran.code == 5
    assert "klamm serve" in ran.err


def test_the_address_a_broker_advertises_is_named_when_it_cannot_be_reached(
    klamm: Klamm, apache_kafka: object, home: Path
) -> None:
    node = apache_kafka
    dead = f"127.0.0.1:{free_port()}"
    (home / "config.toml").write_text(
        f'[contexts.far]\nbootstrap = "localhost:{node.port}"\n'  # type: ignore[attr-defined] # as above
        f'[contexts.far.connect]\naddress_map = {{"{node.bootstrap}" = "{dead}"}}\n'  # type: ignore[attr-defined]
    )
    ran = klamm("groups", "-c", "far")
    assert ran.code == 5
    assert "UNREACHABLE_ADVERTISED_HOST" in ran.err
    assert "advertised.listeners" in ran.err
