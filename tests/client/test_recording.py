"""Recordings: written, cut off, rotated, and served as the cluster they are of."""

import asyncio
import itertools
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.errors import ClientError, RefusedError, SettingsError
from klamm.client.lag import LagRow, group_lags, measure_times
from klamm.client.lag_times import record_times
from klamm.client.recording.reading import NotRecordedError, Recording, RecordingError, parse_at
from klamm.client.recording.state import Row, apply, changes
from klamm.client.recording.writing import Recorder
from klamm.client.requests import shapes
from klamm.client.topics import delete_topics
from klamm.records.record import Record, build_batch
from tests.client.scripted import Group, Part, Scripted

KINDS = st.sampled_from(["topic", "commit"])
ROWS = st.builds(
    Row,
    KINDS,
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["", "t"]),
    st.integers(-1, 1),
    offset=st.integers(0, 3),
)


@given(st.lists(ROWS), st.lists(ROWS))
def test_changes_make_one_state_into_the_other(first: list[Row], second: list[Row]) -> None:
    before, after = {row.key: row for row in first}, {row.key: row for row in second}
    state = dict(before)
    apply(state, changes(before, after))
    assert state == after


def _script() -> Scripted:
    times = [int(time.time() * 1000) - 1000 * (50 - number) for number in range(50)]
    batch = bytes(build_batch([Record(number, times[number], None, b"v") for number in range(50)]))
    return Scripted(
        {"t": [Part(50, batches=[(0, 50, batch)]), Part(7, leader=2), Part(3, leader=-1)], "u": [Part(0)]},
        {"g": Group({("t", 0): 10, ("t", 1): 7, ("t", 2): 1}), "h": Group({("u", 0): 0}, coordinator=2)},
        brokers=2,
    )


def _recorded(script: Scripted, path: Path, samples: int = 4, **how: int) -> list[list[LagRow]]:
    """Record while the group reads on; return what lag was at each sample."""

    async def run() -> list[list[LagRow]]:
        seen: list[list[LagRow]] = []
        async with script.cluster() as cluster:
            with Recorder(cluster, path, **how) as recorder:
                for number in range(samples):
                    script.groups["g"].offsets["t", 0] = 10 + number
                    report = await group_lags(cluster)
                    await measure_times(cluster, report, report.rows)
                    seen.append(report.rows)
                    await recorder.sample()
                    await asyncio.sleep(0.002)  # so that no two samples are of one millisecond
        return seen

    return asyncio.run(run())


def _lag_at(recording: Recording, time_ms: int) -> list[LagRow]:
    async def read() -> list[LagRow]:
        async with recording.cluster_at(time_ms) as cluster:
            report = await group_lags(cluster)
            await measure_times(cluster, report, report.rows)
            return report.rows

    return asyncio.run(read())


def _without_age(rows: list[LagRow]) -> list[LagRow]:
    return [row._replace(lag_time_ms=None if row.lag_time_ms is None else 0) for row in rows]


def test_lag_at_each_time_is_what_it_was_then(tmp_path: Path) -> None:
    seen = _recorded(_script(), tmp_path / "r.arrows")
    recording = Recording(tmp_path / "r.arrows")
    assert len(recording.times) == 4
    for time_ms, rows in zip(recording.times, seen, strict=True):
        then = _lag_at(recording, time_ms)
        assert _without_age(then) == _without_age(rows)
        for early, late in zip(rows, then, strict=True):
            assert abs((early.lag_time_ms or 0) - (late.lag_time_ms or 0)) < 20_000  # the age it had then, not now
    assert _lag_at(recording, recording.times[-1] + 10**6) == _lag_at(recording, recording.times[-1])


def test_times_may_be_asked_for_in_any_order(tmp_path: Path) -> None:
    script = _script()
    _recorded(script, tmp_path / "r.arrows", 6)
    fresh = [dict(Recording(tmp_path / "r.arrows").state_at(each)) for each in Recording(tmp_path / "r.arrows").times]
    recording = Recording(tmp_path / "r.arrows")
    for order in itertools.islice(itertools.permutations(range(6)), 0, None, 37):
        for place in order:
            assert recording.state_at(recording.times[place]) == fresh[place]


def test_a_recording_that_was_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "r.arrows"
    _recorded(_script(), path, 5)
    whole = path.read_bytes()
    times = Recording(path).times
    for size in range(0, len(whole), 211):
        path.write_bytes(whole[:size])
        try:
            found = Recording(path).times
        except RecordingError:
            continue
        assert found == times[: len(found)]
    path.write_bytes(whole[:-40])
    assert len(Recording(path).times) >= 4


def test_files_are_bounded_and_the_older_parts_are_read_with_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "r.arrows"
    _recorded(_script(), path, 12, file_size_max=1, files_max=3)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r.arrows", "r.arrows.1", "r.arrows.2"]
    assert len(Recording(path).times) == 3
    _recorded(_script(), path, 1, files_max=3)  # a recording that is there becomes the older part
    assert len(Recording(path).times) == 3


def test_a_cluster_that_is_away_is_recorded_as_away(tmp_path: Path) -> None:
    script = _script()
    path = tmp_path / "r.arrows"

    def fails(_broker: int, _api: int) -> None:
        code, msg = "DOWN", "connection refused"
        raise ClientError(code, msg)

    def answers(_broker: int, _api: int) -> None:
        return None

    async def run() -> None:
        async with script.cluster() as cluster:
            with Recorder(cluster, path) as recorder:
                for before in (answers, fails, answers):
                    script.before = before
                    await recorder.sample()
                    await asyncio.sleep(0.002)

    asyncio.run(run())
    recording = Recording(path)
    assert [bool(recording.error_at(each)) for each in recording.times] == [False, True, False]
    with pytest.raises(ClientError, match="did not answer: DOWN: connection refused"):
        _lag_at(recording, recording.times[1])
    assert _lag_at(recording, recording.times[2])


def test_what_is_no_recording_is_refused_and_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(RecordingError, match="no recording"):
        Recording(path)
    with pytest.raises(RecordingError, match="no recording"):
        Recorder(_script().cluster(), path)
    assert path.read_text() == "mine"
    with pytest.raises(RecordingError, match="there is no recording"):
        Recording(tmp_path / "none")
    other = tmp_path / "other.arrows"
    with pa.OSFile(str(other), "wb") as sink, pa.ipc.new_stream(sink, pa.schema([("a", pa.int8())])):
        pass
    with pytest.raises(RecordingError, match="an Arrow file"):
        Recording(other)


def test_a_recording_is_never_changed_and_says_what_it_does_not_hold(tmp_path: Path) -> None:
    _recorded(_script(), tmp_path / "r.arrows", 1)
    recording = Recording(tmp_path / "r.arrows")

    async def run() -> None:
        async with recording.cluster_at() as cluster:
            with pytest.raises(RefusedError, match="this is a recording of"):
                await delete_topics(cluster, ["t"])
            with pytest.raises(NotRecordedError, match="DescribeAcls was not recorded"):
                await cluster.ask(29, shapes(29).DescribeAclsRequest)
            _, errors = await record_times(cluster, {("t", 0): 1}, [("t", 0, 3)])
            assert "messages are not recorded" in errors["t", 0, 3].message

    asyncio.run(run())
    with pytest.raises(RecordingError, match="begins at"):
        recording.cluster_at(recording.times[0] - 1)


def test_times_are_understood_as_people_say_them() -> None:
    end = datetime(2026, 11, 27, 4, 0, tzinfo=UTC).astimezone()
    times = [int(end.timestamp() * 1000) - 3_600_000, int(end.timestamp() * 1000)]
    assert parse_at("start", times) == times[0]
    assert parse_at("end", times) == times[1]
    assert parse_at("-10m", times) == times[1] - 600_000
    half = datetime.fromtimestamp((times[1] - 1_800_000) / 1000).astimezone()
    assert parse_at(f"{half:%H:%M}", times) // 1000 == times[1] // 1000 - 1800
    assert parse_at(half.isoformat(), times) == times[1] - 1_800_000
    assert parse_at(f"@{times[0]}", times) == times[0]
    later = datetime.fromtimestamp((times[1] + 7_200_000) / 1000).astimezone()
    assert parse_at(f"{later:%H:%M}", times) < times[0]  # yesterday
    for text in ("yesterday", "25:00", ""):
        with pytest.raises(SettingsError):
            parse_at(text, times)


def test_the_state_can_be_read_by_any_arrow_tool(tmp_path: Path) -> None:
    _recorded(_script(), tmp_path / "r.arrows", 2)
    table = pa.ipc.open_stream((tmp_path / "r.arrows").read_bytes()).read_all()
    rows = table.to_pylist()
    commits = [(row["name"], row["topic"], row["partition"], row["offset"]) for row in rows if row["kind"] == "commit"]
    assert ("g", "t", 0, 10) in commits
    assert ("g", "t", 0, 11) in commits
    assert commits.count(("g", "t", 1, 7)) == 1  # what does not change is written once
