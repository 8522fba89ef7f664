"""Client properties: what klamm reads, what others do, and what nobody does."""

from pathlib import Path

import pytest

from klamm.client.context_file import read_file
from klamm.client.messages.librdkafka import configuration
from klamm.client.property_names import JAVA, KLAMM, LIBRDKAFKA
from klamm.client.settings import Settings, parse_bootstrap
from tests.cli.conftest import Klamm
from tests.support.process import LocalServer


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("securty.protocol", "security.protocol"),
        ("Security_Protocol", "security.protocol"),
        ("sasl.pasword", "sasl.password"),
        ("linger.msec", "linger.ms"),
    ],
)
def test_a_mistyped_property_is_refused_with_the_near_one_and_nothing_is_connected_to(
    klamm: Klamm, name: str, near: str
) -> None:
    ran = klamm("topics", "-b", "127.0.0.1:1", "-X", f"{name}=x")
    assert ran.code == 2
    assert f"-X {name}" in ran.err
    assert repr(near) in ran.err


def test_a_mistyped_property_of_the_environment_names_its_variable(
    klamm: Klamm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLAMM_X_SASL_PASWORD", "secret")
    ran = klamm("topics", "-b", "127.0.0.1:1")
    assert ran.code == 2
    assert "KLAMM_X_SASL_PASWORD" in ran.err
    assert "'sasl.password'" in ran.err
    assert "secret" not in ran.err


@pytest.mark.parametrize("written", ['"sasl.mechansim" = "PLAIN"', 'sasl.mechansim = "PLAIN"'])
def test_a_mistyped_property_of_a_context_names_file_context_and_the_near_one(
    klamm: Klamm, home: Path, written: str
) -> None:
    (home / "config.toml").write_text(f"[contexts.a]\nbootstrap = '127.0.0.1:1'\n[contexts.a.kafka]\n{written}\n")
    ran = klamm("topics", "-c", "a")
    assert ran.code == 2
    assert "config.toml: [contexts.a.kafka]: sasl.mechansim" in ran.err
    assert "'sasl.mechanism'" in ran.err


def test_properties_of_a_context_may_stand_without_quotes(klamm: Klamm, home: Path) -> None:
    (home / "config.toml").write_text('[contexts.a.kafka]\nsecurity.protocol = "SASL_SSL"\nlinger.ms = 4\n')
    shown = {item["name"]: item for item in klamm("context", "show", "a", "-o", "json").items}
    assert shown["kafka.security.protocol"]["value"] == "SASL_SSL"
    assert shown["kafka.security.protocol"]["used_by"] == "klamm"
    assert "librdkafka" in shown["kafka.linger.ms"]["used_by"]


def test_what_others_have_is_taken_and_said(klamm: Klamm, shared_klamm: LocalServer) -> None:
    words = ("topics", "-b", shared_klamm.bootstrap, "-X", "linger.ms=3", "-X", "key.serializer=x", "-X", "client.id=y")
    ran = klamm(*words)
    assert ran.code == 0
    assert "-X linger.ms changes nothing here. It is for librdkafka" in ran.err
    assert "-X key.serializer changes nothing here. It is for Java's clients only" in ran.err
    assert "client.id" not in ran.err
    assert "linger" not in klamm(*words, "-q").err


def test_librdkafka_is_given_its_own_properties_only() -> None:
    properties = {"linger.ms": "3", "key.serializer": "x", "ssl.truststore.password": "y", "sasl.mechanisms": "PLAIN"}
    config = configuration(Settings(parse_bootstrap("h:1"), properties))
    assert config["linger.ms"] == "3"
    assert config["sasl.mechanism"] == "PLAIN"
    assert not set(config) - LIBRDKAFKA - {"bootstrap.servers", "client.id", "log_level"}


def test_no_name_is_listed_twice() -> None:
    assert not JAVA & (KLAMM | LIBRDKAFKA)


def test_what_no_client_has_is_left_out_of_an_import_and_said(klamm: Klamm, home: Path) -> None:
    text = "bootstrap.servers=h:1\nsasl.mechansim=PLAIN\nsasl.username=u\nsecurty.protocol=SSL\ngroup.id=g\n"
    (home / "client.properties").write_text(text)
    ran = klamm("context", "import", "properties", "client.properties")
    assert ran.code == 0
    assert "sasl.mechansim is left out" in ran.err
    assert (
        "securty.protocol is left out, for no Kafka client has such a property. Did you mean 'security.protoc"
        in ran.err
    )
    assert "group.id" not in ran.err
    assert read_file(home / "config.toml")["contexts"]["client"]["kafka"] == {"sasl.username": "u"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[contexts.a]\nkafka = "x"', "kafka must be a table: [contexts.a.kafka]"),
        ("[contexts.a]\nconnect = 3", "connect must be a table"),
        ('[contexts.a]\nread_only = "false"', "read_only must be true or false"),
        ("[contexts.a]\nprotect = 3", "protect must be a list of texts"),
        ("[contexts.a]\nbootstrap = 5", "bootstrap must be a list of texts"),
        ("[contexts]\na = 5", "contexts must be tables"),
        ("current = 3\n[contexts.a]", "current must be a context's name"),
        ("[contexts.a.connect]\naddres_map = {}", "did you mean 'address_map'"),
    ],
)
def test_a_value_of_the_wrong_kind_in_a_context_is_said_and_not_guessed(
    klamm: Klamm, home: Path, text: str, said: str
) -> None:
    (home / "config.toml").write_text(text + "\n")
    ran = klamm("topics", "-c", "a")
    assert ran.code == 2
    assert said in ran.err
    assert "internal error" not in ran.err


def test_one_glob_to_protect_is_a_glob_and_no_list_of_letters(klamm: Klamm, home: Path) -> None:
    (home / "config.toml").write_text("[contexts.a]\nbootstrap = 'h:1,i:2'\nprotect = 'orders*'\n")
    shown = {item["name"]: item["value"] for item in klamm("context", "show", "a", "-o", "json").items}
    assert shown["protect"] == "orders*"
    assert shown["bootstrap"] == "h:1,i:2"
