"""The lossless form, the content hash, kcat's formats, and what librdkafka cannot carry."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from klamm.client.errors import ClientError, SettingsError
from klamm.client.messages import jsonl
from klamm.client.messages.formats import Format
from klamm.client.messages.hashing import ContentHash
from klamm.client.messages.jsonl import Draft, JsonlError
from klamm.client.messages.producing import headers_to_send
from klamm.client.messages.record import Fields, Record, to_record
from klamm.client.messages.tabular import TabularWriter, partitions_of, read_tabular
from klamm.records.batch import TIMESTAMP_TYPE_FLAG, BatchHeader

_BYTES = st.none() | st.binary(max_size=60) | st.text(max_size=30).map(str.encode)
_NAMES = st.binary(max_size=12).map(lambda data: data.decode("utf-8", "surrogateescape"))
_RECORDS = st.builds(
    Record,
    topic=st.just("orders"),
    partition=st.integers(0, 3),
    offset=st.integers(0, 1 << 60),
    timestamp_ms=st.integers(0, 1 << 45),
    timestamp_type=st.just("create"),
    key=_BYTES,
    value=_BYTES,
    headers=st.lists(st.tuples(_NAMES, _BYTES), max_size=4).map(tuple),
)


@settings(deadline=None)  # a loaded machine is not slow code
@given(_RECORDS)
def test_a_line_gives_the_record_back(record: Record) -> None:
    line = jsonl.write(record).encode()
    assert line.count(b"\n") == 1
    expected = Draft("orders", record.partition, record.timestamp_ms, record.key, record.value, record.headers)
    assert jsonl.read(line, 1) == expected


@given(records=st.lists(_RECORDS, min_size=1, max_size=20), kind=st.sampled_from(["arrow", "parquet"]))
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_table_gives_the_records_back(tmp_path: Path, records: list[Record], kind: str) -> None:
    path = str(tmp_path / "records")
    writer = TabularWriter(path, kind, "orders", 3)
    for each in records:
        row: Fields = (each.offset, each.timestamp_ms, each.key, each.value, each.headers)
        writer.add(each.partition, [row], append_time=False)
    writer.close()
    assert partitions_of(path, kind) == max(3, *(each.partition + 1 for each in records))
    found = [draft for drafts in read_tabular(path, kind) for draft in drafts]
    assert found == [Draft("orders", r.partition, r.timestamp_ms, r.key, r.value, r.headers) for r in records]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"", "no JSON"),
        (b"[]", "list instead of an object"),
        (b"{}", "no 'value'"),
        (b'{"value":1', "no JSON"),
        (b'{"vaule":"x","value":"y"}', "did you mean 'value'"),
        (b'{"value":"x","partition":"1"}', "partition"),
        (b'{"value":"x","partition":2147483648}', "partition"),
        (b'{"value":"x","timestamp":true}', "timestamp"),
        (b'{"value":"x","value_encoding":"base63"}', "value_encoding"),
        (b'{"value":"x!","value_encoding":"base64"}', "no base64"),
        (b'{"value":"\\ud800"}', "surrogate"),
        (b'{"value":"x","headers":[["a"]]}', "header"),
        (b'{"value":"x","headers":[["a","?"]]}', "no base64"),
        (b'{"value":"x","headers":{"a":1}}', "no text"),
        (b'{"value":"\xff"}', "no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_a_line_that_is_no_record_says_why(line: bytes, why: str) -> None:
    with pytest.raises(JsonlError, match="line 7: ") as raised:
        jsonl.read(line, 7)
    assert why in raised.value.message


def test_what_is_written_by_hand_may_say_less() -> None:
    assert jsonl.read(b'{"value":{"id":1, "n":"\xc3\xa4"}}', 1).value == '{"id":1,"n":"ä"}'.encode()
    assert jsonl.read(b'{"value":null}', 1) == Draft(None, None, None, None, None)
    assert jsonl.read(b'{"value":"x","headers":{"a":"b","c":null}}', 1).headers == (("a", b"b"), ("c", None))


@settings(deadline=None)  # a loaded machine is not slow code
@given(st.lists(_RECORDS, max_size=10))
def test_the_hash_is_of_contents_by_partition_and_not_of_offsets(records: list[Record]) -> None:
    def digest(chosen: list[Record], shift: int) -> str:
        content = ContentHash()
        for each in chosen:
            content.add(each.partition, [(each.offset + shift, each.timestamp_ms, each.key, each.value, each.headers)])
        return content.hexdigest()

    by_partition = sorted(records, key=lambda each: each.partition)
    assert digest(records, 0) == digest(by_partition, 1000)
    if records:
        changed = [records[0]._replace(value=(records[0].value or b"") + b"x"), *records[1:]]
        assert digest(changed, 0) != digest(records, 0)
        assert digest(records[1:], 0) != digest(records, 0)


def test_a_format_prints_what_kcat_prints() -> None:
    fields: Fields = (7, 1_700_000_000_000, b"k", None, (("a", b"1"), ("b", None)))

    def shown(text: str, null: bytes = b"") -> bytes:
        return Format(text, "t%opic", null).render(3, [fields])

    assert shown(r"%t %p@%o %k=%s\n") == b"t%opic 3@7 k=\n"
    assert shown("%k=%s", b"NULL") == b"k=NULL"
    assert shown(r"%K %S %T %h %R\t%%\x41\0\q") == b"1 -1 1700000000000 a=1,b=NULL \xff\xff\xff\xff\t%A\x00\\q"
    assert shown("no placeholder 100%%") == b"no placeholder 100%"
    assert shown("%") == b"%"
    with pytest.raises(SettingsError):
        Format("%z", "t")


def test_what_librdkafka_cannot_carry_is_refused_and_not_changed() -> None:
    assert headers_to_send((("ü", b"\xff"), ("n", None))) == [("ü", b"\xff"), ("n", None)]
    for name in ("a\x00b", "\udcff"):
        with pytest.raises(ClientError, match="header name"):
            headers_to_send(((name, b"1"),))


def test_lines_for_a_terminal_command_nothing() -> None:
    record = Record("t", 0, 0, 0, "create", None, "\x9b31m\x1b[2J ü".encode())
    line = jsonl.write(record)
    assert "\x1b" not in line
    assert json.loads(line)["value"] == "\x9b31m\x1b[2J ü"


_TEXTS = st.none() | st.binary(max_size=12) | st.text(max_size=12).map(str.encode)
_ROWS = st.lists(
    st.tuples(
        st.integers(0, 2**62),
        st.integers(-1, 2**42),
        _TEXTS,
        _TEXTS,
        st.lists(st.tuples(st.text(max_size=3), _TEXTS), max_size=2).map(tuple),
    ),
    max_size=8,
)


@given(_ROWS, st.sampled_from([0, TIMESTAMP_TYPE_FLAG]))
def test_many_lines_at_once_are_those_of_single_records(rows: list[Fields], attributes: int) -> None:
    header = header_of(attributes)
    lines = [jsonl.write(to_record("t", 3, header, fields)).encode() for fields in rows]
    assert jsonl.write_rows(("t", 3), [(header, rows[:3]), (header, rows[3:])]) == b"".join(lines)
    for_terminals = jsonl.write_rows(("t", 3), [(header, rows)], ascii_only=True)
    assert for_terminals.isascii()
    assert [json.loads(each) for each in for_terminals.splitlines()] == [json.loads(each) for each in lines]


@given(st.lists(st.text('\\"/\n\r\t\x00\x1f\x7f\x85\u2028üa%', max_size=8), min_size=1, max_size=4))
def test_texts_are_escaped_together_as_one_by_one(texts: list[str]) -> None:
    rows: list[Fields] = [(place, 0, None, text.encode(), ()) for place, text in enumerate(texts)]
    lines = jsonl.write_rows(("t", 0), [(header_of(0), rows)]).splitlines()  # as -o json does
    assert [json.loads(line)["value"] for line in lines] == texts


@given(_ROWS, st.sampled_from(["%o", "%k:%s", "%p %o %k %s\\n", "%T%%", "%h|%s", "x", "%K%S%R%k", "%t%s%s%o"]))
def test_a_batch_is_formatted_as_its_records_are(rows: list[Fields], text: str) -> None:
    form = Format(text, "t", b"NULL")
    assert form.render(7, rows) == b"".join(form.render(7, [each]) for each in rows)


def header_of(attributes: int) -> BatchHeader:
    return BatchHeader(0, 61, 0, 2, 0, attributes, 0, 0, 0, -1, -1, -1, 0)
