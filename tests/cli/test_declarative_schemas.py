"""``dump``, ``diff``, ``plan``, ``apply`` of schemas, and ``undo`` of what they did, with a registry and a broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Klamm, Ran
from tests.cli.test_schema import FIRST, MORE, WRONG
from tests.support.brokers import Broker
from tests.support.schema_registry import RegistryServer, schema_registry

PROTO = 'syntax = "proto3";\nmessage Shop {\n  string name = 1;\n}\n'
MONEY = json.dumps(
    {"type": "record", "name": "Money", "namespace": "shop", "fields": [{"name": "cents", "type": "long"}]}
)
PRICED = json.dumps(
    {"type": "record", "name": "Priced", "namespace": "shop", "fields": [{"name": "price", "type": "shop.Money"}]}
)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryServer]:
    with schema_registry() as running:
        monkeypatch.setenv("KLAMM_REGISTRY", running.url)
        yield running


class Files:
    """Lines about ``cluster.yaml``, on one broker."""

    def __init__(self, klamm: Klamm, broker: Broker, folder: Path) -> None:
        self._klamm, self._broker, self._folder = klamm, broker, folder

    def write(self, schemas: dict[str, Any]) -> None:
        (self._folder / "cluster.yaml").write_text(yaml.safe_dump({"klamm": 1, "schemas": schemas}, sort_keys=False))

    def __call__(self, verb: str, *words: str) -> Ran:
        return self._klamm(verb, "cluster.yaml", *words, "-b", self._broker.bootstrap, "-o", "json")

    def undo(self) -> Ran:
        return self._klamm("undo", "--yes", "-b", self._broker.bootstrap, "-o", "json")


@pytest.fixture
def files(klamm: Klamm, shared_klamm: Broker, home: Path, registry: RegistryServer) -> Files:
    (home / "schemas").mkdir()
    for name, text in (("first.avsc", FIRST), ("more.avsc", MORE), ("wrong.avsc", WRONG), ("shop.proto", PROTO)):
        (home / "schemas" / name).write_text(text)
    return Files(klamm, shared_klamm, home)


def _steps(ran: Ran) -> list[tuple[str, str, str]]:
    assert ran.code in {0, 3}, ran.err
    return [(each["sign"], each["kind"], each["name"]) for each in ran.items]


def _versions(registry: RegistryServer) -> dict[str, list[int]]:
    return {
        name: [each.number for each in versions if not each.deleted] for name, versions in registry.subjects.items()
    }


def test_schemas_are_registered_from_files_and_texts_and_undone(files: Files, registry: RegistryServer) -> None:
    files.write(
        {
            "priced-value": {
                "schema": PRICED,
                "references": [{"name": "shop.Money", "subject": "money-value", "version": 1}],
            },
            "money-value": {"schema": MONEY},
            "orders-value": {"file": "schemas/first.avsc", "compatibility": "full"},
            "shop-value": {"file": "schemas/shop.proto"},
            "others-value": {"compatibility": "NONE"},
        }
    )
    planned = files("plan", "--detailed-exitcode")
    assert (planned.code, registry.subjects) == (3, {})
    steps = _steps(planned)
    assert steps[:2] == [("~", "compatibility", "orders-value"), ("~", "compatibility", "others-value")]
    assert [name for _, kind, name in steps if kind == "schema"] == [
        "money-value",
        "priced-value",
        "orders-value",
        "shop-value",
    ]
    assert files("apply").code == 4
    applied = files("apply", "--yes")
    assert applied.code == 0, applied.err
    assert all(each["done"] for each in applied.items)
    assert registry.levels == {"": "BACKWARD", "orders-value": "FULL", "others-value": "NONE"}
    assert registry.subjects["shop-value"][0].stored.schema_type == "PROTOBUF"
    assert _steps(files("plan")) == []
    assert files("diff").code == 0
    undone = files.undo()
    assert undone.code == 0, undone.err
    assert set(map(tuple, _versions(registry).values())) == {()}
    assert registry.levels == {"": "BACKWARD"}


def test_a_changed_schema_is_a_new_version_and_one_laid_out_otherwise_is_none(
    files: Files, registry: RegistryServer
) -> None:
    files.write({"orders-value": {"file": "schemas/first.avsc"}})
    files("apply", "--yes")
    files.write({"orders-value": {"schema": json.dumps(json.loads(FIRST), indent=4)}})
    assert _steps(files("plan")) == []
    files.write({"orders-value": {"file": "schemas/more.avsc"}})
    assert _steps(files("plan")) == [("~", "schema", "orders-value")]
    assert files("apply", "--yes").code == 0
    assert _versions(registry) == {"orders-value": [1, 2]}
    files.write({"orders-value": {"file": "schemas/first.avsc"}})
    conflict = files("apply", "--yes")
    assert (conflict.code, conflict.codes) == (1, ["CONFLICT"])
    assert "is version 1, and the latest is 2" in conflict.err


def test_what_the_registry_would_refuse_is_refused_before_anything_is_done(
    files: Files, registry: RegistryServer
) -> None:
    files.write({"orders-value": {"file": "schemas/first.avsc"}})
    files("apply", "--yes")
    files.write({"a-value": {"schema": MONEY}, "orders-value": {"file": "schemas/wrong.avsc"}})
    for verb in ("plan", "apply"):
        ran = files(verb, *(["--yes"] if verb == "apply" else []))
        assert (ran.code, ran.codes) == (1, ["INCOMPATIBLE_SCHEMA"])
        assert "must has no default" in ran.err
    assert _versions(registry) == {"orders-value": [1]}
    files.write({"orders-value": {"file": "schemas/wrong.avsc", "compatibility": "NONE"}})
    assert files("apply", "--yes").code == 0, "the level is set before"
    registry.modes["b-value"] = "READONLY"
    files.write({"b-value": {"schema": MONEY}})
    assert files("plan").codes == ["OPERATION_NOT_PERMITTED"]


def test_only_prune_deletes_subjects_and_undo_brings_every_version_back(files: Files, registry: RegistryServer) -> None:
    files.write(
        {"orders-value": {"file": "schemas/first.avsc", "compatibility": "FULL"}, "money-value": {"schema": MONEY}}
    )
    files("apply", "--yes")
    files.write({"orders-value": {"file": "schemas/more.avsc"}})
    files("apply", "--yes")
    assert registry.levels["orders-value"] == "FULL"
    files.write({"money-value": {"schema": MONEY}})
    assert _steps(files("plan")) == []
    assert _steps(files("diff")) == [("-", "schema", "orders-value")]
    assert files("apply", "--prune", "--yes").code == 4
    pruned = files("apply", "--prune", "--confirm", "cluster.yaml")
    assert pruned.code == 0, pruned.err
    assert "2 versions; they can be brought back" in pruned.err
    assert _versions(registry) == {"orders-value": [], "money-value": [1]}
    assert files.undo().code == 0
    assert _versions(registry) == {"orders-value": [3, 4], "money-value": [1]}
    files.write({"orders-value": {"file": "schemas/more.avsc"}, "money-value": {"schema": MONEY}})
    assert _steps(files("plan", "--prune")) == [("-", "compatibility", "orders-value")]


def test_a_dump_has_the_schemas_and_says_when_there_is_no_registry(
    files: Files, klamm: Klamm, shared_klamm: Broker, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = ("-b", shared_klamm.bootstrap)
    files.write(
        {
            "orders-value": {"file": "schemas/first.avsc", "compatibility": "FULL"},
            "shop-value": {"file": "schemas/shop.proto"},
            "money-value": {"schema": MONEY},
            "priced-value": {
                "schema": PRICED,
                "references": [{"name": "shop.Money", "subject": "money-value", "version": 1}],
            },
        }
    )
    files("apply", "--yes")
    dumped = klamm("dump", *at)
    assert "    message Shop {\n" in dumped.out, "texts stand in lines"
    (home / "dump.yaml").write_text(dumped.out)
    assert klamm("diff", "dump.yaml", *at).code == 0
    with schema_registry() as other:
        monkeypatch.setenv("KLAMM_REGISTRY", other.url)
        assert klamm("apply", "dump.yaml", "--yes", *at).code == 0
        assert klamm("diff", "dump.yaml", *at).code == 0
        assert other.levels["orders-value"] == "FULL"
    monkeypatch.delenv("KLAMM_REGISTRY")
    without = klamm("dump", *at)
    assert "schemas" not in yaml.safe_load(without.out)
    assert "no schema registry is known" in without.err
    refused = klamm("plan", "dump.yaml", *at)
    assert refused.code == 2
    assert "no schema registry is known" in refused.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  a: {fil: x}\n", "f.yaml:3: schema a has no 'fil'; did you mean 'file'"),
        ("  a: {type: AVRO}\n", "f.yaml:3: schema a needs schema, file or compatibility"),
        ("  a: {}\n", "f.yaml:3: schema a needs schema, file or compatibility"),
        ("  a:\n    file: no.avsc\n", "f.yaml:4: schema a: no.avsc: No such file or directory"),
        ("  a:\n    schema: '\"int\"'\n    file: b.avsc\n", "f.yaml:5: schema a has both schema and file"),
        ("  a:\n    schema: '{\"type\": '\n", "f.yaml:4: schema a is no AVRO: schema a is no JSON"),
        ("  a:\n    file: broken.proto\n", "f.yaml:4: schema a is no PROTOBUF: "),
        ("  a:\n    schema: '\"int\"'\n    type: avor\n", "f.yaml:5: type 'avor' is none; did you mean 'avro'"),
        (
            "  a:\n    schema: '\"int\"'\n    compatibility: FULLY\n",
            "f.yaml:5: compatibility 'FULLY' is none; did you mean 'full'",
        ),
        (
            "  a:\n    schema: '\"int\"'\n    references:\n    - {name: b, subject: c}\n",
            "f.yaml:6: a reference needs version",
        ),
        (
            "  a:\n    schema: '\"int\"'\n    references:\n    - {name: b, subject: c, version: latest}\n",
            "f.yaml:6: version must be a number above 0, not 'latest'",
        ),
        ("  - a\n", "f.yaml:3: schemas must be a mapping"),
    ],
)
def test_a_mistake_is_told_with_file_and_line_and_nothing_is_sent(
    klamm: Klamm, home: Path, text: str, said: str
) -> None:
    (home / "f.yaml").write_text("klamm: 1\nschemas:\n" + text)
    (home / "broken.proto").write_text("message {")
    ran = klamm("apply", "f.yaml", "--yes", "-b", "127.0.0.1:1")
    assert ran.code == 2
    assert said in ran.err
