"""Records sent again from the interface: what changes, the command that does the same, and values of any size."""

from __future__ import annotations

import shlex

import pytest

from klamm.client.cluster import Cluster
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.record import Headers, Record
from klamm.client.resending import placed
from klamm.client.settings import Settings, parse_bootstrap
from klamm.client.topics import NewTopic, create_topics
from klamm.tui import registry
from klamm.tui.dialogs.messages import ProduceRecord, SendEdited, _told, differences, resend_words
from klamm.tui.session import Session
from tests.support.brokers import Broker

PARENT = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def record(key: bytes | None = b"k", value: bytes | None = b"v", headers: Headers = ()) -> Record:
    return Record("orders", 3, 7, 1_000, "create", key, value, headers)


def again(found: Record, **changes: object) -> Draft:
    return Draft("orders", None, None, found.key, found.value, found.headers)._replace(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "orders:3@7 --yes"),
        ({"value": b"other"}, "orders:3@7 --value other --yes"),
        ({"value": None}, "orders:3@7 --tombstone --yes"),
        ({"key": b"new"}, "orders:3@7 --key new --yes"),
        ({"key": None}, "orders:3@7 --edit"),
        ({"value": b"\xff\x00"}, "orders:3@7 --edit"),
        ({"value": b"x" * 5_000_000}, "orders:3@7 --edit"),
        ({"value": b"two\nlines"}, "orders:3@7 --edit"),
        ({"topic": "copy"}, "orders:3@7 --to copy --yes"),
        ({"partition": 5}, "orders:3@7 --partition 5 --yes"),
        ({"partition": 3}, "orders:3@7 --yes"),
        ({"headers": (("a", b"2"),)}, "orders:3@7 --drop-header '*' --set-header a=2 --yes"),
        ({"headers": ()}, "orders:3@7 --drop-header '*' --yes"),
    ],
)
def test_the_command_sends_the_same_record_again(changes: dict[str, object], words: str) -> None:
    made = record(headers=(("a", b"1"),))
    draft = placed(made, again(made, **changes))
    assert shlex.join(resend_words(made, draft)) == f"message resend {words}"


def test_a_record_goes_to_its_partition_unless_topic_or_key_is_another() -> None:
    made = record()
    assert placed(made, again(made)).partition == 3
    assert placed(made, again(made, value=b"other")).partition == 3
    assert placed(made, again(made, partition=1)).partition == 1
    assert placed(made, again(made, key=b"other")).partition is None
    assert placed(made, again(made, topic="other")).partition is None


@pytest.mark.parametrize("value", [b"x" * 5_000_000, b"two\nlines", b"\xff\x00", b"\x1b[2J", None, b"", b"plain"])
def test_what_a_field_cannot_hold_is_kept_to_the_byte(value: bytes | None) -> None:
    made = record(value=value, headers=(("h", b"two words"), ("traceparent", PARENT)))
    change = ProduceRecord("orders", made)
    values = {field.key: field.default for field in change.fields}
    assert all(field.default.isprintable() and len(field.default) < 3_000 for field in change.fields)
    draft = change._draft("orders", values)
    assert (draft.key, draft.value, draft.partition) == (b"k", value, 3)
    assert draft.headers[0] == ("h", b"two words")
    kept, made_anew = PARENT[:36], draft.headers[1][1] or b""
    assert made_anew.startswith(kept), "the same trace"
    assert made_anew != PARENT, "and a step of its own"


def test_a_traceparent_in_whatever_case_gets_an_id_of_its_own_and_is_no_edit() -> None:
    made = record(headers=(("TraceParent", PARENT),))
    draft = ProduceRecord("orders", made)._draft(
        "orders", {field.key: field.default for field in ProduceRecord("orders", made).fields}
    )
    assert draft.headers[0][0] == "TraceParent"
    assert draft.headers[0][1] != PARENT
    assert _told(made, draft) == ["traceparent: the same trace, an id of its own"]
    assert "--set-header" not in resend_words(made, draft)


def test_a_change_in_a_value_of_megabytes_is_shown() -> None:
    """What is the same at both ends is never compared line against line: that would take hours here."""
    lines = [f'  "field-{number}": {number}' for number in range(200_000)]
    after = [*lines[:150_000], "changed", *lines[150_001:]]
    found = differences("\n".join(lines), "\n".join(after))
    assert found == [f"  {lines[149_999]}", f"- {lines[150_000]}", "+ changed", f"  {lines[150_001]}"]
    long = differences("a\n" + "x" * 5_000_000, "a\n" + "y" * 5_000_000)
    assert max(map(len, long)) < 1_000
    many = differences("\n".join(f"a{number}" for number in range(9_000)), "\n".join("b" * 9_000))
    assert len(many) < 300
    assert many[-1] == "… and more"


def test_nothing_but_the_differences_is_shown() -> None:
    assert differences("a\nb\nc\nd\ne", "a\nb\nX\nd\ne") == ["  b", "- c", "+ X", "  d"]
    assert differences("a", "a\nb") == ["  a", "+ b"]
    assert differences("a\nb", "b") == ["- a", "  b"]


async def test_an_edited_record_is_sent_to_where_it_was(any_broker: Broker, topic: str) -> None:
    session = Session(Settings(parse_bootstrap(any_broker.bootstrap), {}), registry.loader_of)
    session.cluster = Cluster(session.settings, request_timeout_s=60)  # a machine that is busy is no silent broker
    session.start()
    try:
        await session.run(lambda: create_topics(session.cluster, [NewTopic(topic, 5, 1)]))
        made = record()._replace(topic=topic)
        change = SendEdited(made, Draft(topic, None, None, b"k", b"w", ()), "v", "w")
        prepared = await session.run(lambda: change.prepare(session, {}))
        assert prepared.problem == ""
        assert prepared.plan.lines == ["key 1 B, value 1 B, 0 headers, partition 3", "- v", "+ w"]
        assert prepared.line(session.settings).startswith(f"klamm message resend {topic}:3@7 --value w --yes ")
    finally:
        session.close()
