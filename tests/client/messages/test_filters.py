"""Filters: what they mean, where they are wrong, and that no literal ever rules out a match."""

import json
from collections.abc import Sequence

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.client.decoding import decode
from klamm.client.messages.conditions import FilterError, parse
from klamm.client.messages.filters import build, decode_json, literal_filter
from klamm.client.messages.needles import Clause, find
from klamm.client.messages.numeric import NumberBehind
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


def holds(plain: bytes, needles: Sequence[Clause]) -> bool:
    return all(any(find(each, plain, 0, len(plain)) >= 0 for each in clause) for clause in needles)


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
        assert holds(plain, found.needles), (text, found.needles)


@settings(deadline=None)  # a loaded machine is not slow code
@given(_PATTERNS, st.text(alphabet="abx1 -", max_size=20))
def test_the_literal_of_a_regular_expression_is_in_whatever_it_matches(pattern: str, text: str) -> None:
    quoted = '"' + pattern.replace('"', '\\"') + '"'
    try:
        found = build(parse(f"key ~ {quoted}"))
    except FilterError:
        return
    if found.test(0, _fields(key=text.encode())):
        assert holds(text.encode(), found.needles)


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


_NUMBERS = [
    "100",
    "1e2",
    "100.0",
    "1E+2",
    "10000e-2",
    "0",
    "-0",
    "-0.0",
    "1e-2",
    "0.01",
    "-5",
    "-5.0",
    "10",
    "1000",
    "1e999",
    "Infinity",
    "-Infinity",
    "NaN",
    "1e16",
    "12345678901234567890",
    "100000000000000000000.0",
]
_LITERALS = [
    "100",
    "0",
    "-5",
    "0.01",
    "1e2",
    "1e999",
    "12345678901234567890",
    "1e16",
    "1e20",
    "true",
    '"cust-5"',
    '"100.0"',
    '"Infinity"',
    '"cust*"',
    '"Inf"',
    '"nb"',
    '"5"',
    '"e"',
    '"a/b"',
    '"ab"',
    '"u0061"',
    '"true"',
    '"a"',
    '"1e"',
    '":"',
    '"["',
    '","',
]
_WORDS = [
    "true",
    "false",
    "null",
    '"100"',
    '"cust-5"',
    '"a\\nb"',
    '"\\u0061b"',
    '"a/b"',
    '"a\\/b"',
    '"Infinity"',
    '"1e5"',
    '""',
]
_SPACE = st.sampled_from(["", "", " ", "\n\t"])
_NAME = st.sampled_from(['"a"', '"a"', '"b"', '"\\u0061"', '"ab"'])


@st.composite
def _spelled(draw: st.DrawFn, depth: int = 2) -> str:
    """Return JSON in any of its spellings."""
    kind = draw(st.sampled_from(["number", "word", "list", "object"] if depth else ["number", "word"]))
    space = draw(_SPACE)
    if kind in {"number", "word"}:
        return draw(st.sampled_from(_NUMBERS if kind == "number" else _WORDS))
    inner = draw(st.lists(_spelled(depth - 1), max_size=2))
    if kind == "list":
        return "[" + f"{space},".join(inner) + "]"
    return "{" + f",{space}".join(f"{draw(_NAME)}{space}:{draw(_SPACE)}{each}" for each in inner) + "}"


@settings(deadline=None, max_examples=500)  # a loaded machine is not slow code
@given(
    path=st.sampled_from(["value.a", "value.a", "value.a.b", "value.b[0]", "value.a[*]", "value.a[0].a"]),
    operator=st.sampled_from(["==", "==", "==", "like", "contains", "~", "<", ">="]),
    literal=st.sampled_from(_LITERALS),
    value=st.one_of(_spelled(), _spelled().map(lambda inner: f'{{"a": {inner}}}')),
)
def test_no_spelling_of_what_matches_is_ruled_out(path: str, operator: str, literal: str, value: str) -> None:
    try:
        node = parse(f"{path} {operator} {literal}")
    except FilterError:
        return
    found = build(node)
    naive = build(node, literal=False)
    fields = (0, 0, None, value.encode(), ())
    assert found.test(0, fields) is naive.test(0, fields)
    if naive.test(0, fields):
        assert holds(value.encode(), found.needles), found.needles


def test_a_number_behind_its_name_rules_out_those_that_are_others() -> None:
    found = build(parse("value.id == 270000"))
    assert holds(b'{"id" : 270000}', found.needles)
    assert holds(b'{"id":2.7e5}', found.needles)
    assert holds(b'{"\\u0069d":270000}', found.needles)
    for other in (b'{"id":2700001,"n":270000}', b'{"id":27,"text":"1e5 \\" 270000"}', b'{"ids":270000}', b'{"n":1}'):
        assert not holds(other, found.needles)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('value.a contains "100.0"', '{"a":{"b":1e2}}'),
        ('value.a contains "e+16"', '{"a":{"b":10000000000000000.0}}'),
        ('value.a contains "Infinity"', '{"a":{"b":1e999}}'),
        ('value.a ~ "nfini"', '{"a":[1e999]}'),
        ('value.a contains "[1, 2]"', '{"a":{"b":[1,2]}}'),
        ('value.a contains "nb"', r'{"a":{"b":"a\u000ab"}}'),
        ('value.a contains "a/b"', r'{"a":"a\/b"}'),
        ("value.a == 100", '{"a":1e2}'),
        ("value.a == 100", '{"a" :\t10000e-2}'),
        ("value.a == 0", '{"a":-0}'),
        ("value.a == 1e999", '{"a":Infinity}'),
        ("value.a == -5", '{"a":-5.0}'),
    ],
)
def test_what_is_written_in_another_way_is_found(text: str, value: str) -> None:
    found = build(parse(text))
    assert found.test(0, (0, 0, None, value.encode(), ()))
    assert holds(value.encode(), found.needles), found.needles


def _as_a_search_decodes(fields: Fields, place: int) -> object:
    """Decode as the command line does without a registry: JSON, or else what the bytes look like."""
    try:
        return decode_json(fields, place)
    except ValueError:
        data = fields[place]
        assert isinstance(data, bytes)
        return decode(data).value


_BINARY = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from([0, 5, 7, 100, -5, 300, 1 << 40, 0.5, 1e16, float("inf"), float("nan")])
    | st.sampled_from(["a", "ab", "cust-5", "5", "", "abcd"])
    | st.sampled_from([b"\xff", b"\xab\xcd", b"text", msgpack.Timestamp(5, 7), msgpack.ExtType(3, b"\xab")]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "id", "x" * 40, "b", 5, True, b"\xff", b"id"]), inner, max_size=3)
    ),
    max_leaves=8,
)


_BINARY_PATHS = (
    'value.a value.id value.a["5"] value.a.True value.a["0xff"] value.a.id value.a.seconds value.a.extension '
    f"value.a[*] value.a.data value.{'x' * 40}"
)
_BINARY_LITERALS = (
    '5 7 100 -5 0.5 1e16 1e999 true "a" "cust-5" "5" "abcd" "0xff" "0xabcd" "bcd" "inf" "nan" "ru" "ull" "second" '
    '"text" "True" "xten"'
)


@settings(deadline=None, max_examples=500)  # a loaded machine is not slow code
@given(
    path=st.sampled_from(_BINARY_PATHS.split()),
    operator=st.sampled_from(["==", "==", "like", "contains", "~", "<", ">="]),
    literal=st.sampled_from(_BINARY_LITERALS.split()),
    inner=_BINARY,
)
def test_messagepack_is_not_ruled_out_by_what_json_would_hold(
    path: str, operator: str, literal: str, inner: object
) -> None:
    found = build(parse(f"{path} {operator} {literal}"), _as_a_search_decodes)
    for name in ("a", "id", "x" * 40):
        value = msgpack.packb({name: inner})
        assert isinstance(value, bytes)
        if found.test(0, (0, 0, None, value, ())):
            assert holds(value, found.needles), (name, found.needles)


def test_a_name_of_messagepack_is_found_whatever_its_size_is_written_in() -> None:
    found = build(parse("value.id == 7"), _as_a_search_decodes)
    for text in (b"\xa2id", b"\xd9\x02id", b"\xda\x00\x02id", b"\xdb\x00\x00\x00\x02id"):
        value = b"\x81" + text + b"\x07"
        assert found.test(0, (0, 0, None, value, ()))
        assert holds(value, found.needles)
    assert not holds(b'{"id":8}', found.needles)


@given(st.binary(max_size=40), st.binary(min_size=1, max_size=3), st.integers(0, 10))
def test_a_needle_is_found_where_it_is_first(data: bytes, needle: bytes, start: int) -> None:
    for haystack in (data, data + needle, b"\\" * 100 + data + needle, bytearray(b"\\n" * 100) + needle):
        for end in (len(haystack), len(haystack) // 2):
            assert find(needle, haystack, start, end) == haystack.find(needle, start, end)


def test_comparisons_of_numbers_rule_out_what_does_not_compare_so() -> None:
    found = build(parse("value.total > 100"))
    for other in (b'{"total":100}', b'{"total" : 1e1,"n":500}', b'{"total":-Infinity}', b'{"total":NaN}'):
        assert not holds(other, found.needles)
    for match in (b'{"total":100.5}', b'{"total": 1e999}', b'{"total":Infinity}', b'{"\\u0074otal":101}'):
        assert found.test(0, (0, 0, None, match, ()))
        assert holds(match, found.needles)


@given(
    st.sampled_from(["==", "<", "<=", ">", ">="]),
    st.integers(-30, 1200) | st.floats(-30, 1200) | st.sampled_from([99, 100, 109, 199, 999, 1000, 1 << 63, 1 << 64]),
    st.integers(-30, 1200) | st.floats(allow_nan=False) | st.sampled_from([99, 100, 109, 199, 999, 1000, 1 << 63]),
)
def test_a_number_is_found_behind_its_name_just_if_it_compares_so(operator: str, wanted: float, number: float) -> None:
    looked_for = NumberBehind("a", operator, wanted)
    data = f'{{"b":5,"a" : {json.dumps(number)}}}'.encode()
    compares = {"==": number == wanted, "<": number < wanted, "<=": number <= wanted, ">": number > wanted}
    expected = compares.get(operator, number >= wanted)
    assert (looked_for.find(data, 0, len(data)) == data.index(b"a")) is expected
