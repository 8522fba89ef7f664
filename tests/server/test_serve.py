"""What ``klamm serve`` makes of its flags, its config file and the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from klamm.server.options import Address, AddressError
from klamm.server.serve import ServeOptions, UsageError, configure


@pytest.fixture
def properties(tmp_path: Path) -> Path:
    """Return a config file, as Kafka's users write them."""
    path = tmp_path / "server.properties"
    path.write_text(
        "# a comment\n"
        "node.id=4\n"
        "num.partitions = 3\n"
        "listeners=CONTROLLER://:9093,PLAINTEXT://127.0.0.1:19092\n"
        "advertised.listeners=PLAINTEXT://kafka.example:29092\n"
        f"log.dirs={tmp_path / 'from-file'}\n"
    )
    return path


def test_without_anything_it_is_on_the_loopback_on_9092_in_the_users_data_directory() -> None:
    config, options, warnings = configure(ServeOptions())
    assert options.listen == Address("127.0.0.1", 9092)
    assert options.data is not None
    assert options.data.name == "klamm"
    assert (config.num_partitions, config.acks_all_single, warnings) == (1, "flushed", [])


def test_the_file_says_what_the_flags_do_not(properties: Path, tmp_path: Path) -> None:
    config, options, warnings = configure(ServeOptions(config=properties))
    assert (config.node_id, config.num_partitions) == (4, 3)
    assert options.listen == Address("127.0.0.1", 19092)
    assert options.advertised == Address("kafka.example", 29092)
    assert options.data == tmp_path / "from-file"
    assert warnings == []


def test_x_is_above_the_file_and_flags_are_above_both(properties: Path, tmp_path: Path) -> None:
    overrides = ("num.partitions=5", "listeners=PLAINTEXT://127.0.0.1:1", f"log.dirs={tmp_path / 'x'}")
    config, options, _ = configure(ServeOptions(config=properties, overrides=overrides))
    assert (config.num_partitions, options.listen.port, options.data) == (5, 1, tmp_path / "x")
    flags = ServeOptions(tmp_path / "flag", "127.0.0.1:2", "me:3", properties, overrides)
    _, options, _ = configure(flags)
    assert (options.data, options.listen.port, options.advertised) == (tmp_path / "flag", 2, Address("me", 3))


def test_an_advertised_name_has_the_port_that_is_listened_on_if_none_is_given() -> None:
    _, options, _ = configure(ServeOptions(memory=True, listen="127.0.0.1:19092", advertise="broker.example"))
    assert options.advertised == Address("broker.example", 19092)


@pytest.mark.parametrize(("advertise", "warned"), [("", True), ("broker.example", False)])
def test_listening_everywhere_warns_that_clients_are_sent_to_localhost(advertise: str, *, warned: bool) -> None:
    _, _, warnings = configure(ServeOptions(memory=True, listen="0.0.0.0:9092", advertise=advertise))
    assert any("sent to localhost" in warning for warning in warnings) == warned


def test_memory_keeps_nothing_and_waits_for_no_flush_unless_asked_to() -> None:
    config, options, _ = configure(ServeOptions(memory=True))
    assert (options.data, config.acks_all_single) == (None, "written")
    config, _, _ = configure(ServeOptions(memory=True, overrides=("acks.all.single=flushed",)))
    assert config.acks_all_single == "flushed"


def test_an_unknown_key_warns_and_names_the_nearest_one() -> None:
    _, _, warnings = configure(ServeOptions(memory=True, overrides=("num.partition=3",)))
    (warning,) = warnings
    assert "num.partition" in warning
    assert "num.partitions" in warning.replace("num.partition ", "")


@pytest.mark.parametrize("listen", ["0.0.0.0:9092", ":9092", "192.0.2.1:9092"])
def test_listening_for_others_warns_that_nobody_has_to_log_in(listen: str) -> None:
    _, _, warnings = configure(ServeOptions(memory=True, listen=listen))
    assert any("without authentication" in warning for warning in warnings)


def test_listeners_that_are_not_served_are_named() -> None:
    several = "PLAINTEXT://127.0.0.1:9092,SSL://127.0.0.1:9093,CONTROLLER://127.0.0.1:9094"
    _, options, warnings = configure(ServeOptions(memory=True, overrides=(f"listeners={several}",)))
    assert options.listen.port == 9092
    assert warnings == ["one of listeners is listened on, 127.0.0.1:9092: not SSL://127.0.0.1:9093"]
    _, _, warnings = configure(ServeOptions(memory=True, listen="127.0.0.1:9092", overrides=(f"listeners={several}",)))
    assert warnings == []


NAMED = (
    "listeners=LAN://0.0.0.0:19092,WAN://127.0.0.1:29092,RAFT://127.0.0.1:9093",
    "advertised.listeners=WAN://kafka.example:29092,LAN://kafka:19092",
    "controller.listener.names=RAFT",
)


def test_listeners_have_names_and_what_is_advertised_is_that_of_the_one_served() -> None:
    plain = "listener.security.protocol.map=LAN:PLAINTEXT,WAN:PLAINTEXT,RAFT:PLAINTEXT"
    _, options, warnings = configure(ServeOptions(memory=True, overrides=(*NAMED, plain)))
    assert (options.listen, options.advertised) == (Address("0.0.0.0", 19092), Address("kafka", 19092))
    assert "not WAN://127.0.0.1:29092" in warnings[0]


def test_the_first_listener_that_needs_nothing_but_plaintext_is_served() -> None:
    secure = "listener.security.protocol.map=LAN:SASL_SSL,WAN:PLAINTEXT,RAFT:PLAINTEXT"
    _, options, _ = configure(ServeOptions(memory=True, overrides=(*NAMED, secure)))
    assert (options.listen, options.advertised) == (Address("127.0.0.1", 29092), Address("kafka.example", 29092))
    with pytest.raises(
        UsageError, match=r"'LAN://0\.0\.0\.0:19092': only PLAINTEXT listeners are served, not SASL_SSL"
    ):
        configure(ServeOptions(overrides=(*NAMED, secure.replace("WAN:PLAINTEXT", "WAN:SSL"))))


@pytest.mark.parametrize("content", [b"\xef\xbb\xbfnum.partitions=3\r\n", "# für\nnum.partitions=3".encode("latin-1")])
def test_a_file_is_read_as_editors_and_java_write_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_bytes(content)
    config, _, warnings = configure(ServeOptions(memory=True, config=path))
    assert (config.num_partitions, warnings) == (3, [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"num.partitions=0", "server.properties: Invalid value 0 for configuration num.partitions"),
        (b"num.partitions=3 # three", "a comment needs a line of its own"),
        (b"listeners=SSL://:9092", "server.properties: .*only PLAINTEXT"),
        (b"\x00\x01", "server.properties is no text"),
        (b"a=\\u00g", "server.properties: malformed"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=reason):
        configure(ServeOptions(memory=True, config=path))


def test_what_is_wrong_on_the_command_line_is_not_said_of_the_file(properties: Path) -> None:
    with pytest.raises(UsageError, match=r"^Invalid value 0"):
        configure(ServeOptions(config=properties, overrides=("num.partitions=0",)))


def test_of_several_data_directories_the_first_is_used_and_the_others_are_named() -> None:
    _, options, warnings = configure(ServeOptions(overrides=("log.dirs=/var/a,/var/b",)))
    assert (options.data, warnings) == (Path("/var/a"), ["one data directory is used, /var/a: not /var/b"])


def test_a_tilde_that_the_shell_left_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "server.properties").write_text("num.partitions=3")
    config, options, _ = configure(ServeOptions(data=Path("~/data"), config=Path("~/server.properties")))
    assert (options.data, config.num_partitions) == (tmp_path / "data", 3)


def test_metrics_cannot_be_where_clients_connect() -> None:
    with pytest.raises(UsageError, match=r"--metrics and --listen are both 127\.0\.0\.1:9092"):
        configure(ServeOptions(memory=True, metrics="127.0.0.1:9092"))


@pytest.mark.parametrize("listen", ["127.0.0.1:9092", "localhost:9092", "[::1]:9092"])
def test_listening_on_the_loopback_warns_of_nothing(listen: str) -> None:
    assert configure(ServeOptions(memory=True, listen=listen))[2] == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (ServeOptions(overrides=("num.partitions=0",)), r"num\.partitions"),
        (ServeOptions(overrides=("num.partitions=many",)), r"num\.partitions"),
        (ServeOptions(overrides=("num.partitions",)), "KEY=VALUE"),
        (ServeOptions(overrides=("=3",)), "KEY=VALUE"),
        (ServeOptions(listen="127.0.0.1:99999"), "99999"),
        (ServeOptions(listen="9095"), r"a port alone: write 127\.0\.0\.1:9095"),
        (ServeOptions(listen="SSL://127.0.0.1:1"), "only PLAINTEXT"),
        (ServeOptions(listen="::1:9092"), "brackets"),
        (ServeOptions(advertise="host:port"), "port"),
        (ServeOptions(advertise="0.0.0.0:9092"), "clients cannot connect to 0.0.0.0:9092"),
        (ServeOptions(advertise=":9092"), "give --advertise the name or address"),
        (ServeOptions(data=Path("d"), memory=True), "--memory"),
        (ServeOptions(config=Path("no/such/file")), "cannot read"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_says_what_was_expected(options: ServeOptions, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        configure(options)


def test_a_value_out_of_range_says_the_range() -> None:
    with pytest.raises(UsageError, match="1") as refused:
        configure(ServeOptions(memory=True, overrides=("num.partitions=0",)))
    assert "0" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("host:1", Address("host", 1), "host:1"),
        ("host", Address("host", 9092), "host:9092"),
        (":1", Address("0.0.0.0", 1), "0.0.0.0:1"),
        ("PLAINTEXT://host:1", Address("host", 1), "host:1"),
        ("plaintext://:1", Address("0.0.0.0", 1), "0.0.0.0:1"),
        ("[::1]:1", Address("::1", 1), "[::1]:1"),
        ("[::1]", Address("::1", 9092), "[::1]:9092"),
    ],
)
def test_an_address_is_read_and_written(text: str, address: Address, written: str) -> None:
    assert Address.parse(text) == address
    assert str(address) == written


@pytest.mark.parametrize(
    "text", ["host:", "host:x", "host:-1", "host:65536", "a:b:c", "[::1]x", "[::1", "[::1]9092", "a:1,b:2", "a :1"]
)
def test_what_is_no_address_is_refused_or_gets_the_default_port(text: str) -> None:
    if text == "host:":
        assert Address.parse(text) == Address("host", 9092)
    else:
        with pytest.raises(AddressError):
            Address.parse(text)
