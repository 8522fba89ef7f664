"""Filters: what they mean, where they are wrong, and that no literal ever rules out a match."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.client.messages.conditions import FilterError, parse
from klamm.client.messages.filters import build, literal_filter
from klamm.client.messages.record import Fields
from klamm.records.record import Record, encode_records

ORDER = b'{"id": 7711, "total": 101.5, "items": [{"n": "a"}, {"n": "b"}], "tag": "v\\u00e9", "ok": true, "none": null}'


def _fields(
    key: bytes | None = b"cust-4", value: bytes | None = ORDER, headers: tuple[tuple[str, bytes | None], ...] = ()
) -> Fields:
    return (42, 1_764_000_000_000, key, value, headers)


HEADERS = (("region", b"us"), ("region", b"eu"), ("trace-id", b"a12c"), ("odd name", None))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('value.total > 100 and h.region == "eu"', True),
        ("value.total > 100 and not h.region == eu", False),
        ("value.id == 7711", True),
        ("value.id == 7711.0", True),
        ('value.id == "7711"', False),
        ("value.items[1].n == b", True),
        ("value.items[*].n == b", True),
        ("value.items[2].n == b", False),
        ('value.tag == "vé"', True),
        ("value.ok == true", True),
        ("value.ok == 1", False),
        ("value.none == null", True),
        ("value.missing == null", False),
        ("value.missing != 5", True),
        ("value.missing", False),
        ("value.items", True),
        ("value contains 'total'", True),
        ("value ~ '\"id\": 77\\d+'", True),
        ("value !~ nothing", True),
        ("key=cust-*", True),
        ("key = cust-?", True),
        ("key == cust-*", False),
        ("key == cust-4 || partition == 9", True),
        ("(key == x or offset >= 42) && partition == 0", True),
        ("size > 10 and time < @2030-01-01", True),
        ("time > 2030-01-01", False),
        ("h.trace-id == a12c", True),
        ('h["odd name"]', True),
        ('h["odd name"] == null', True),
        ("h.absent", False),
        ("h.absent == null", False),
        ("key == null", False),
        ("!(key == null)", True),
    ],
)
def test_a_filter_means_what_it_says(text: str, expected: bool) -> None:  # noqa: FBT001 (a table)
    assert build(parse(text)).test(0, _fields(headers=HEADERS)) is expected


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", 0),
        ("value.total >", 13),
        ("value.total >> 3", 13),
        ("vlaue.total > 1", 0),
        ("value.total > 1 key == 2", 16),
        ("(key == x", 9),
        ('key == "open', 7),
        ("key ~ '['", 7),
        ("partition == x", 13),
        ("h.a.b == 1", 0),
        ("time > soon", 7),
        ("not", 3),
    ],
)
def test_what_cannot_be_parsed_has_a_caret_under_the_place(text: str, place: int) -> None:
    with pytest.raises(FilterError) as raised:
        parse(text)
    assert raised.value.place == place
    assert raised.value.message.splitlines()[-1] == "  " + " " * place + "^"


def test_whole_numbers_stay_whole() -> None:
    check = build(parse("key == 9007199254740993"))
    assert check.test(0, _fields(key=b"9007199254740993"))
    assert not check.test(0, _fields(key=b"9007199254740992"))


def test_deep_parentheses_are_an_error_and_no_crash() -> None:
    with pytest.raises(FilterError):
        parse("(" * 5000 + "key" + ")" * 5000)


_TEXT = st.text(max_size=12)
_OPERATORS = st.sampled_from(["==", "!=", "contains", "like", "~", "!~", "<", ">="])
_PATTERNS = st.text(alphabet="abx.*+?[]^$(){}1 -", max_size=10)


@settings(deadline=None)  # a loaded machine is not slow code
@given(
    operand=st.sampled_from(["key", "value", "value.a", "value.a[*]", "h.a"]),
    operator=_OPERATORS,
    literal=_TEXT | _PATTERNS,
    key=_TEXT,
    inner=_TEXT | st.lists(_TEXT, max_size=3),
    ascii_json=st.booleans(),
    negate=st.booleans(),
)
def test_a_record_that_matches_holds_a_literal_of_every_clause(
    *, operand: str, operator: str, literal: str, key: str, inner: str | list[str], ascii_json: bool, negate: bool
) -> None:
    quoted = '"' + literal.replace("\\", "\\\\").replace('"', '\\"') + '"'
    text = f"{operand} {operator} {quoted}"
    try:
        found = build(parse(f"not ({text})" if negate else text))
    except FilterError:
        return
    value = json.dumps({"a": inner}, ensure_ascii=ascii_json).encode("utf-8", "surrogatepass")
    header = key.encode("utf-8", "surrogatepass")
    if found.test(0, (0, 0, header, value, (("a", header),))):
        plain = bytes(encode_records([Record(0, 0, header, value, ((b"a", header),))], 0, 0))
        assert all(any(each in plain for each in clause) for clause in found.needles), (text, found.needles)


@settings(deadline=None)  # a loaded machine is not slow code
@given(_PATTERNS, st.text(alphabet="abx1 -", max_size=20))
def test_the_literal_of_a_regular_expression_is_in_whatever_it_matches(pattern: str, text: str) -> None:
    quoted = '"' + pattern.replace('"', '\\"') + '"'
    try:
        found = build(parse(f"key ~ {quoted}"))
    except FilterError:
        return
    if found.test(0, _fields(key=text.encode())):
        assert all(any(each in text.encode() for each in clause) for clause in found.needles)


def test_literals_of_the_shortcuts() -> None:
    both = literal_filter(key=b"k", text=b"needle", headers=[("a", b"1"), ("b", None)])
    assert both.test(0, (0, 0, b"k", b"a needle", (("a", b"0"), ("a", b"1"), ("b", b"x"))))
    assert not both.test(0, (0, 0, b"k", b"a needle", (("a", b"0"), ("b", b"x"))))
    assert not both.test(0, (0, 0, b"k2", b"a needle", (("a", b"1"), ("b", b"x"))))
    assert len(both.needles) == 4


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-20, 20) | st.floats(-20, 20) | st.sampled_from(["a", "b", "ab", "1", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "é"]), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)  # a loaded machine is not slow code
@given(
    path=st.sampled_from(["value.a", "value.a.b", "value.b[0].a", "value.a[*].b", "value.é", "value[0].a"]),
    operator=st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    literal=st.integers(-20, 20) | st.floats(-20, 20) | st.sampled_from(['"a"', '"ab"', '"é"', "true", "null"]),
    value=_JSON,
    ascii_json=st.booleans(),
    spaced=st.booleans(),
)
def test_a_quick_look_says_no_only_where_decoding_does(
    *, path: str, operator: str, literal: object, value: object, ascii_json: bool, spaced: bool
) -> None:
    data = json.dumps(value, ensure_ascii=ascii_json, indent=1 if spaced else None).encode()
    node = parse(f"{path} {operator} {literal}")
    fields = (0, 0, None, data, ())
    assert build(node).test(0, fields) is build(node, literal=False).test(0, fields)
