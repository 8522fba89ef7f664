"""Records and configs as texts that a person edits: what was not touched comes back to the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.configs import Change, ConfigEntry
from klamm.client.errors import SettingsError
from klamm.client.messages.record import Headers, Record
from klamm.tui.dialogs.configs import config_commands, read_configs, write_configs
from klamm.tui.dialogs.record_text import read_text, write_text

names = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=8)
data = st.none() | st.binary(max_size=20) | st.text(max_size=20).map(str.encode)
json_values = st.sampled_from([b'{"a":1}', b'{"a": 1, "b": [1, 2]}', b'{"a" : 1}', b"[1,2]\n", b'{"a":1.10}', b"{"])


def record(key: bytes | None = b"k", value: bytes | None = b"v", headers: Headers = ()) -> Record:
    return Record("orders", 3, 7, 1_000, "create", key, value, headers)


@given(data, data | json_values, st.lists(st.tuples(names, data), max_size=3).map(tuple))
def test_what_is_not_edited_keeps_its_bytes(key: bytes | None, value: bytes | None, headers: Headers) -> None:
    made = record(key, value, headers)
    draft = read_text(write_text(made), made)
    assert (draft.topic, draft.partition) == ("orders", None)
    assert (draft.key, draft.value, draft.headers) == (key, value, headers)
    ended = read_text(write_text(made) + "\n", made)  # as editors leave it
    assert (ended.key, ended.value, ended.headers) == (key, value, headers)


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        (b'{"a":1}', ('"a": 1', '"a": 2'), b'{"a":2}'),
        (b'{"a": 1, "b": 2}', ('"a": 1', '"a": 3'), b'{"a": 3, "b": 2}'),
        (b"plain", ("plain", "other"), b"other"),
        (b"two\nlines\n", ("two", "2"), b"2\nlines\n"),
        (b"\xff\x00", ("ff 00", "ff 01 02"), b"\xff\x01\x02"),
        (b"x", ("value is: text", "value is: null"), None),
        (None, ("value is: null\n---\n", "value is: text\n---\nback"), b"back"),
    ],
)
def test_an_edited_value_is_written_as_the_one_before_was(
    before: bytes | None, edit: tuple[str, str], after: bytes | None
) -> None:
    made = record(value=before)
    text = write_text(made)
    assert edit[0] in text
    assert read_text(text.replace(*edit), made).value == after


def test_topic_partition_key_and_headers_can_be_edited() -> None:
    made = record(headers=(("a", b"1"), ("b: c", b"\xff")))
    text = write_text(made).replace("topic: orders", "topic: other").replace("partition:", "partition: 2")
    text = text.replace("key: k", 'key: "two words "').replace("header a: 1", "header a: 2\nheader new: 0x00ff")
    draft = read_text(text, made)
    assert (draft.topic, draft.partition, draft.key) == ("other", 2, b"two words ")
    assert draft.headers == (("a", b"2"), ("new", b"\x00\xff"), ("b: c", b"\xff"))


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (("\n---\n", "\n"), "that begins the value is gone"),
        (("partition:", "partition: x"), "a partition is a number"),
        (("key: k", "kee: k"), "none of topic"),
        (("value is: json", "value is: yaml"), "none of text, json"),
        (('"a": 1', '"a": '), "is no JSON"),
    ],
)
def test_a_text_that_means_nothing_is_told_why(edit: tuple[str, str], why: str) -> None:
    made = record(value=b'{"a":1}')
    text = write_text(made)
    assert edit[0] in text
    with pytest.raises(SettingsError, match=why):
        read_text(text.replace(*edit), made)


def entry(name: str, value: str, *, own: bool = False, default: str = "") -> ConfigEntry:
    return ConfigEntry(name, value, "topic" if own else "default", False, False, own, None, default)  # noqa: FBT003


TOPIC = ("topic", "orders")
ENTRIES = [
    entry("retention.ms", "60000", own=True),
    entry("cleanup.policy", "delete"),
    entry("odd", "a\\n\nb", own=True),
]


def test_configs_come_back_as_they_were_and_differences_are_changes() -> None:
    text = write_configs(TOPIC, ENTRIES)
    assert read_configs(text, TOPIC, ENTRIES) == []
    edited = text.replace("retention.ms=60000", "").replace("# cleanup.policy=delete", "cleanup.policy=compact")
    changes = read_configs(edited, TOPIC, ENTRIES)
    assert changes == [Change("cleanup.policy", "compact"), Change("retention.ms", None)]
    assert config_commands(TOPIC, changes) == [
        ["config", "set", "topic", "orders", "cleanup.policy=compact", "--yes"],
        ["config", "unset", "topic", "orders", "retention.ms", "--yes"],
    ]
    with pytest.raises(SettingsError, match="line 1: 'nonsense' is no KEY=VALUE"):
        read_configs("nonsense", TOPIC, ENTRIES)
