"""The search on real brokers: nothing missed, nothing twice, whatever happens to the log and its broker."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klamm.client.cluster import Cluster
from klamm.client.messages.any_case import AnyCase
from klamm.client.messages.conditions import parse
from klamm.client.messages.fetching import Fetched
from klamm.client.messages.filters import Filter, build, literal_filter
from klamm.client.messages.formats import Format
from klamm.client.messages.hashing import ContentHash
from klamm.client.messages.record import Record
from klamm.client.messages.scan import Condition, Scan
from klamm.client.positions import Range, resolve_ranges
from klamm.client.settings import Settings, parse_bootstrap
from klamm.client.topics import delete_records
from klamm.client.wire import ClusterMetadata
from klamm.model.errors import ErrorCode
from klamm.records.batch import CONTROL_FLAG, HEADER_SIZE, iter_batches
from klamm.records.compression import Codec
from klamm.records.record import Record as PlainRecord
from klamm.records.record import build_batch
from tests.apache_kafka.node import ApacheKafkaNode
from tests.client.scripted import FETCH, Part, Scripted
from tests.clients.confluent import await_stable, create_topic, init_transactions, make_producer
from tests.conftest import KlammFactory
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess

TIMEOUT_S = 60.0


async def _scan(
    cluster: Cluster,
    topic: str,
    condition: Condition | None = None,
    *,
    start: str = "start",
    committed: bool = False,
    on_trouble: Callable[[str], None] = lambda _: None,
) -> Scan:
    metadata = await cluster.metadata([topic])
    partitions = [(topic, each.partition) for each in metadata.topics[0].partitions]
    found = await resolve_ranges(cluster, metadata, partitions, start, "end", committed_only=committed)
    assert not found.errors
    return Scan(
        cluster,
        metadata,
        found.ranges,
        condition,
        committed_only=committed,
        patience_s=TIMEOUT_S,
        on_trouble=on_trouble,
    )


def _cluster(broker: Broker) -> Cluster:
    return Cluster(Settings(parse_bootstrap(broker.bootstrap), {}))


def _search(
    broker: Broker, topic: str, condition: Condition | None = None, *, committed: bool = False
) -> tuple[list[Record], Scan]:
    async def run() -> tuple[list[Record], Scan]:
        async with _cluster(broker) as cluster, asyncio.timeout(TIMEOUT_S):
            scan = await _scan(cluster, topic, condition, committed=committed)
            return [record async for record in scan], scan

    return asyncio.run(run())


def _fill(broker: Broker, topic: str, count: int, **settings: object) -> None:
    create_topic(broker, topic, 3)
    producer = make_producer(broker, **settings)
    noise = random.Random(7)
    for number in range(count):
        producer.produce(topic, noise.randbytes(600) + b"#%d#" % number, b"%d" % number)
        producer.poll(0)
    assert producer.flush(TIMEOUT_S) == 0


def test_a_broker_killed_in_the_middle_costs_no_record_and_repeats_none(
    klamm_process: KlammFactory, topic: str
) -> None:
    broker = klamm_process().start()
    _fill(broker, topic, 6000)
    whole, _ = _search(broker, topic)
    trouble: list[str] = []

    async def interrupted() -> tuple[list[Record], Scan]:
        async with _cluster(broker) as cluster, asyncio.timeout(TIMEOUT_S):
            scan = await _scan(cluster, topic, on_trouble=trouble.append)
            found: list[Record] = []
            restart: asyncio.Task[KlammProcess] | None = None
            async for records in scan.batches():
                found += records
                if restart is None:
                    broker.kill()
                    restart = asyncio.create_task(asyncio.to_thread(broker.start))
            assert restart is not None
            await restart
            return found, scan

    found, scan = asyncio.run(interrupted())
    assert trouble, "the search was over before the broker died"
    assert len(found) == len({(each.partition, each.offset) for each in found}) == 6000
    assert _hash(found) == _hash(whole)
    assert scan.is_complete
    assert scan.scanned == 6000


def _hash(records: list[Record]) -> str:
    content = ContentHash()
    for record in records:
        content.add(record.partition, [(record.offset, record.timestamp_ms, record.key, record.value, record.headers)])
    return content.hexdigest()


def test_literals_find_what_looking_at_every_record_finds_in_every_codec(any_broker: Broker, topic: str) -> None:
    codecs = ("none", "gzip", "snappy", "lz4", "zstd")  # a broker hands them out as they came
    for codec in codecs if any_broker.name == "klamm" else ("lz4",):
        name = f"{topic}-{codec}"
        _fill(any_broker, name, 500, compression_type=codec)
        wanted = b"#42"
        expected = {each.value for each in _search(any_broker, name)[0] if wanted in (each.value or b"")}
        found, scan = _search(any_broker, name, literal_filter(text=wanted))
        assert {each.value for each in found} == expected
        assert (scan.scanned, scan.is_complete) == (500, True)
        found, scan = _search(any_broker, name, build(parse("key == 42")))
        assert [each.key for each in found] == [b"42"]


def test_a_stopped_search_goes_on_at_its_cursor(any_broker: Broker, topic: str) -> None:
    _fill(any_broker, topic, 3000)

    async def run() -> tuple[list[Record], list[Record]]:
        async with _cluster(any_broker) as cluster, asyncio.timeout(TIMEOUT_S):
            first: list[Record] = []
            scan = await _scan(cluster, topic)
            async for record in scan:
                first.append(record)
                if len(first) == 1234:
                    break
            rest = await _scan(cluster, topic, start=scan.cursor)
            return first, [record async for record in rest]

    first, rest = asyncio.run(run())
    places = [(each.partition, each.offset) for each in (*first, *rest)]
    assert len(places) == len(set(places)) == 3000


@pytest.mark.parametrize("wanted", [None, "key ~ '3$'", "key == 1233"])
def test_a_search_that_stops_has_looked_at_just_what_its_cursor_leaves_out(
    any_broker: Broker, topic: str, wanted: str | None
) -> None:
    _fill(any_broker, topic, 3000)
    condition = None if wanted is None else build(parse(wanted))

    async def run() -> tuple[Scan, Scan]:
        async with _cluster(any_broker) as cluster, asyncio.timeout(TIMEOUT_S):
            scan = await _scan(cluster, topic, condition)
            async for found in scan.rows():
                offsets = [fields[0] for _, batch in found.rows for fields in batch]
                if offsets:
                    stop = offsets[len(offsets) // 2] + 1
                    scan.stop_at(found.where, stop, sum(offset >= stop for offset in offsets))
                    break
            rest = await _scan(cluster, topic, condition, start=scan.cursor)
            assert [each async for each in rest] or wanted == "key == 1233"
            return scan, rest

    scan, rest = asyncio.run(run())
    for where, coverage in scan.coverage.items():
        assert coverage.scanned == coverage.position - coverage.start, where
    assert scan.scanned + rest.scanned == 3000
    assert scan.matched + rest.matched == {None: 3000, "key ~ '3$'": 300, "key == 1233": 1}[wanted]


def test_records_of_five_megabytes_are_read_whole(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, 2, max_message_bytes=8_000_000)
    producer = make_producer(any_broker, message_max_bytes=8_000_000)
    values = [bytes([number]) * 5_000_000 for number in range(1, 4)]
    for number, value in enumerate(values):
        producer.produce(topic, value, partition=number % 2)
    assert producer.flush(TIMEOUT_S) == 0
    found, scan = _search(any_broker, topic)
    assert sorted(each.value or b"" for each in found) == values
    assert scan.is_complete


def test_aborted_and_open_transactions_are_left_out_when_only_committed_ones_are_wanted(
    apache_kafka: ApacheKafkaNode, topic: str
) -> None:
    create_topic(apache_kafka, topic, 1)
    producer = make_producer(apache_kafka, transactional_id=topic, linger_ms=0)
    init_transactions(producer)
    for number in range(6):
        producer.begin_transaction()
        for index in range(20):
            producer.produce(topic, f"{'aborted' if number % 2 else 'committed'}-{number}-{index}", partition=0)
        producer.flush(TIMEOUT_S)
        if number % 2:
            producer.abort_transaction(TIMEOUT_S)
        else:
            producer.commit_transaction(TIMEOUT_S)
    plain = make_producer(apache_kafka)
    plain.produce(topic, "committed-plain", partition=0)
    assert plain.flush(TIMEOUT_S) == 0
    await_stable(apache_kafka, topic)
    everything, scan = _search(apache_kafka, topic)
    assert (len(everything), scan.is_complete) == (121, True)
    committed, scan = _search(apache_kafka, topic, committed=True)
    assert [(each.value or b"").split(b"-")[0] for each in committed] == [b"committed"] * 61
    assert scan.is_complete
    producer.begin_transaction()
    producer.produce(topic, "committed-open", partition=0)
    producer.flush(TIMEOUT_S)
    open_one, scan = _search(apache_kafka, topic, committed=True)
    assert (len(open_one), scan.is_complete) == (61, True)
    producer.abort_transaction(TIMEOUT_S)


def test_what_retention_deletes_meanwhile_is_reported_and_not_silently_passed(any_broker: Broker, topic: str) -> None:
    _fill(any_broker, topic, 300)

    async def run() -> Scan:
        async with _cluster(any_broker) as cluster, asyncio.timeout(TIMEOUT_S):
            scan = await _scan(cluster, topic)
            metadata = await cluster.metadata([topic])
            trimmed, errors = await delete_records(cluster, metadata, {(topic, 0): 50})
            assert (trimmed, errors) == ({(topic, 0): 50}, {})
            assert [record async for record in scan]
            return scan

    scan = asyncio.run(run())
    assert [(gap.where, gap.start, gap.end) for gap in scan.gaps] == [((topic, 0), 0, 50)]
    assert not scan.is_complete
    assert scan.scanned == 250
    assert scan.remaining == 0


def test_a_batch_that_cannot_be_read_is_counted_and_the_rest_is_searched(any_broker: Broker, topic: str) -> None:
    _fill(any_broker, topic, 30)

    async def run() -> Scan:
        async with _cluster(any_broker) as cluster:
            scan = await _scan(cluster, topic)
            # Compaction has left gaps in the batches and between them.
            good = build_batch([PlainRecord(1, 1, b"k", b"v"), PlainRecord(3, 1, b"k", b"v")], base_offset=0)
            bad = build_batch([PlainRecord(5, 1, b"k", b"v")], codec=Codec.ZSTD)
            bad[HEADER_SIZE] ^= 0xFF
            frame = bytes(good + bad + build_batch([PlainRecord(8, 1, b"k", b"v")]))
            fetched = Fetched((topic, 0), 2, 9, frame, list(iter_batches(frame)), 9, 9)
            rows = await scan.look(fetched)
            assert [fields[0] for _, batch in rows for fields in batch] == [3, 8]
            assert scan.scanned == 2
            return scan

    scan = asyncio.run(run())
    assert scan.corrupt_count == 1
    assert not scan.is_complete
    assert "@5: 1 records unreadable" in scan.unread_errors()[0].message


_BYTES = st.none() | st.binary(max_size=90)
_HEADERS = st.lists(st.tuples(st.binary(max_size=9), _BYTES), max_size=2).map(tuple)
_BATCHES = st.lists(
    st.tuples(
        st.integers(0, 3),  # offsets missing in front
        st.lists(
            st.tuples(st.integers(1, 90), st.integers(0, 1 << 42), _BYTES, _BYTES, _HEADERS), min_size=1, max_size=9
        ),
        st.sampled_from(list(Codec)),
        st.none() | st.integers(0, 1 << 42),  # the time of appending
        st.integers(0, 9),  # what is done to it
    ),
    max_size=5,
)
_FORMATS = st.sampled_from(["%o", "%k", "%s", r"%p %o %k %s\n", "%s%%%k|", "%t%o%o%k", "nothing"])
_WHERE = ("of-columns", 3)


def _frame_of(drawn: list[Any]) -> tuple[bytes, int]:
    """Return batches as a broker sends them, some of them damaged or of control records, and the next offset."""
    frame = bytearray()
    offset = 0
    for missing, rows, codec, append_time, harm in drawn:
        base_offset = offset
        offset += missing
        records = []
        for step, *fields in rows:
            records.append(PlainRecord(offset, *fields))
            offset += step
        batch = build_batch(
            records, base_offset=base_offset, codec=codec, log_append_time_ms=append_time, is_control=harm == 1
        )
        if harm == 0:
            batch[HEADER_SIZE] ^= 0xFF
        frame += batch
    return bytes(frame), offset


class _Once:
    """A fetcher that has one answer."""

    errors: ClassVar[dict[Any, Any]] = {}
    gaps: ClassVar[list[Any]] = []

    def __init__(self, fetched: Fetched) -> None:
        self._fetched = fetched

    async def __aiter__(self) -> AsyncIterator[Fetched]:
        yield self._fetched


@settings(deadline=None)  # a loaded machine is not slow code
@given(_BATCHES, _FORMATS, st.integers(0, 60), st.none() | st.integers(0, 200))
def test_what_is_printed_of_columns_is_what_is_printed_of_records(
    drawn: list[Any], text: str, start: int, end: int | None
) -> None:
    frame, next_offset = _frame_of(drawn)
    batches = [each for each in iter_batches(frame) if not each[1].attributes & CONTROL_FLAG]
    fetched = Fetched(_WHERE, start, max(start, next_offset), frame, batches, next_offset, next_offset)
    form = Format(text, _WHERE[0], b"NULL")
    assert form.takes_columns

    def make() -> Scan:
        scan = Scan(
            Cluster(Settings((), {})), ClusterMetadata([], None, -1, []), {_WHERE: Range(start, end, 0, next_offset)}
        )
        scan._fetcher = _Once(fetched)  # type: ignore[assignment]
        return scan

    async def of_columns(scan: Scan) -> bytes:
        found = [form.render_columns(where[1], each) async for where, columns in scan.columns() for each in columns]
        return b"".join(found)

    async def of_records(scan: Scan) -> bytes:
        return b"".join([form.render(each.where[1], rows) async for each in scan.rows() for _, rows in each.rows])

    fast, careful = make(), make()
    assert asyncio.run(of_columns(fast)) == asyncio.run(of_records(careful))
    assert fast.coverage == careful.coverage
    assert (fast.corrupt, fast.corrupt_count) == (careful.corrupt, careful.corrupt_count)


class _Watched(AnyCase):
    """Says in which buffers it was looked for."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.searched: list[bytes | bytearray] = []

    def find(self, data: bytes | bytearray, start: int, end: int) -> int:
        self.searched.append(data)
        return super().find(data, start, end)


@pytest.mark.parametrize("codecs", [(Codec.LZ4, Codec.GZIP), (Codec.LZ4, Codec.NONE, Codec.ZSTD), (Codec.NONE,)])
def test_a_frame_is_searched_for_a_literal_only_where_a_batch_of_it_is_not_compressed(
    codecs: tuple[Codec, ...],
) -> None:
    batches = [
        build_batch([PlainRecord(10 * n + k, 0, None, b"HIT" if k == 3 else b"no") for k in range(10)], codec=codec)
        for n, codec in enumerate(codecs)
    ]
    frame, count = b"".join(map(bytes, batches)), 10 * len(codecs)
    fetched = Fetched(_WHERE, 0, count, frame, list(iter_batches(frame)), count, count)
    needle = _Watched(b"hit")
    condition = Filter(literal_filter(text=b"HIT").check, [(needle,)])
    scan = Scan(
        Cluster(Settings((), {})), ClusterMetadata([], None, -1, []), {_WHERE: Range(0, count, 0, count)}, condition
    )
    scan._fetcher = _Once(fetched)  # type: ignore[assignment]

    async def offsets() -> list[int]:
        return [record.offset async for record in scan]

    assert asyncio.run(offsets()) == [10 * n + 3 for n in range(len(codecs))]
    assert scan.scanned == count
    assert any(data is frame for data in needle.searched) == (Codec.NONE in codecs)


def test_a_cluster_that_is_away_for_too_long_is_an_error_and_no_wait_for_ever(
    klamm_process: KlammFactory, topic: str
) -> None:
    broker = klamm_process().start()
    _fill(broker, topic, 100)

    async def run() -> Scan:
        async with _cluster(broker) as cluster, asyncio.timeout(TIMEOUT_S):
            metadata = await cluster.metadata([topic])
            ranges = (await resolve_ranges(cluster, metadata, [(topic, 0)], "start", "end")).ranges
            scan = Scan(cluster, metadata, ranges, patience_s=1.0)
            broker.kill()
            assert [record async for record in scan] == []
            return scan

    began = time.monotonic()
    scan = asyncio.run(run())
    assert list(scan.errors) == [(topic, 0)]
    assert not scan.is_complete
    assert time.monotonic() - began >= 1.0


def test_a_partition_that_goes_on_failing_is_told_of_once() -> None:
    script = Scripted({"t": [Part(10, fetch_error=ErrorCode.UNKNOWN_SERVER_ERROR)]}, {})
    trouble: list[str] = []

    async def read() -> Scan:
        async with script.cluster() as cluster:
            metadata = await cluster.metadata(["t"])
            ranges = {("t", 0): Range(0, 10, 0, 10)}
            scan = Scan(cluster, metadata, ranges, patience_s=0.5, on_trouble=trouble.append)
            assert [record async for record in scan] == []
            return scan

    scan = asyncio.run(read())
    assert script.count(FETCH) > 1
    assert trouble == ["t:0: unknown server error; asking again, whoever leads it, for up to 0.5 s"]
    assert scan.errors["t", 0].code == "UNKNOWN_SERVER_ERROR"
