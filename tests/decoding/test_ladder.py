"""What the bytes of a key or a value are taken for, and that no bytes at all make decoding raise."""

from __future__ import annotations

import json
import struct
from typing import Any
from uuid import UUID

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from klamm.client.decoding import FORMS, Decoded, Options, decode, visible
from klamm.client.decoding.framing import Headers

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("data", "kind", "value", "text"),
    [
        (None, "null", None, "␀"),
        (b"", "text", "", ""),
        (b'{"id":7,"total":101.50}', "json", {"id": 7, "total": 101.5}, '{"id":7,"total":101.50}'),
        (b'{\n  "id": 7\n}', "json", {"id": 7}, '{"id":7}'),
        (b'"quoted"', "json", "quoted", '"quoted"'),
        (b"42", "json", 42, "42"),
        (b"true", "json", True, "true"),
        (b"007", "text", "007", "007"),
        (b"1e5", "text", "1e5", "1e5"),
        (b"NaN", "text", "NaN", "NaN"),
        (b"customer-9", "text", "customer-9", "customer-9"),
        (b'{"half":', "text", '{"half":', '{"half":'),
        ("grüße 日本".encode(), "text", "grüße 日本", "grüße 日本"),
        (b"\x1b[31mred\x1b[0m\n", "text", "\x1b[31mred\x1b[0m\n", "\\x1b[31mred\\x1b[0m\\n"),
        (b"\x00\x00\x00\x2a", "hex", "0000002a", "00 00 00 2a"),
        (b"\xff\xfe", "hex", "fffe", "ff fe"),
        (msgpack.packb({"id": 7, "tags": [b"\x01", "a"]}), "msgpack", {"id": 7, "tags": ["0x01", "a"]}, None),
        (b"\x93\x01\x02\x03", "hex", "93010203", None),  # three small numbers may be anything
    ],
)
def test_the_ladder_stops_where_it_holds(data: bytes | None, kind: str, value: Any, text: str | None) -> None:
    found = decode(data)
    assert (found.kind, found.value, found.note) == (kind, value, "")
    if text is not None:
        assert found.text == text


@pytest.mark.parametrize(
    ("form", "data", "value"),
    [
        ("json", b"[1]", [1]),
        ("text", b"[1]", "[1]"),
        ("hex", b"ab", "6162"),
        ("base64", b"ab", "YWI="),
        ("msgpack", b"\x93\x01\x02\x03", [1, 2, 3]),
        ("msgpack", b"\xd6\xff\x00\x00\x00\x01", {"seconds": 1, "nanoseconds": 0}),
        ("int", struct.pack(">i", -5), -5),
        ("long", struct.pack(">q", 2**40), 2**40),
        ("double", struct.pack(">d", 1.5), 1.5),
        ("double", struct.pack(">d", float("inf")), "inf"),
        ("uuid", UUID(int=7).bytes, "00000000-0000-0000-0000-000000000007"),
        ("uuid", str(UUID(int=7)).encode(), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_a_form_that_is_asked_for_is_used(form: str, data: bytes, value: Any) -> None:
    found = decode(data, Options(form))
    assert (found.kind, found.value, found.note) == (form, value, "")


@pytest.mark.parametrize(
    ("form", "data", "note"),
    [
        ("json", b"{", "no JSON"),
        ("json", b"[NaN]", "NaN is no JSON"),
        ("json", b"[" * 100_000, "JSON nested too deeply"),
        ("json", b"[" * 300 + b"]" * 300, "JSON nested deeper than 200"),
        ("text", b"a\xff", "no UTF-8: invalid start byte at byte 1"),
        ("msgpack", b"\x92\x01", "no MessagePack"),
        ("msgpack", b"\x01\x02", "no MessagePack"),
        ("msgpack", b"\x91" * 100_000, "no MessagePack"),
        ("msgpack", b"\xdd\xff\xff\xff\xff", "no MessagePack"),
        ("long", b"1234567", "7 bytes are no long, which has 8"),
        ("uuid", b"12345", "5 bytes are no UUID"),
        ("avrow", b"x", "there is no form 'avrow'"),
    ],
)
def test_what_does_not_fit_the_form_is_shown_all_the_same_and_says_why(form: str, data: bytes, note: str) -> None:
    found = decode(data, Options(form))
    assert note in found.note
    assert found.kind == ("hex" if form in FORMS else "text")


@pytest.mark.parametrize(
    ("data", "headers", "is_key", "note"),
    [
        (b"\0\0\0\0\x07xyz", (), False, "names schema id 7"),
        (b"xyz", (("__value_schema_id", b"\0\0\0\0\x07"),), False, "names schema id 7"),
        (b"xyz", (("__key_schema_id", b"\1" + UUID(int=9).bytes),), True, f"names schema GUID {UUID(int=9)}"),
        (b"xyz", (("__key_schema_id", b"\0\0\0\0\x07"),), False, ""),
        (b"xyz", (("__value_schema_id", b"\0\0\x07"),), False, ""),
        (b"\0\0\0\0\0\0\0\x2a", (), True, ""),  # a long, not schema 0
    ],
)
def test_a_schema_that_a_record_names_is_told_when_there_is_no_registry(
    data: bytes, headers: Headers, *, is_key: bool, note: str
) -> None:
    found = decode(data, Options(is_key=is_key), headers=headers)
    assert found.note == (f"{note}, and no schema registry is configured" if note else "")
    assert found.text in {"xyz", data.hex(" ")}


def test_a_lone_surrogate_can_be_printed_and_written_as_utf8() -> None:
    found = decode(b'{"a":"\\ud800","b":"\\ud83d\\ude00"}')
    assert (found.kind, found.value, found.note) == ("json", {"a": "�", "b": "😀"}, "lone surrogates were replaced")
    found.text.encode()
    json.dumps(found.value, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("a\u202eb\u200b", "a\\u202eb\\u200b"),
        ("\x9b2J", "\\x9b2J"),
        ("\U000e0041", "\\U000e0041"),
        ("two\nlines", "two\\nlines"),
    ],
)
def test_what_commands_a_terminal_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_pane_may_keep_lines() -> None:
    assert visible("two\n\tlines\r", lines=True) == "two\n\tlines\\r"


def check(found: Decoded) -> None:
    assert found.text.isprintable()
    assert found.text.encode() is not None
    json.dumps(found.value, ensure_ascii=False, allow_nan=False).encode()


@given(
    st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()),
    st.sampled_from(FORMS),
    st.sampled_from(["orders", "__consumer_offsets"]),
    st.none() | st.binary(),
    st.lists(st.tuples(st.sampled_from(["__value_schema_id", "__key_schema_id"]), st.none() | st.binary())),
    st.sampled_from(["key", "value"]),
)
@example(b"\0\2\0\1g", "auto", "__consumer_offsets", None, [], "key")
def test_no_bytes_make_decoding_raise(
    data: bytes, form: str, topic: str, key: bytes | None, headers: Headers, field: str
) -> None:
    found = decode(data, Options(form, field == "key", topic), key=key, headers=headers)
    check(found)
    assert found.note or found.kind in {form, "hex", "text", "json", "msgpack", "offsets"}


@settings(max_examples=50)
@given(st.dictionaries(st.text(), JSON, min_size=1) | st.lists(JSON))
def test_json_comes_out_as_it_went_in(value: Any) -> None:
    found = decode(json.dumps(value).encode())
    assert (found.kind, found.value) == ("json", value)
    check(found)


@settings(max_examples=50)
@given(st.dictionaries(st.text(alphabet="abcdef", min_size=1), JSON, min_size=1))
def test_a_messagepack_map_with_names_is_recognised(value: Any) -> None:
    found = decode(msgpack.packb(value))
    assert (found.kind, found.value) == ("msgpack", value)
    check(found)
