"""Contexts: layers, secrets, mistakes, and the files of other tools."""

import stat
from pathlib import Path

import pytest

from klamm.client.contexts import Layers, resolve
from klamm.client.errors import SettingsError
from klamm.client.importers import parse_properties, read_contexts
from tests.cli.conftest import Klamm

_USER = """# mine
current = "local"

[contexts.local]
bootstrap = ["localhost:9092"]

[contexts.prod]
bootstrap = ["b1:9093", "b2:9093"]
env = "prod"
[contexts.prod.kafka]
"security.protocol" = "SASL_SSL"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "app"
"sasl.password" = "${env:PROD_PASSWORD}"
"""


@pytest.fixture
def files(home: Path) -> Path:
    (home / "config.toml").write_text(_USER)
    return home


def test_the_layers_win_in_their_order(files: Path) -> None:
    env = {"KLAMM_X_SASL_USERNAME": "from-env", "PROD_PASSWORD": "x"}
    (files / ".klamm.toml").write_text(
        '[contexts.prod.kafka]\n"sasl.username" = "from-project"\n"client.id" = "project"\n'
    )
    import os

    os.environ["PROD_PASSWORD"] = "pw"
    try:
        found = resolve(Layers("prod", properties=["sasl.username=from-line"]), env)
        assert found.settings.properties["sasl.username"] == "from-line"
        assert found.origins["kafka.sasl.username"] == "-X"
        assert resolve(Layers("prod"), env).settings.properties["sasl.username"] == "from-env"
        assert resolve(Layers("prod"), {}).settings.properties["sasl.username"] == "from-project"
        assert resolve(Layers("prod"), {}).settings.properties["sasl.password"] == "pw"
        assert resolve(Layers("prod"), {}).origins["kafka.client.id"].endswith(".klamm.toml")
    finally:
        del os.environ["PROD_PASSWORD"]


def test_an_address_without_a_context_takes_no_credentials_along(files: Path) -> None:
    found = resolve(Layers(bootstrap="elsewhere:9092"), {})
    assert found.settings.context is None
    assert found.settings.properties == {}
    assert resolve(Layers("local", bootstrap="elsewhere:1"), {}).settings.bootstrap[0].host == "elsewhere"
    assert resolve(Layers(), {"KLAMM_BOOTSTRAP": "other:1"}).settings.bootstrap[0].host == "other"


def test_a_missing_secret_names_its_reference(files: Path) -> None:
    with pytest.raises(SettingsError, match=r"\$\{env:PROD_PASSWORD\}"):
        resolve(Layers("prod"), {})


@pytest.mark.parametrize(
    ("reference", "value"),
    [("${file:%s/secret}", "s3cret"), ("${cmd:cat %s/secret}", "s3cret"), ("a-${file:%s/secret}-b", "a-s3cret-b")],
)
def test_secrets_come_from_files_and_commands(home: Path, reference: str, value: str) -> None:
    (home / "secret").write_text("s3cret\n")
    text = reference % home
    assert (
        resolve(Layers(bootstrap="h:1", properties=[f"sasl.password={text}"]), {}).settings.properties["sasl.password"]
        == value
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("current = ", "config.toml"),
        ("[contexts.a]\nbootstap = 'x'\n", "did you mean 'bootstrap'"),
        ("[contexts.a]\nbootstrap = 'h:1'\n[contexts.a.connect]\nvia = 'ssh://x'\n", "address_map"),
    ],
)
def test_a_mistake_in_the_file_names_it(klamm: Klamm, home: Path, text: str, said: str) -> None:
    (home / "config.toml").write_text(text)
    ran = klamm("topics", "-c", "a")
    assert ran.code == 2
    assert said in ran.err


def test_an_unknown_context_names_the_near_one(klamm: Klamm, files: Path) -> None:
    ran = klamm("topics", "-c", "prd")
    assert ran.code == 2
    assert "'prod'" in ran.err


def test_show_hides_secrets_and_tells_origins(klamm: Klamm, files: Path) -> None:
    ran = klamm("context", "show", "local", "--origin", "-X", "sasl.password=hunter2", "-o", "json")
    values = {item["name"]: item for item in ran.items}
    assert values["kafka.sasl.password"]["value"] == "(hidden)"
    assert values["kafka.sasl.password"]["origin"] == "-X"
    assert values["bootstrap"]["origin"].endswith("config.toml")
    assert "hunter2" not in ran.out


def test_add_and_use_keep_comments_and_are_for_the_owner_only(klamm: Klamm, files: Path) -> None:
    assert klamm("context", "add", "third", "-b", "c:1", "--env", "prod", "--protect", "a*").code == 0
    assert klamm("context", "use", "third").code == 0
    text = (files / "config.toml").read_text()
    assert "# mine" in text
    assert 'current = "third"' in text
    assert stat.S_IMODE((files / "config.toml").stat().st_mode) == 0o600
    listed = {item["name"]: item for item in klamm("contexts", "-o", "json").items}
    assert listed["third"]["current"] is True
    assert klamm("context", "add", "third", "-b", "c:1").code == 2
    assert klamm("context", "use", "nope").code == 2


_PROPERTIES = """bootstrap.servers=b1:9092
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-256
sasl.username=u
sasl.password=p
ssl.ca.location=/ca
"""
_IMPORTS = {
    "rpk": (
        "rpk.yaml",
        """
version: 6
profiles:
- name: prod
  kafka_api:
    brokers: [b1:9092]
    tls: {ca_file: /ca}
    sasl: {user: u, password: p, mechanism: SCRAM-SHA-256}
""",
    ),
    "kafkactl": (
        "config.yml",
        """
contexts:
  prod:
    brokers: [b1:9092]
    tls: {enabled: true, ca: /ca}
    sasl: {enabled: true, username: u, password: p, mechanism: scram-sha256}
""",
    ),
    "kaf": (
        "config",
        """
clusters:
- name: prod
  brokers: [b1:9092]
  SASL: {mechanism: SCRAM-SHA-256, username: u, password: p}
  TLS: {cafile: /ca}
  security-protocol: SASL_SSL
""",
    ),
    "kcl": (
        "prod.toml",
        """
seed_brokers = ["b1:9092"]
[tls]
ca_cert_path = "/ca"
[sasl]
method = "scram_sha_256"
user = "u"
pass = "p"
""",
    ),
    "kcat": ("prod.conf", _PROPERTIES + "queue.buffering.max.ms=5\n"),
    "kaskade": ("kaskade.ini", "[prod]\n" + _PROPERTIES),
    "properties": ("prod.properties", "# a Java client\n" + _PROPERTIES.replace("mechanism=", "mechanism : ")),
}


@pytest.mark.parametrize("tool", _IMPORTS)
def test_another_tools_file_becomes_a_context(klamm: Klamm, home: Path, tool: str) -> None:
    name, text = _IMPORTS[tool]
    (home / name).write_text(text)
    ran = klamm("context", "import", tool, str(home / name))
    assert ran.code == 0, ran.err
    settings = resolve(Layers("prod"), {}).settings
    assert str(settings.bootstrap[0]) == "b1:9092"
    assert settings.security_protocol == "SASL_SSL"
    assert settings.mechanism == "SCRAM-SHA-256"
    assert settings.credentials() == ("u", "p")
    assert settings.properties["ssl.ca.location"] == "/ca"


@pytest.mark.parametrize("tool", _IMPORTS)
def test_a_file_that_is_not_that_tools_is_refused(tool: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("\x00 [ : }{")
    with pytest.raises(SettingsError):
        read_contexts(tool, tmp_path / "x")


def test_java_jaas_lines_give_user_and_password() -> None:
    text = 'sasl.jaas.config=org.apache.X required \\\n  username="a" password="p\\"q";\nsasl.mechanism=PLAIN\n'
    properties = parse_properties(text)
    found = resolve(Layers(bootstrap="h:1", properties=[f"{k}={v}" for k, v in properties.items()]), {})
    assert found.settings.credentials() == ("a", 'p"q')


@pytest.mark.parametrize("words", [("-b", ""), ("-c", ""), ("-b", " "), ("--bootstrap=",)])
def test_an_empty_cluster_is_not_the_default_one(klamm: Klamm, home: Path, words: tuple[str, ...]) -> None:
    (home / "config.toml").write_text('current = "prod"\n[contexts.prod]\nbootstrap = "127.0.0.1:1"\n')
    ran = klamm("topic", "create", "orders", *words)
    assert (ran.code, "is empty" in ran.err, "127.0.0.1:1" in ran.err) == (2, True, False), ran.err
