"""``klamm schema`` against the registry of the tests."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from klamm.client.registry.http import suspicion
from tests.cli.conftest import Klamm, Ran
from tests.support.schema_registry import RegistryServer, schema_registry


def record(*fields: tuple[str, Any], name: str = "Order") -> str:
    told = [{"name": each, "type": kind} if isinstance(kind, str) else {"name": each, **kind} for each, kind in fields]
    return json.dumps({"type": "record", "name": name, "namespace": "shop", "fields": told})


FIRST = record(("id", "long"))
MORE = record(("id", "long"), ("coupon", {"type": ["null", "string"], "default": None}))
WRONG = record(("id", "long"), ("must", "string"))


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with schema_registry() as running:
        yield running


@pytest.fixture
def run(klamm: Klamm, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch, home: Path) -> Klamm:
    """Run lines with KLAMM_REGISTRY set, and the files of the module's schemas beside."""
    monkeypatch.setenv("KLAMM_REGISTRY", registry.url)
    for name, text in (("first.avsc", FIRST), ("more.avsc", MORE), ("wrong.avsc", WRONG)):
        (home / name).write_text(text)

    def line(*words: str) -> Ran:
        return klamm("schema", *words, "-o", "json")

    return line


def test_a_schema_is_registered_listed_got_compared_and_deleted(run: Klamm, klamm: Klamm) -> None:
    assert run("register", "orders-value", "first.avsc", "-y").items == [
        {"name": "orders-value", "version": 1, "schema_id": 1, "new": True}
    ]
    assert run("register", "orders-value", "more.avsc", "-y").items[0]["version"] == 2
    assert run("list").items == [
        {"name": "orders-value", "type": "AVRO", "versions": [1, 2], "latest_version": 2, "schema_id": 2}
    ]
    got = run("get", "orders-value", "--version", "1").items[0]
    assert (got["schema"], got["schema_id"], got["type"]) == (FIRST, 1, "AVRO")
    assert run("get", "--id", "2").items[0]["used_by"] == [{"subject": "orders-value", "version": 2}]
    assert run("get", "--id", got["guid"]).items[0]["schema"] == FIRST
    shown = klamm("schema", "get", "orders-value")
    assert json.loads(shown.out) == json.loads(MORE)
    assert "id 2" in shown.err
    different = run("diff", "orders-value")
    assert different.code == 3
    assert any(line.startswith("+") and "coupon" in line for line in different.items[0]["diff"])
    assert run("diff", "orders-value", "more.avsc").code == 0
    assert run("delete", "orders-value", "-y").code == 0
    assert run("list").items == []
    assert run("list", "--deleted").items[0]["versions"] == [1, 2]
    assert run("get", "--id", "2").code == 0
    assert run("delete", "orders-value", "--permanent", "-y").code == 4
    assert run("delete", "orders-value", "--permanent", "--confirm", "orders-value").code == 0
    assert run("list", "--deleted").items == []


def test_the_same_schema_again_changes_nothing(run: Klamm, registry: RegistryServer) -> None:
    run("register", "s", "first.avsc", "-y")
    registry.requests.clear()
    again = run("register", "s", "first.avsc")
    assert (again.code, again.items[0]["new"]) == (0, False)
    assert [method for method, _ in registry.requests] == ["POST"]  # it was looked up


def test_what_is_not_compatible_is_refused_with_the_reason(run: Klamm) -> None:
    run("register", "s", "first.avsc", "-y")
    checked = run("check", "s", "wrong.avsc")
    assert (checked.code, checked.items[0]["compatible"]) == (3, False)
    assert "must has no default" in checked.items[0]["messages"][0]
    refused = run("register", "s", "wrong.avsc", "-y")
    assert (refused.code, refused.codes) == (1, ["INCOMPATIBLE_SCHEMA"])
    assert "not compatible: new reads old: must has no default" in refused.err
    assert run("check", "s", "more.avsc").code == 0


def test_a_mistyped_subject_names_the_near_one_whatever_is_asked(run: Klamm) -> None:
    run("register", "orders-value", "first.avsc", "-y")
    for line in (("get", "order-value"), ("check", "order-value", "more.avsc"), ("compat", "order-value"),
                 ("mode", "order-value"), ("delete", "order-value"), ("diff", "order-value")):  # fmt: skip
        ran = run(*line)
        assert (ran.code, ran.codes) == (2, ["SUBJECT_NOT_FOUND"]), line
        assert "Did you mean 'orders-value'?" in ran.err


def test_a_level_without_set_is_no_subject_and_says_how_it_is_set(run: Klamm, klamm: Klamm) -> None:
    run("register", "orders-value", "first.avsc", "-y")
    ran = run("compat", "orders-value", "FULL")
    assert (ran.code, [item["name"] for item in ran.items]) == (1, ["orders-value"])
    assert "klamm schema compat SUBJECT --set FULL" in ran.err
    assert "there is no such subject yet" in klamm("schema", "compat", "new", "--set", "FULL", "-y").err
    assert run("compat", "new").items[0]["value"] == "FULL", "a subject may have a level before it has a version"


def test_a_dry_run_and_nobody_to_confirm_change_nothing(run: Klamm, registry: RegistryServer) -> None:
    assert run("register", "s", "first.avsc", "--dry-run").code == 0
    assert (run("register", "s", "first.avsc").code, registry.subjects) == (4, {})
    run("register", "s", "first.avsc", "-y")
    assert run("compat", "s", "--set", "NONE").code == 4
    assert run("delete", "s").code == 4
    assert len(registry.subjects["s"]) == 1
    assert registry.levels == {"": "BACKWARD"}


def test_level_and_mode_are_shown_set_and_taken_back(run: Klamm) -> None:
    run("register", "s", "first.avsc", "-y")
    assert run("compat").items[0]["value"] == "BACKWARD"
    assert run("compat", "s").items == [{"name": "s", "value": "BACKWARD", "own": False, "changed": False}]
    changed = run("compat", "s", "--set", "NONE", "-y")
    assert changed.items == [{"name": "s", "value": "NONE", "own": True, "changed": True}]
    assert "Undo with: klamm undo" in changed.err
    assert run("register", "s", "wrong.avsc", "-y").code == 0
    assert run("compat", "s", "--unset", "-y").items[0]["value"] == "BACKWARD"
    assert run("mode", "s", "--set", "READONLY", "-y").items[0]["value"] == "READONLY"
    frozen = run("register", "s", "more.avsc", "-y")
    assert (frozen.code, frozen.codes) == (1, ["OPERATION_NOT_PERMITTED"])
    assert run("compat", "s", "--set", "SIDEWAYS").code == 2


def test_references_come_before_what_refers_to_them(run: Klamm, registry: RegistryServer, home: Path) -> None:
    (home / "sale.avsc").write_text(record(("order", "shop.Order"), name="Sale"))
    alone = run("register", "sale", "sale.avsc", "-y")
    assert (alone.code, "--reference" in alone.err) == (2, True)
    run("register", "order", "first.avsc", "-y")
    made = run("register", "sale", "sale.avsc", "--reference", "shop.Order=order:1", "-y")
    assert made.code == 0, made.err
    kept = run("delete", "order", "-y")
    assert (kept.code, kept.codes) == (1, ["REFERENCE_EXISTS"])
    with schema_registry() as other:
        copied = run("cp", "sale", "--to-registry", other.url, "-y")
        assert [(each["name"], each["copied"]) for each in copied.items] == [("order", True), ("sale", True)]
        assert sorted(other.subjects) == ["order", "sale"]
        again = run("cp", "--to-registry", other.url)
        assert (again.code, [each["copied"] for each in again.items]) == (0, [False, False])


def test_ids_are_kept_where_that_is_asked_for(run: Klamm, registry: RegistryServer, home: Path) -> None:
    for number in range(3):
        (home / "x.avsc").write_text(record((f"f{number}", "long"), name=f"X{number}"))
        run("register", f"s{number}", "x.avsc", "-y")
    with schema_registry() as other:
        copied = run("cp", "s2", "--to-registry", other.url, "--keep-ids", "-y")
        assert (copied.items[0]["schema_id_from"], copied.items[0]["schema_id"]) == (3, 3)
        assert (list(other.stored), other.modes) == ([3], {"": "READWRITE"})


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (("get", "order-value"), 2, "SUBJECT_NOT_FOUND"),
        (("get", "orders-value", "--version", "7"), 1, "VERSION_NOT_FOUND"),
        (("get", "--id", "99"), 1, "SCHEMA_NOT_FOUND"),
        (("get",), 2, "USAGE"),
        (("list", "order-value"), 2, "SUBJECT_NOT_FOUND"),
        (("delete", "orders-value", "--version", "7", "-y"), 1, "VERSION_NOT_FOUND"),
        (("register", "s", "gone.avsc"), 2, "SETTINGS"),
        (("register", "s", "first.txt"), 2, "SETTINGS"),
        (("register", "s", "broken.avsc"), 2, "SETTINGS"),
        (("cp",), 2, "USAGE"),
        (("compat", "--unset", "-y"), 2, "USAGE"),
    ],
)
def test_a_mistake_is_named(run: Klamm, home: Path, words: tuple[str, ...], code: int, error: str) -> None:
    (home / "broken.avsc").write_text('{"type": "recrod"}')
    run("register", "orders-value", "first.avsc", "-y")
    ran = run(*words)
    assert (ran.code, ran.codes) == (code, [error])
    if "order-value" in words:
        assert "Did you mean 'orders-value'" in ran.err


def test_without_a_registry_one_is_told_how_to_say_where_it_is(klamm: Klamm) -> None:
    ran = klamm("schema", "list", "-b", "localhost:1", "-o", "json")
    assert (ran.code, ran.codes) == (2, ["SETTINGS"])
    assert "KLAMM_REGISTRY" in ran.err


def test_a_registry_that_does_not_answer_is_unreachable(klamm: Klamm) -> None:
    ran = klamm("schema", "list", "--registry", "http://127.0.0.1:1", "-o", "json")
    assert (ran.code, ran.codes) == (5, ["UNREACHABLE_REGISTRY"])


def test_credentials_in_the_url_are_refused_and_not_shown(klamm: Klamm) -> None:
    ran = klamm("schema", "list", "--registry", "http://ada:s3cret@127.0.0.1:1", "-o", "json")
    assert (ran.code, ran.codes) == (2, ["SETTINGS"])
    assert "username and password" in ran.err
    assert "s3cret" not in ran.out + ran.err


def context(home: Path, **registry: str) -> None:
    lines = ['current = "c"', "[contexts.c]", 'bootstrap = "localhost:1"', "[contexts.c.registry]"]
    (home / "config.toml").write_text("\n".join([*lines, *(f"{key} = '{value}'" for key, value in registry.items())]))


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"username": "ada", "password": "${env:REGISTRY_PASSWORD}"}, 0),
        ({'"basic.auth.user.info"': "ada:s3cret"}, 0),
        ({"token": "t0ken"}, 0),
        ({"username": "ada", "password": "wrong"}, 5),
        ({}, 5),
    ],
)
def test_credentials_of_the_context_are_used_and_not_shown(
    klamm: Klamm, home: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], code: int
) -> None:
    monkeypatch.setenv("REGISTRY_PASSWORD", "s3cret")
    with schema_registry(user_info="ada:s3cret", token="t0ken") as registry:
        context(home, url=registry.url, **given)
        ran = klamm("schema", "list", "-o", "json")
        assert ran.code == code, ran.err
        assert code == 0 or ran.codes == ["UNREACHABLE_REGISTRY_AUTH"]
        assert ("wants credentials, and there are none" in ran.err) == (not given)
        shown = klamm("context", "show", "--origin")
        assert "s3cret" not in shown.out
        assert "t0ken" not in shown.out
        # Another registry never gets them.
        assert klamm("schema", "list", "--registry", registry.url).code == 5


@pytest.mark.parametrize(
    ("cause", "url", "said"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "https://r", "ssl.certificate.location"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "https://r", "ssl.ca.location"),
        ("Connection reset by peer", "http://r", "https://"),
        ("Connection refused", "https://r", "curl it"),
    ],
)
def test_what_is_wrong_with_a_registrys_address_is_guessed_from_what_was_heard(cause: str, url: str, said: str) -> None:
    assert said in suspicion(cause, url)


def test_a_registry_may_want_a_client_certificate(klamm: Klamm, home: Path) -> None:
    key, certificate = home / "key.pem", home / "cert.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *names, *files], check=True, capture_output=True
    )
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    tls.load_cert_chain(certificate, key)
    tls.verify_mode = ssl.CERT_REQUIRED
    with schema_registry(tls=tls) as registry:
        mine = {"ssl.certificate.location": str(certificate), "ssl.key.location": str(key)}
        context(home, url=registry.url, **{"ssl.ca.location": str(certificate)}, **mine)
        assert klamm("schema", "list").code == 0
        context(home, url=registry.url, **{"ssl.ca.location": str(certificate)})
        assert klamm("schema", "list").code == 5
        context(home, url=registry.url)
        unknown = klamm("schema", "list")
        assert (unknown.code, "ssl.ca.location" in unknown.err) == (5, True)


@pytest.mark.parametrize(("line", "hint"), [("read_only = true", "read-only"), ('env = "prod"', "--write")])
def test_a_context_that_may_not_change_its_cluster_may_not_change_its_registry(
    klamm: Klamm, home: Path, registry: RegistryServer, line: str, hint: str
) -> None:
    context(home, url=registry.url)
    text = (home / "config.toml").read_text()
    (home / "config.toml").write_text(text.replace("[contexts.c]\n", f"[contexts.c]\n{line}\n"))
    (home / "first.avsc").write_text(FIRST)
    ran = klamm("schema", "register", "s", "first.avsc", "-y")
    assert ran.code == 4
    assert hint in ran.err
    assert klamm("schema", "check", "s", "first.avsc").code == 2  # reading is allowed, and there is no such subject
    assert registry.subjects == {}


def _undo(klamm: Klamm, *words: str) -> Ran:
    return klamm("undo", *words, "--yes", "-o", "json")


def test_a_registration_is_undone_and_done_again_with_no_broker(
    run: Klamm, klamm: Klamm, registry: RegistryServer
) -> None:
    run("register", "orders-value", "first.avsc", "-y")
    registered = run("register", "orders-value", "more.avsc", "-y")
    number = registered.err.split("Undo with: klamm undo ")[1].split()[0]
    assert _undo(klamm, number).code == 0
    assert run("list").items[0]["versions"] == [1]
    assert run("list", "--deleted").items[0]["versions"] == [1, 2]
    listed = klamm("undo", "--list", "-o", "json").items
    assert [(each["summary"], each["can_undo"]) for each in listed[:2]] == [
        (f"undid {number}: registered version 2 of orders-value", "yes"),
        ("registered version 2 of orders-value", "done"),
    ]
    assert _undo(klamm, listed[0]["name"]).code == 0
    assert run("list").items[0]["versions"] == [1, 3]
    assert json.loads(run("get", "orders-value").items[0]["schema"]) == json.loads(MORE)


def test_a_deletion_is_undone_with_every_version_but_not_their_numbers(run: Klamm, klamm: Klamm) -> None:
    run("register", "orders-value", "first.avsc", "-y")
    run("register", "orders-value", "more.avsc", "-y")
    deleted = run("delete", "orders-value", "-y")
    assert "(not the numbers of the versions)" in deleted.err
    assert _undo(klamm).code == 0
    there = run("list").items[0]
    assert (there["versions"], there["schema_id"]) == ([3, 4], 2)
    assert json.loads(run("get", "orders-value", "--version", "3").items[0]["schema"]) == json.loads(FIRST)
    run("delete", "orders-value", "-y")
    run("delete", "orders-value", "--permanent", "--confirm", "orders-value")
    gone = klamm("undo", "--list", "-o", "json").items[0]
    assert (gone["can_undo"], gone["cannot"]) == ("no", "records written with it cannot be decoded any more")


def test_levels_and_modes_go_back_to_what_they_were(run: Klamm, klamm: Klamm, registry: RegistryServer) -> None:
    run("register", "s", "first.avsc", "-y")
    run("compat", "s", "--set", "FULL", "-y")
    run("compat", "s", "--set", "NONE", "-y")
    run("mode", "--set", "READONLY", "-y")
    assert _undo(klamm).code == 0
    assert registry.modes == {"": "READWRITE"}
    assert _undo(klamm).code == 0
    assert registry.levels["s"] == "FULL"
    assert _undo(klamm).code == 0
    assert "s" not in registry.levels
    redo = klamm("undo", "--list", "-o", "json").items[0]["name"]
    assert _undo(klamm, redo).code == 0
    assert registry.levels["s"] == "FULL"


def test_a_copy_is_undone_in_the_registry_it_went_to_and_in_no_other(
    run: Klamm, klamm: Klamm, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("register", "orders-value", "first.avsc", "-y")
    run("register", "orders-value", "more.avsc", "-y")
    with schema_registry() as other:
        copied = run("cp", "orders-value", "--to-registry", other.url, "-y")
        assert copied.code == 0, copied.err
        with schema_registry() as third:
            monkeypatch.setenv("KLAMM_REGISTRY", third.url)
            assert _undo(klamm).code == 0, "the line named its registry, and so does the journal"
            assert other.answer("GET", "/subjects", None, None) == []
            assert registry.answer("GET", "/subjects/orders-value/versions", None, None) == [1, 2]
            run("register", "s", "first.avsc", "-y")
            monkeypatch.setenv("KLAMM_REGISTRY", registry.url)
            refused = _undo(klamm)
            assert (refused.code, refused.codes) == (4, ["REFUSED"])
            assert "the change was made in the registry" in refused.err
            assert third.answer("GET", "/subjects", None, None) == ["s"]


def test_a_read_only_context_may_be_copied_from(
    run: Klamm, klamm: Klamm, home: Path, registry: RegistryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("register", "orders-value", "first.avsc", "-y")
    with schema_registry() as other:
        lines = ["[contexts.prod]", 'bootstrap = "127.0.0.1:1"', "read_only = true", "[contexts.prod.registry]"]
        lines += [f'url = "{registry.url}"', "[contexts.staging]", 'bootstrap = "127.0.0.1:1"']
        lines += ["[contexts.staging.registry]", f'url = "{other.url}"']
        (home / "config.toml").write_text("\n".join(lines) + "\n")
        monkeypatch.delenv("KLAMM_REGISTRY")
        copied = klamm("schema", "cp", "orders-value", "-c", "prod", "--to-context", "staging", "-y", "-o", "json")
        assert copied.code == 0, copied.err
        assert other.answer("GET", "/subjects", None, None) == ["orders-value"]
        assert klamm("undo", "--list", "-o", "json").items[0]["context"] == "staging"
        assert klamm("undo", "-c", "prod", "--yes").code == 4
        assert klamm("undo", "-c", "staging", "--yes").code == 0
        assert other.answer("GET", "/subjects", None, None) == []
        assert klamm("schema", "cp", "-c", "staging", "--to-context", "prod", "-y").code == 0, "nothing to copy"
        back = klamm("schema", "register", "s", "first.avsc", "-c", "prod", "-y")
        assert back.code == 4
