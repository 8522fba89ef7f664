"""ACLs, users, quotas, transactions, TLS and SASL: against an Apache Kafka that has them, and a klamm that has not."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from klamm.client.cluster_rights import GROUPS_HIDDEN
from tests.apache_kafka.node import ApacheKafkaNode
from tests.cli.conftest import Klamm, Ran
from tests.clients.confluent import init_transactions
from tests.support.commits import commit
from tests.support.klamm_process import KlammProcess
from tests.support.ports import free_port
from tests.support.process import wait_until

pytestmark = pytest.mark.apache
_JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="admin" password="admin-secret" user_admin="admin-secret" user_alice="alice-secret";'
)
_UNSECURED = (
    "org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
)


class Secured(ApacheKafkaNode):
    """A node with an authorizer and a listener for each way in."""

    ports: dict[str, int]
    ca: Path
    key: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, apache_kafka_jars: Path) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificates")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate),
         "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "store.pem").write_text(key.read_text() + certificate.read_text())
    port = free_port(6)
    ports = {"PLAINTEXT": port, "SSL": port + 2, "SASL_PLAINTEXT": port + 3, "SASL_SSL": port + 4, "MTLS": port + 5}
    listeners = ",".join(f"{name}://127.0.0.1:{number}" for name, number in ports.items())
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    oauth = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"
    properties = {
        "listeners": f"{listeners},CONTROLLER://127.0.0.1:{port + 1}",
        "advertised.listeners": f"{listeners},CONTROLLER://127.0.0.1:{port + 1}",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,"
        "SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,MTLS:SSL",
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.mtls.ssl.truststore.type": "PEM",
        "listener.name.mtls.ssl.truststore.location": str(certificate),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "store.pem"),
        "listener.name.sasl_plaintext.oauthbearer.sasl.server.callback.handler.class": _UNSECURED,
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:admin",
    }
    for name in ("sasl_plaintext", "sasl_ssl"):
        properties[f"listener.name.{name}.plain.sasl.jaas.config"] = _JAAS
        properties[f"listener.name.{name}.scram-sha-256.sasl.jaas.config"] = scram
        properties[f"listener.name.{name}.scram-sha-512.sasl.jaas.config"] = scram
        properties[f"listener.name.{name}.oauthbearer.sasl.jaas.config"] = oauth
    node = Secured(folder / "node", properties, port=port)
    node.ports, node.ca, node.key = ports, certificate, key
    with node:
        yield node


def _at(node: Secured, protocol: str, *properties: str) -> list[str]:
    spoken = "SSL" if protocol == "MTLS" else protocol
    words = ["-b", f"127.0.0.1:{node.ports[protocol]}", "-X", f"security.protocol={spoken}", "-o", "json"]
    return [*words, *(word for each in properties for word in ("-X", each))]


def _as_alice(node: Secured) -> list[str]:
    properties = ("sasl.mechanism=PLAIN", "sasl.username=alice", "sasl.password=alice-secret")
    return _at(node, "SASL_PLAINTEXT", *properties)


def test_tls_verifies_the_broker(klamm: Klamm, secured: Secured) -> None:
    trusted = f"ssl.ca.location={secured.ca}"
    assert klamm("cluster", "info", *_at(secured, "SSL", trusted)).code == 0
    refused = klamm("cluster", "info", *_at(secured, "SSL"))
    assert (refused.code, refused.codes) == (5, ["UNREACHABLE_TLS"])
    assert "ssl.ca.location" in refused.err
    unverified = _at(secured, "SSL", "enable.ssl.certificate.verification=false")
    assert klamm("cluster", "info", *unverified).code == 0


def test_plaintext_to_the_tls_port_and_tls_to_the_plaintext_port_say_so(klamm: Klamm, secured: Secured) -> None:
    wrong = klamm("cluster", "info", "-b", f"127.0.0.1:{secured.ports['SSL']}")
    assert wrong.code == 5
    assert "TLS" in wrong.err
    reverse = klamm("cluster", "info", "-b", f"127.0.0.1:{secured.port}", "-X", "security.protocol=SSL")
    assert reverse.code == 5
    assert "PLAINTEXT" in reverse.err


def test_a_broker_that_wants_a_certificate_gets_the_clients(klamm: Klamm, secured: Secured) -> None:
    trusted = f"ssl.ca.location={secured.ca}"
    own = (f"ssl.certificate.location={secured.ca}", f"ssl.key.location={secured.key}")
    assert klamm("topics", *_at(secured, "MTLS", trusted, *own)).code == 0
    without = klamm("topics", *_at(secured, "MTLS", trusted))
    assert without.code == 5
    assert "certificate" in without.err
    assert "ssl.certificate.location" in without.err
    assert "Traceback" not in without.err


def test_no_sasl_to_a_sasl_port_says_so(klamm: Klamm, secured: Secured) -> None:
    ran = klamm("topics", "-b", f"127.0.0.1:{secured.ports['SASL_PLAINTEXT']}")
    assert ran.code == 5
    assert "SASL" in ran.err


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_plain_works_and_a_wrong_password_is_5(klamm: Klamm, secured: Secured, protocol: str) -> None:
    def line(password: str) -> list[str]:
        return _at(
            secured, protocol, f"ssl.ca.location={secured.ca}", "sasl.mechanism=PLAIN", "sasl.username=admin",
            f"sasl.password={password}",
        )  # fmt: skip

    assert klamm("topics", *line("admin-secret")).code == 0
    wrong = klamm("topics", *line("wrong"))
    assert (wrong.code, wrong.codes) == (5, ["UNREACHABLE_SASL"])
    assert "authentication failed" in wrong.err


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_made_by_klamm_logs_in_with_scram(
    klamm: Klamm, secured: Secured, mechanism: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"user-{mechanism.lower()}"
    monkeypatch.setenv("KLAMM_USER_PASSWORD", "pässword")
    anonymous = ("-b", secured.bootstrap, "-o", "json")
    made = klamm("user", "create", name, "--mechanism", mechanism, "--yes", *anonymous)
    assert made.code == 0, made.err
    _once(klamm, lambda ran: name in {item["name"] for item in ran.items}, "users", *anonymous)
    assert klamm("user", "create", name, "--mechanism", mechanism, "--yes", *anonymous).codes == ["DUPLICATE_RESOURCE"]

    def line(password: str) -> list[str]:
        return _at(
            secured,
            "SASL_PLAINTEXT",
            f"sasl.mechanism={mechanism}",
            f"sasl.username={name}",
            f"sasl.password={password}",
        )

    _once(klamm, lambda ran: ran.code == 0, "topics", *line("pässword"))
    assert klamm("topics", *line("other")).code == 5
    assert klamm("user", "delete", name, "--yes", *anonymous).code == 0
    _once(klamm, lambda ran: name not in {item["name"] for item in ran.items}, "users", *anonymous)
    assert klamm("user", "alter", name, "--yes", *anonymous).codes == ["RESOURCE_NOT_FOUND"]


def test_a_user_with_two_passwords_is_deleted_and_what_failed_is_not_in_the_journal(
    klamm: Klamm, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLAMM_USER_PASSWORD", "x")
    at = ("-b", secured.bootstrap, "-o", "json")
    assert klamm("user", "create", "both", "--mechanism", "SCRAM-SHA-256", "--yes", *at).code == 0
    assert klamm("user", "create", "both", "--mechanism", "SCRAM-SHA-512", "--yes", *at).code == 0

    def credentials() -> list[str]:
        return [each for item in klamm("users", *at).items if item["name"] == "both" for each in item["credentials"]]

    wait_until(lambda: len(credentials()) == 2, 20, "both passwords are known")
    deleted = klamm("user", "delete", "both", "--yes", *at)
    assert (deleted.code, len(deleted.items)) == (0, 2), deleted.err
    wait_until(lambda: not credentials(), 20, "both passwords are gone")


def test_oauthbearer_takes_a_token(klamm: Klamm, secured: Secured) -> None:
    claims = ("enable.sasl.oauthbearer.unsecure.jwt=true", "sasl.oauthbearer.config=principal=admin")
    ran = klamm("topics", *_at(secured, "SASL_PLAINTEXT", "sasl.mechanism=OAUTHBEARER", *claims))
    assert ran.code == 0, ran.err
    bad = klamm(
        "topics", *_at(secured, "SASL_PLAINTEXT", "sasl.mechanism=OAUTHBEARER", "sasl.oauthbearer.token=no.jwt")
    )
    assert (bad.code, bad.codes) == (5, ["UNREACHABLE_SASL"])


def test_acls_decide_what_a_user_sees_and_explain_says_why(klamm: Klamm, secured: Secured) -> None:
    anonymous = ("-b", secured.bootstrap, "-o", "json")
    klamm("topic", "create", "secret-orders", *anonymous)
    alice = _as_alice(secured)
    assert klamm("topics", *alice).items == []
    assert klamm("topic", "describe", "secret-orders", *alice).codes == ["TOPIC_AUTHORIZATION_FAILED"]
    assert klamm("acl", "explain", "alice", "read", "topic", "secret-orders", *anonymous).code == 3
    rule = ("--principal", "alice", "--topic", "secret", "--prefixed")

    def await_rules(*operations: str) -> None:
        def known(ran: Ran) -> bool:
            return {item["operation"] for item in ran.items} == set(operations)

        _once(klamm, known, "acl", "list", "--principal", "alice", *anonymous)

    made = klamm("acl", "create", *rule, "--operation", "read,describe-configs", "--yes", *anonymous)
    assert made.code == 0, made.err
    await_rules("read", "describe-configs")
    assert [item["name"] for item in klamm("topics", *alice).items] == ["secret-orders"]
    assert klamm("acl", "explain", "alice", "read", "topic", "secret-orders", *anonymous).code == 0
    who = klamm("acl", "who-can", "describe", "topic", "secret-orders", *anonymous)
    assert [item["name"] for item in who.items] == ["User:alice"]
    assert klamm("acl", "delete", *rule, "--yes", *anonymous).code == 0
    await_rules()
    assert klamm("undo", "--yes", *anonymous).code == 0
    await_rules("read", "describe-configs")
    more = klamm("acl", "create", *rule, "--operation", "read,write", "--yes", *anonymous)
    assert [item["created"] for item in more.items] == [False, True]
    await_rules("read", "write", "describe-configs")
    same = klamm("acl", "create", *rule, "--operation", "read,write", *anonymous)
    assert (same.code, [item["created"] for item in same.items]) == (0, [False, False]), "and nobody is asked"
    assert klamm("undo", "--yes", *anonymous).code == 0
    await_rules("read", "describe-configs")  # what was there before is not taken back


def test_quotas_are_set_resolved_and_undone(klamm: Klamm, secured: Secured) -> None:
    at = ("-b", secured.bootstrap, "-o", "json")
    assert klamm("quota", "alter", "--user", "bob", "producer_byte_rate=1000", "--yes", *at).code == 0
    assert klamm("quota", "alter", "--client-id", "default", "consumer_byte_rate=500", "--yes", *at).code == 0

    def await_quotas(*names: str) -> list[str]:
        ran = _once(klamm, lambda ran: {item["name"] for item in ran.items} == set(names), "quotas", *at)
        return [item["name"] for item in ran.items]

    await_quotas("user=bob", "client-id=(default)")
    found = klamm("quota", "resolve", "--user", "bob", "--client-id", "app", *at).items
    assert {item["name"]: (item["value"], item["from"]) for item in found} == {
        "producer_byte_rate": (1000.0, "user=bob"),
        "consumer_byte_rate": (500.0, "client-id=(default)"),
    }
    assert klamm("undo", "--yes", *at).code == 0
    await_quotas("user=bob")
    assert klamm("quota", "alter", "--user", "default", "request_percentage=50", "--yes", *at).code == 0
    both = ["user=(default)", "user=bob"]
    assert await_quotas(*both) == both, "a default and a name are listed beside each other"
    resolved = {item["name"]: item["from"] for item in klamm("quota", "resolve", "--user", "bob", *at).items}
    assert resolved == {"producer_byte_rate": "user=bob", "request_percentage": "user=(default)"}
    assert klamm("dump", "-b", secured.bootstrap).out.count("user:") == 2
    assert klamm("quota", "alter", "--user", "bob", "producer_byte_rat=1", "--yes", *at).code == 2


def _last_stable_offset(node: Secured, topic: str) -> int:
    settings = {"bootstrap.servers": node.bootstrap, "group.id": "nobody", "isolation.level": "read_committed"}
    consumer = Consumer(settings)
    try:
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), 20, cached=False)
        return int(end)
    finally:
        consumer.close()


def test_an_open_transaction_is_described_found_hanging_only_when_it_is_and_listed(
    klamm: Klamm, secured: Secured
) -> None:
    at = ("-b", secured.bootstrap, "-o", "json")
    klamm("topic", "create", "ledger", *at)
    producer = Producer({"bootstrap.servers": secured.bootstrap, "transactional.id": "ledger-1"})
    init_transactions(producer)
    producer.begin_transaction()
    producer.produce("ledger", b"x")
    producer.flush(10)
    listed = klamm("txn", "list", "--state", "Ongoing", *at)
    assert [item["name"] for item in listed.items] == ["ledger-1"], listed.err
    described = klamm("txn", "describe", "ledger-1", *at).items[0]
    assert (described["state"], described["partitions"]) == ("Ongoing", ["ledger:0"])
    assert klamm("txn", "find-hanging", "ledger", "--older-than", "1ms", *at).code == 0
    aborted = klamm(
        "txn", "abort", "ledger", "--partition", "0", "--producer-id", str(described["producer_id"]), "--dry-run", *at
    )
    assert aborted.code == 0, aborted.err
    assert _last_stable_offset(secured, "ledger") == 0
    abort = ("txn", "abort", "ledger", "--partition", "0", "--producer-id", str(described["producer_id"]), *at)
    assert klamm(*abort, "--yes").code == 4
    done = klamm(*abort, "--confirm", "ledger")
    assert (done.code, done.items[0]["aborted"]) == (0, True), done.err
    assert _last_stable_offset(secured, "ledger") == 2, "a record, and the marker that aborts it"
    assert klamm(*abort, "--confirm", "ledger").codes == ["TRANSACTION_NOT_FOUND"]
    undo = klamm("undo", klamm("undo", "--list", *at).items[0]["name"], "--yes", *at)
    assert undo.code == 4
    assert "cannot be undone" in undo.err
    assert klamm("txn", "describe", "no-such-id", *at).codes == ["TRANSACTIONAL_ID_NOT_FOUND"]


@pytest.mark.parametrize(
    ("words", "api"),
    [
        (("acls",), "DescribeAcls"),
        (("acl", "create", "--principal", "a", "--operation", "read", "--topic", "t", "--yes"), "DescribeAcls"),
        (("users",), "DescribeUserScramCredentials"),
        (("quotas",), "DescribeClientQuotas"),
        (("txns",), "ListTransactions"),
    ],
)
def test_a_cluster_without_an_api_is_1_with_the_apis_name(
    klamm: Klamm, shared_klamm: KlammProcess, words: tuple[str, ...], api: str
) -> None:
    served = [
        item["name"] for item in klamm("cluster", "api-versions", "-b", shared_klamm.bootstrap, "-o", "json").items
    ]
    if api in served:
        pytest.skip(f"klamm serves {api} now")
    ran = klamm(*words, "-b", shared_klamm.bootstrap, "-o", "json")
    assert (ran.code, ran.codes) == (1, ["UNSUPPORTED_VERSION"])
    assert api in ran.err


def test_without_read_on_the_commits_a_trace_says_what_it_lacks_and_shows_the_rest(
    klamm: Klamm, secured: Secured, topic: str
) -> None:
    anonymous = ("-b", secured.bootstrap, "-o", "json")
    alice = _as_alice(secured)
    assert klamm("topic", "create", topic, *anonymous).code == 0
    producer = Producer({"bootstrap.servers": secured.bootstrap})
    producer.produce(topic, b"value")
    assert producer.flush(60) == 0
    commit(secured.bootstrap, topic, {(topic, 0): 1})
    rights = (("read", "--topic", topic), ("describe", "--group", topic), ("describe", "--topic", "__consumer_offsets"))
    for operation, *what in rights:
        _changed_rules(klamm, secured, "create", "--operation", operation, *what)
    found = klamm("trace", f"{topic}:0@0", *alice)
    assert (found.code, found.codes) == (1, ["TOPIC_AUTHORIZATION_FAILED"])
    assert "when groups passed this message" in found.envelope["errors"][0]["message"]
    assert "klamm acl create" in found.envelope["errors"][0]["next_step"]
    [passed] = [hop for hop in found.items if hop["hop"] == "commit"]
    assert (passed["group"], passed["evidence"], passed["bound"], passed["end_ms"]) == (
        topic,
        "inferred",
        "unknown",
        None,
    )
    everything = klamm("trace", f"{topic}:0@0", *anonymous)
    assert [hop["bound"] for hop in everything.items if hop["hop"] == "commit"] == ["exact"]
    _changed_rules(klamm, secured, "delete", "--topic", topic)
    forbidden = klamm("trace", f"{topic}:0@0", *alice)
    assert (forbidden.code, forbidden.codes, forbidden.items) == (1, ["TOPIC_AUTHORIZATION_FAILED"], [])


def test_groups_that_a_user_may_not_describe_are_missing_from_a_trace_and_it_says_so(
    klamm: Klamm, secured: Secured, topic: str
) -> None:
    anonymous = ("-b", secured.bootstrap, "-o", "json")
    alice = _as_alice(secured)
    assert klamm("topic", "create", topic, *anonymous).code == 0
    producer = Producer({"bootstrap.servers": secured.bootstrap})
    producer.produce(topic, b"value")
    assert producer.flush(40) == 0
    seen, hidden = f"{topic}-seen", f"{topic}-hidden"
    for group in (seen, hidden):
        commit(secured.bootstrap, group, {(topic, 0): 1})
    commits = ("read", "--topic", "__consumer_offsets")
    rights = (("read", "--topic", topic), ("describe", "--group", seen), commits)
    on_cluster = ("--operation", "describe", "--cluster")
    try:
        for operation, *what in rights:
            _changed_rules(klamm, secured, "create", "--operation", operation, *what)
        found = klamm("trace", f"{topic}:0@0", *alice)
        assert {hop["group"] for hop in found.items if hop["group"]} == {seen}
        assert (found.code, [note["code"] for note in found.envelope["notes"]]) == (0, ["groups_hidden"])
        _changed_rules(klamm, secured, "create", *on_cluster)
        listed = klamm("trace", f"{topic}:0@0", *alice)
        assert (listed.code, listed.codes) == (1, ["GROUP_AUTHORIZATION_FAILED"])
        assert hidden in listed.envelope["errors"][0]["message"]
        assert "notes" not in listed.envelope
        assert {hop["group"] for hop in listed.items if hop["group"]} == {seen}
    finally:
        _changed_rules(klamm, secured, "delete", *on_cluster)
        _changed_rules(klamm, secured, "delete", "--operation", "read", *commits[1:])


def test_groups_that_a_user_may_not_describe_are_said_to_be_hidden_and_not_to_be_none(
    klamm: Klamm, secured: Secured, topic: str
) -> None:
    anonymous = ("-b", secured.bootstrap, "-o", "json")
    alice = _as_alice(secured)
    assert klamm("topic", "create", topic, *anonymous).code == 0
    seen, hidden = f"{topic}-seen", f"{topic}-hidden"
    for group in (seen, hidden):
        commit(secured.bootstrap, group, {(topic, 0): 0})
    for what in (("--topic", topic), ("--group", seen)):
        _changed_rules(klamm, secured, "create", "--operation", "describe", *what)
    everybody = klamm("group", "list", *alice)
    names = {item["name"] for item in everybody.items}
    assert (seen in names, hidden in names) == (True, False)
    assert [note["code"] for note in everybody.envelope["notes"]] == ["groups_hidden"]
    assert (everybody.code, everybody.err) == (0, f"{GROUPS_HIDDEN}\n")
    for line in ("group describe", f"group members {topic}*", "lag", f"lag {topic}", "lag check --max 9"):
        ran = klamm(*line.split(), *alice)
        said = [note["code"] for note in ran.envelope.get("notes", ())]
        assert (said, GROUPS_HIDDEN in ran.err) == (["groups_hidden"], True), line
    named = klamm("group", "list", seen, *alice)
    assert ("notes" in named.envelope, named.err) == (False, "")
    for words in (("group", "list"), ("group", "describe"), ("lag",), ("group", "seek", "--to", "start")):
        ran = klamm(*words, hidden, *alice)
        assert (ran.code, ran.codes) == (1, ["GROUP_AUTHORIZATION_FAILED"])
        assert f"whether there is a group {hidden!r} is not known" in ran.err
    assert klamm("record", "r.arrows", "--count", "1", *alice).code == 0
    replay = ("--replay", "r.arrows", "-o", "json")
    then = klamm("group", "list", *replay)
    assert ({item["name"] for item in then.items}, GROUPS_HIDDEN in then.err) == (names, True)
    assert klamm("group", "list", hidden, *replay).codes == ["GROUP_AUTHORIZATION_FAILED"]
    assert klamm("group", "list", seen, *replay).code == 0
    none = klamm("group", "list", f"{seen}-none", *anonymous)
    assert (none.code, none.codes, "notes" in none.envelope) == (2, ["GROUP_ID_NOT_FOUND"], False)


def _changed_rules(klamm: Klamm, node: Secured, verb: str, *words: str) -> None:
    """Create or delete rules of alice's, and wait until the broker goes by them."""
    at = ("-b", node.bootstrap, "-o", "json")
    listed = ("acl", "list", "--principal", "alice", *at)
    before = len(klamm(*listed).items)
    ran = klamm("acl", verb, "--principal", "alice", *words, "--yes", *at)
    assert ran.code == 0, ran.err
    more = sum(item["created"] for item in ran.items) if verb == "create" else -len(ran.items)
    _once(klamm, lambda found: len(found.items) == before + more, *listed)


def _once(klamm: Klamm, condition: Callable[[Ran], bool], *words: str) -> Ran:
    """Return what a command says once it is as it has to be.

    Apache Kafka's broker learns of users, rules and quotas after its controller has answered.
    """
    deadline = time.monotonic() + 60
    while not condition(found := klamm(*words)):
        assert time.monotonic() < deadline, found.err
        time.sleep(0.2)
    return found
