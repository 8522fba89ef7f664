"""Trace contexts in headers: every dialect, and whatever else stands under their names."""

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.messages.needles import Clause, find
from klamm.client.tracing.propagation import (
    CONTEXT_NEEDLES,
    TraceContext,
    clauses_of,
    new_context,
    parse_trace_id,
    read_headers,
    traceparent_of,
)
from klamm.records.record import Record, build_batch

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LOW = TRACE[16:]
SINGLE = [
    ("traceparent", f"00-{TRACE}-{SPAN}-01", True),
    ("traceparent", f"00-{TRACE}-{SPAN}-00", False),
    ("traceparent", f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", True),
    ("Traceparent", f"00-{TRACE}-{SPAN}-01", True),
    ("ce_traceparent", f"00-{TRACE}-{SPAN}-01", True),
    ("b3", f"{TRACE}-{SPAN}-1-05e3ac9a4f6e3b90", True),
    ("b3", f"{TRACE}-{SPAN}-d", True),
    ("b3", f"{TRACE}-{SPAN}-0", False),
    ("b3", f"{TRACE.upper()}-{SPAN}", None),
    ("uber-trace-id", f"{TRACE}:{SPAN}:0:1", True),
    ("uber-trace-id", f"{TRACE.lstrip('0')}%3A{SPAN}%3A0%3A0", False),
]
MALFORMED = [
    ("traceparent", b""),
    ("traceparent", None),
    ("traceparent", b"\xff\xfe\x00"),
    ("traceparent", f"ff-{TRACE}-{SPAN}-01".encode()),
    ("traceparent", f"00-{'0' * 32}-{SPAN}-01".encode()),
    ("traceparent", f"00-{TRACE}-{'0' * 16}-01".encode()),
    ("traceparent", f"00-{TRACE.upper()}-{SPAN}-01".encode()),
    ("traceparent", f"00-{TRACE}-{SPAN}-01-more".encode()),
    ("traceparent", f"00-{TRACE}-{SPAN}".encode()),
    ("traceparent", b"0" * 5000),
    ("ce_traceparent", b"none"),
    ("b3", b"x"),
    ("uber-trace-id", b"1:2:3"),
    ("uber-trace-id", b"0:0:0:1"),
    ("x-b3-traceid", b"12"),
    ("x-datadog-trace-id", b"-5"),
    ("x-datadog-trace-id", b"99999999999999999999999"),
    ("x-datadog-trace-id", "١٢٣".encode()),
]


@pytest.mark.parametrize(("name", "value", "sampled"), SINGLE)
def test_a_context_in_one_header_is_read(name: str, value: str, *, sampled: bool | None) -> None:
    found = read_headers([(name, value.encode())])
    assert found.contexts == (TraceContext(TRACE, SPAN, sampled, name.lower()),)
    assert found.malformed == ()


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_a_malformed_header_is_ignored_and_named(name: str, value: bytes | None) -> None:
    found = read_headers([(name, value), ("other", b"\xff")])
    assert (found.context, found.malformed) == (None, (name,))


def test_zipkins_several_headers_are_one_context() -> None:
    headers = [("X-B3-TraceId", LOW.encode()), ("X-B3-SpanId", SPAN.encode()), ("X-B3-Sampled", b"0")]
    assert read_headers(headers).context == TraceContext("0" * 16 + LOW, SPAN, sampled=False, dialect="b3")
    assert read_headers([*headers, ("x-b3-flags", b"1")]).contexts[0].sampled is True


def test_a_b3_header_that_only_says_not_to_sample_is_no_context_and_not_malformed() -> None:
    assert read_headers([("b3", b"0")]) == read_headers([])
    assert read_headers([("X-B3-Sampled", b"0")]) == read_headers([])


def test_datadogs_decimal_ids_become_hex_with_the_high_half_from_its_tags() -> None:
    headers = [
        ("x-datadog-trace-id", str(int(LOW, 16)).encode()),
        ("x-datadog-parent-id", str(int(SPAN, 16)).encode()),
        ("x-datadog-sampling-priority", b"2"),
        ("x-datadog-tags", f"_dd.p.dm=-4,_dd.p.tid={TRACE[:16]}".encode()),
    ]
    assert read_headers(headers).context == TraceContext(TRACE, SPAN, sampled=True, dialect="datadog")


def test_w3c_comes_before_other_dialects_and_all_are_kept() -> None:
    other = "1" * 32
    found = read_headers([("b3", f"{other}-{SPAN}-1".encode()), ("traceparent", f"00-{TRACE}-{SPAN}-01".encode())])
    assert [each.trace_id for each in found.contexts] == [TRACE, other]


def test_of_a_repeated_header_the_last_counts_and_it_is_named() -> None:
    first, last = f"00-{'1' * 32}-{SPAN}-01".encode(), f"00-{TRACE}-{SPAN}-01".encode()
    found = read_headers([("traceparent", first), ("traceparent", last)])
    assert found.context is not None
    assert (found.context.trace_id, found.repeated) == (TRACE, ("traceparent",))
    assert read_headers([("traceparent", last), ("traceparent", last)]).repeated == ()


def test_correlation_ids_are_read_under_known_and_given_names() -> None:
    headers = [("kafka_correlationId", b"7711"), ("order", b"9")]
    assert dict(read_headers(headers).correlation) == {"kafka_correlationId": "7711"}
    assert dict(read_headers(headers, ["Order"]).correlation) == {"order": "9"}


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in MALFORMED]) | st.text(), st.none() | st.binary())))
def test_no_headers_make_it_fail(headers: list[tuple[str, bytes | None]]) -> None:
    for context in read_headers(headers).contexts:
        assert len(context.trace_id) == 32
        int(context.trace_id, 16)


def test_a_fresh_context_is_sampled_and_reads_back() -> None:
    made = new_context()
    assert read_headers([("traceparent", traceparent_of(made))]).context == made


@pytest.mark.parametrize(
    ("text", "trace_id"),
    [
        (TRACE, TRACE),
        (TRACE.upper(), TRACE),
        (TRACE.title(), TRACE),
        (f"00-{TRACE.title()}-{SPAN.upper()}-01", TRACE),
        ("0af76519-16cd-43dd-8448-eb211c80319c", TRACE),
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (LOW, "0" * 16 + LOW),
        ("order-7711", None),
        ("0" * 32, None),
        ("", None),
    ],
)
def test_a_trace_id_as_people_give_it(text: str, trace_id: str | None) -> None:
    assert parse_trace_id(text) == trace_id


def _may_match(clauses: Sequence[Clause], data: bytes) -> bool:
    return all(any(find(needle, data, 0, len(data)) >= 0 for needle in clause) for clause in clauses)


@pytest.mark.parametrize("more", [0, 20_000])
@pytest.mark.parametrize("value", [value for _, value, _ in SINGLE])
def test_a_record_with_an_id_in_any_dialect_has_a_text_of_each_clause(value: str, more: int) -> None:
    clauses = clauses_of({TRACE})
    mixed = "".join(letter.upper() if place % 3 else letter for place, letter in enumerate(value))
    for each in (value.encode(), value.upper().encode(), mixed.encode()):
        assert _may_match(clauses, bytes(more) + each), each


@pytest.mark.parametrize("name", [b"x-datadog-trace-id", b"X-Datadog-Trace-Id"])
def test_a_decimal_id_is_looked_for_only_where_datadogs_header_stands(name: bytes) -> None:
    clauses = clauses_of({TRACE, "1" * 32})
    decimal = str(int(LOW, 16)).encode()
    for headers, expected in (
        (((name, decimal),), True),
        (((name, b"7"),), False),
        (((b"other", decimal),), False),
    ):
        plain = bytes(build_batch([Record(0, 0, b"key", b"value", headers)]))
        assert _may_match(clauses, plain) is expected, headers


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title, str.swapcase])
@pytest.mark.parametrize("name", [*(name for name, _, _ in SINGLE), "x-b3-traceid", "x-datadog-trace-id"])
def test_a_record_with_a_context_has_one_of_the_needles_whatever_the_case_of_the_name(
    name: str, change: Callable[[str], str]
) -> None:
    header = (change(name).encode(), b"value")
    plain = bytes(build_batch([Record(0, 0, b"key", b"value", (header,))]))
    assert any(find(needle, plain, 0, len(plain)) >= 0 for needle in CONTEXT_NEEDLES)
    without = bytes(build_batch([Record(0, 0, b"key", b"a traceparent", ((b"other", b"no traceparent"),))]))
    assert all(find(needle, without, 0, len(without)) < 0 for needle in CONTEXT_NEEDLES)
