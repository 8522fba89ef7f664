"""A long log is read where something may have happened: at its start, around moments, at its end; gaps are told."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from klamm.client.cluster import Cluster
from klamm.client.tracing import windows
from klamm.client.tracing.windows import Gap, Part, read_part
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch
from tests.tracing.logs import Log, filled

NOBODY = cast("Cluster", None)  # the log in memory stands in for it
SECOND = 1000
COUNT = 3000  # one commit a second


def read(
    monkeypatch: pytest.MonkeyPatch,
    log: Log,
    start: int,
    moments: Sequence[int],
    size: int,
    needles: Sequence[bytes] = (),
) -> Part:
    metadata = log.attach(monkeypatch)
    monkeypatch.setattr(windows, "fetch_stretch", log.fetch)
    monkeypatch.setattr(windows, "offsets_at", log.offsets_at)
    [topic] = metadata.topics
    return asyncio.run(read_part(NOBODY, metadata, topic, topic.partitions[0], start, moments, needles, size))


def long_log() -> Log:
    log = filled(Log(), [(number, "a", number, number * SECOND) for number in range(COUNT)])
    log.stretch_size = 1000
    return log


def offsets(part: Part) -> list[int]:
    return [record.offset for record in part.records]


def test_what_the_bound_allows_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    part = read(monkeypatch, long_log(), 100, [], 1 << 24)
    assert offsets(part) == list(range(100, COUNT))
    assert part.gaps == []


def test_the_start_what_surrounds_a_moment_and_the_end_are_read_and_the_rest_is_a_gap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = read(monkeypatch, long_log(), 10, [1500 * SECOND, 1502 * SECOND], 40_000)
    found = offsets(part)
    assert len(found) == len(set(found)) < 600
    assert {10, 11, *range(1496, 1507), COUNT - 2, COUNT - 1} <= set(found)
    assert [gap.first_offset for gap in part.gaps] == [offset + 1 for offset in found if missing(offset + 1, found)]
    assert sum(gap.end_offset - gap.first_offset for gap in part.gaps) == COUNT - 10 - len(found)
    first = part.gaps[0]
    assert first == Gap(first.first_offset, 1495, (first.first_offset - 1) * SECOND, 1495 * SECOND)


def missing(offset: int, found: list[int]) -> bool:
    return offset < COUNT and offset not in found


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.LZ4])
def test_of_a_batch_only_the_records_that_hold_a_needle_are_decoded(
    monkeypatch: pytest.MonkeyPatch, codec: Codec
) -> None:
    log = Log()
    values = [b"here", b"there", b"here and here", b"", b"here"]
    records = [Record(number, 0, b"k", value) for number, value in enumerate(values)]
    batch = build_batch(records, codec=codec)
    log.batches.append((len(records) - 1, 0, batch))
    part = read(monkeypatch, log, 0, [], 1 << 24, [b"and", b"there"])
    assert [(record.offset, record.value) for record in part.records] == [(1, b"there"), (2, b"here and here")]
    assert read(monkeypatch, log, 0, [], 1 << 24, [b"nowhere"]).records == []


def test_a_moment_that_was_read_already_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    log = long_log()
    part = read(monkeypatch, log, 10, [12 * SECOND], 40_000)
    assert len(log.fetches) == len(set(log.fetches))
    assert len(offsets(part)) == len(set(offsets(part)))
    assert len(part.gaps) == 1


def test_a_log_that_retention_has_shortened_meanwhile_is_read_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    log = long_log()
    log.start = 50
    assert read(monkeypatch, log, 10, [], 40_000) == Part([], [])
