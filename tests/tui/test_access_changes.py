"""ACLs, users and quotas changed from dialogs; and screens of somebody without rights: on an Apache Kafka with both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from klamm.client import journal
from klamm.client.acls import Acl, create_acls, list_acls
from klamm.client.configs import describe_configs
from klamm.client.quotas import list_quotas
from klamm.client.settings import Settings, parse_bootstrap
from klamm.client.topics import NewTopic, create_topics
from klamm.client.users import list_users
from klamm.tui import registry
from klamm.tui.dialogs.access import CreateAcls, DeleteAcls
from klamm.tui.dialogs.accounts import AlterQuotas, DeleteUsers, RemoveQuotas, SetPassword
from klamm.tui.dialogs.change import Change, Prepared, make
from klamm.tui.dialogs.undo import RedoLast, UndoLast
from klamm.tui.place import Place
from klamm.tui.session import Session
from tests.apache_kafka.node import ApacheKafkaNode
from tests.support.ports import free_port
from tests.support.process import eventually

pytestmark = pytest.mark.apache
KNOWN_TIMEOUT_S = 60.0
"""For what is changed to reach the broker that is asked, by way of the metadata log."""
_JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="admin" password="admin-secret" user_admin="admin-secret" user_alice="alice-secret";'
)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, apache_kafka_jars: Path) -> Iterator[tuple[str, str]]:
    """Run a node with an authorizer; yield the address where everybody may do everything, and one that wants SASL."""
    port = free_port(3)
    listeners = f"PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{port + 2},CONTROLLER://127.0.0.1:{port + 1}"
    properties = {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": _JAAS,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS;User:admin",
    }
    with ApacheKafkaNode(tmp_path_factory.mktemp("guarded"), properties, port=port) as node:
        yield node.bootstrap, f"127.0.0.1:{port + 2}"


@asynccontextmanager
async def session_at(address: str, **properties: str) -> AsyncGenerator[Session]:
    session = Session(Settings(parse_bootstrap(address), properties), registry.loader_of)
    session.start()
    try:
        yield session
    finally:
        await asyncio.to_thread(session.close)


def as_alice(password: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "alice",
        "sasl.password": password,
    }


async def prepare(session: Session, change: Change, **values: str) -> Prepared:
    given = {field.key: field.default for field in change.fields} | values
    return await session.run(lambda: change.prepare(session, given))


async def carry_out(session: Session, change: Change, **values: str) -> Prepared:
    prepared = await prepare(session, change, **values)
    assert not prepared.problem, prepared
    done, _ = await session.run(lambda: make(session, prepared))
    assert not done.errors, done
    return prepared


async def await_rules(session: Session, *rules: Acl, there: bool = True) -> None:
    """Wait until the broker knows rules, or knows none of them any more."""

    async def known() -> bool:
        found = set(rules) & set(await session.run(lambda: list_acls(session.cluster)))
        return len(found) == (len(rules) if there else 0)

    await eventually(known, KNOWN_TIMEOUT_S, f"{rules} {'are' if there else 'are not'} known")


async def await_password(session: Session, user: str, iterations: int) -> None:
    async def known() -> bool:
        users, _ = await session.run(lambda: list_users(session.cluster, [user]))
        return [each.credentials for each in users] == [[("SCRAM-SHA-512", iterations)]]

    await eventually(known, KNOWN_TIMEOUT_S, f"a password of {user} with {iterations} iterations is known")


async def test_access_rules_are_created_deleted_undone_and_redone(guarded: tuple[str, str], topic: str) -> None:
    read = Acl("topic", topic, "prefixed", "User:bob", "*", "read", "allow")
    write = read._replace(operation="write")
    async with session_at(guarded[0]) as session:
        values = {"principal": "bob", "operations": "read,write", "resource": f"topic {topic}*"}
        made = await carry_out(session, CreateAcls(), **values)
        assert any("first rule on topic" in line for line in made.plan.lines)
        assert made.line(session.settings).startswith(
            f"klamm acl create --principal User:bob --operation read,write --topic {topic} --prefixed --yes -b "
        )
        await await_rules(session, read, write)
        again = await prepare(session, CreateAcls(), **values)
        assert again.problem == "all of them are there already"
        gone = await carry_out(session, DeleteAcls([read, write]))
        assert "User:bob has no rule left" in gone.plan.lines
        assert gone.line(session.settings).count("klamm acl delete") == 2
        await await_rules(session, read, write, there=False)
        await carry_out(session, UndoLast())
        await await_rules(session, read, write)
        await carry_out(session, RedoLast())
        await await_rules(session, read, write, there=False)
        await carry_out(session, UndoLast())
        await await_rules(session, read, write)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"operations": "reed"}, "'reed' is none"),
        ({"resource": "topik orders"}, "'topik' is no kind of resource"),
        ({"resource": "topic"}, "which topic?"),
        ({"permission": "maybe"}, "allow or deny"),
    ],
)
async def test_a_rule_that_kafka_does_not_know_is_told_where(
    guarded: tuple[str, str], values: dict[str, str], problem: str
) -> None:
    given = {"principal": "bob", "operations": "read", "resource": "topic orders"} | values
    async with session_at(guarded[0]) as session:
        with pytest.raises(Exception, match=problem):
            await prepare(session, CreateAcls(), **given)


async def test_a_user_is_made_changed_and_deleted_and_its_password_is_nowhere(guarded: tuple[str, str]) -> None:
    async with session_at(guarded[0]) as session:
        values = {"name": "carol", "password": "swordfish"}
        made = await carry_out(session, SetPassword(), **values)
        shown = f"{made.plan} {made.line(session.settings)} {made.undo}"
        assert "swordfish" not in shown
        assert "--password-file -" in shown
        await await_password(session, "carol", 8192)
        assert "already" in (await prepare(session, SetPassword(), **values)).problem
        changed = await carry_out(session, SetPassword("carol"), password="other", iterations="4096")
        assert changed.plan.cannot_undo
        await await_password(session, "carol", 4096)
        rule = Acl("topic", "carols", "literal", "User:carol", "*", "read", "allow")
        await session.run(lambda: create_acls(session.cluster, [rule]))
        await await_rules(session, rule)
        gone = await carry_out(session, DeleteUsers(["carol"]))
        assert "1 access rules name User:carol and stay" in gone.plan.lines
        assert journal.entries()[0].inverse == []
        assert "swordfish" not in "".join(path.read_text() for path in journal.folder().glob("*.json"))


async def await_quotas(session: Session, user: str, **values: float) -> None:
    async def known() -> bool:
        found = await session.run(lambda: list_quotas(session.cluster, [("user", user)], strict=True))
        return [each.values for each in found] == [values]

    await eventually(known, KNOWN_TIMEOUT_S, f"{user}'s quotas are {values}")


async def test_quotas_are_set_removed_and_undone(guarded: tuple[str, str]) -> None:
    async with session_at(guarded[0]) as session:
        quotas = "producer_byte_rate=1048576 request_percentage=50"
        made = await carry_out(session, AlterQuotas(), user="dave", values=quotas)
        assert "+ producer_byte_rate  1.0 MiB/s" in made.plan.lines
        await await_quotas(session, "dave", producer_byte_rate=1_048_576.0, request_percentage=50.0)
        entity = (("user", "dave"),)
        gone = await carry_out(session, RemoveQuotas(entity, ["producer_byte_rate"]))
        assert gone.line(session.settings).startswith("klamm quota alter producer_byte_rate= --user dave --yes")
        await await_quotas(session, "dave", request_percentage=50.0)
        await carry_out(session, UndoLast())
        await await_quotas(session, "dave", producer_byte_rate=1_048_576.0, request_percentage=50.0)


async def test_a_panel_without_rights_says_so_and_the_others_stand(guarded: tuple[str, str], topic: str) -> None:
    async with session_at(guarded[0]) as session:
        await session.run(lambda: create_topics(session.cluster, [NewTopic(topic, 2, 1)]))
        rule = Acl("topic", topic, "literal", "User:alice", "*", "describe", "allow")
        await session.run(lambda: create_acls(session.cluster, [rule]))
        await await_rules(session, rule)
    async with session_at(guarded[1], **as_alice("alice-secret")) as session:
        memory: dict[str, object] = {}
        await session.load(Place("topic", topic), memory)
        found = await session.load(Place("topic", topic), memory)
        assert found.error is None
        assert len(found.parts["partitions"].rows or ()) == 2
        errors = {name: part.error.code for name, part in found.parts.items() if part.error is not None}
        assert errors == {"configs": "TOPIC_AUTHORIZATION_FAILED", "acls": "CLUSTER_AUTHORIZATION_FAILED"}


@pytest.mark.parametrize(
    ("place", "part", "right"),
    [
        (Place("acls"), "acls", "DESCRIBE on the cluster"),
        (Place("users"), "users", "DESCRIBE on the cluster"),
        (Place("quotas"), "quotas", "DESCRIBE_CONFIGS on the cluster"),
        (Place("cluster"), "quorum", "DESCRIBE on the cluster"),
        (Place("cluster"), "reassignments", "DESCRIBE on the cluster"),
        (Place("broker", "1"), "configs", "DESCRIBE_CONFIGS on the cluster"),
        (Place("broker", "1"), "dirs", "DESCRIBE on the cluster"),
    ],
)
async def test_a_panel_names_the_right_that_is_missing(
    guarded: tuple[str, str], place: Place, part: str, right: str
) -> None:
    async with session_at(guarded[1], **as_alice("alice-secret")) as session:
        memory: dict[str, object] = {}
        found = await session.load(place, memory)
        while found.more:
            found = await session.load(place, memory)
        error = found.parts[part].error or found.parts[part].warnings[0]
        assert error.message.endswith(f"not allowed: it takes {right}")
        assert error.next_step == f"klamm acl who-can {right.partition(' ')[0].lower().replace('_', '-')} cluster"


async def test_brokers_say_why_their_sizes_are_not_known(guarded: tuple[str, str]) -> None:
    async with session_at(guarded[1], **as_alice("alice-secret")) as session:
        memory: dict[str, object] = {}
        await session.load(Place("brokers"), memory)
        found = await session.load(Place("brokers"), memory)
        assert [row.size_bytes for row in found.parts["brokers"].rows or ()] == [None]
        assert [each.code for each in found.parts["brokers"].warnings] == ["CLUSTER_AUTHORIZATION_FAILED"]


async def test_credentials_that_are_no_longer_good_are_the_whole_screens_error(guarded: tuple[str, str]) -> None:
    async with session_at(guarded[1], **as_alice("expired")) as session:
        found = await session.load(Place("topics"), {})
        assert found.error is not None
        assert found.error.code == "UNREACHABLE_SASL"
        assert session.health.unreachable_since_ms is not None


async def await_overridden(session: Session, resource: tuple[str, str], name: str, *, there: bool) -> None:
    async def known() -> bool:
        found, _ = await session.run(lambda: describe_configs(session.cluster, [resource]))
        overridden = {entry.name for entry in found[resource] if entry.overridden}
        return (name in overridden) == there

    await eventually(known, KNOWN_TIMEOUT_S, f"{name} of {resource} is {'' if there else 'not '}overridden")


async def test_configs_of_a_broker_can_be_edited(guarded: tuple[str, str]) -> None:
    from klamm.client.configs import Change as ConfigChange
    from klamm.tui.dialogs.configs import EditConfigs

    resource = ("broker", "1")
    async with session_at(guarded[0]) as session:
        change = EditConfigs(resource, [ConfigChange("log.cleaner.threads", "2")])
        made = await carry_out(session, change)
        assert "- log.cleaner.threads=1  (default)" in made.plan.lines
        assert "+ log.cleaner.threads=2" in made.plan.lines
        await await_overridden(session, resource, "log.cleaner.threads", there=True)
        await carry_out(session, UndoLast())
        await await_overridden(session, resource, "log.cleaner.threads", there=False)
