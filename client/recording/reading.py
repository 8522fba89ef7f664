"""A recording that is read: its times, the state at one of them, and that state as a cluster.

Files are read where they stand; a file that ends in the middle of a sample (the recorder was killed, or is writing now)
is read up to there. Going forward in time applies changes only, so a slider moves smoothly.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from klamm.client.connection import Message, api_name
from klamm.client.errors import ClientError, RefusedError, SettingsError, UnsupportedApiError
from klamm.client.in_process import InProcessCluster, InProcessConnection
from klamm.client.positions import parse_time_ms
from klamm.client.recording.state import FORMAT, FORMAT_KEY, Row, State, apply
from klamm.client.settings import Address, Settings

_COLUMNS: Final = ("kind", "name", "topic", "partition", "broker", "offset", "end", "time_ms", "body")


class RecordingError(ClientError):
    """A file that is no recording, or a time that it does not hold."""

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__("RECORDING", message, next_step)


class NotRecordedError(UnsupportedApiError):
    """A recording holds nothing that could answer."""

    def __init__(self, api: str, when: str) -> None:
        super().__init__(api, "the recording")
        self.code = "NOT_RECORDED"
        self.message = f"{api} was not recorded: the recording of {when} has metadata, offsets, groups and configs"
        self.args = (self.message,)
        self.next_step = "ask the live cluster, without --replay"


class _Sample(NamedTuple):
    time_ms: int
    part: int
    batch: int
    whole: bool
    error: str


class Recording:
    """A recording, with the older parts that rotation left beside it.

    Attributes:
        path: The newest part.
        times: When samples were taken, in milliseconds, ascending.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the index.

        Raises:
            RecordingError: There is no such file, or it is no recording.
        """
        self.path = Path(path)
        self._batches: list[list[Any]] = []
        self._samples: list[_Sample] = []
        for part in parts_of(self.path):
            self._read(part)
        self._samples.sort(key=lambda sample: sample.time_ms)
        self.times = [sample.time_ms for sample in self._samples]
        if not self.times:
            msg = f"{self.path} holds no sample yet"
            raise RecordingError(msg, "let `klamm record` run for a second or two")
        self._state: State = {}
        self._place = -1

    def cluster_at(self, time_ms: int | None = None) -> RecordedCluster:
        """Return the cluster as it was at a time (the sample at it or before), or at the last.

        Raises:
            RecordingError: The recording begins later.
        """
        place = self._place_of(time_ms)
        sample = self._samples[place]
        return RecordedCluster(dict(self.state_at(sample.time_ms)), sample.time_ms, sample.error)

    def state_at(self, time_ms: int) -> State:
        """Return the rows of the sample at a time or before. Do not change it."""
        place = self._place_of(time_ms)
        start = place
        while start > 0 and not self._samples[start].whole:
            start -= 1
        if start <= self._place <= place:  # what was read last is on the way
            start = self._place + 1
        else:
            self._state = {}
        for number in range(start, place + 1):
            if self._samples[number].whole:
                self._state = {}
            apply(self._state, self._rows(self._samples[number]))
        self._place = place
        return self._state

    def error_at(self, time_ms: int) -> str:
        """Return why the cluster did not answer then; "" if it did."""
        return self._samples[self._place_of(time_ms)].error

    def _place_of(self, time_ms: int | None) -> int:
        place = len(self.times) - 1 if time_ms is None else bisect_right(self.times, time_ms) - 1
        if place < 0:
            msg = f"{self.path} begins at {time_text(self.times[0])}, after {time_text(time_ms or 0)}"
            raise RecordingError(msg, f"it ends at {time_text(self.times[-1])}: --at between the two")
        return place

    def _read(self, path: Path) -> None:
        import pyarrow as pa  # noqa: PLC0415 (a tenth of a second that only recordings take)

        number = len(self._batches)
        self._batches.append([])
        try:
            stream = pa.ipc.open_stream(pa.memory_map(str(path)))
        except (pa.ArrowInvalid, OSError) as error:
            msg = f"{path} is no recording of klamm: {error}"
            raise RecordingError(msg, "klamm record FILE makes one") from error
        if (stream.schema.metadata or {}).get(FORMAT_KEY) != FORMAT.encode():
            msg = f"{path} is an Arrow file, but no recording of klamm of format {FORMAT}"
            raise RecordingError(msg, "klamm record FILE makes one")
        while True:
            try:
                batch = stream.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):  # its end, or that of what was written so far
                return
            self._index(number, batch)

    def _index(self, part: int, batch: Any) -> None:  # noqa: ANN401 (pyarrow has no types)
        held = self._batches[part]
        held.append(batch)
        time_ms = batch.column("at").cast("int64")[0].as_py()
        whole = batch.column("end")[0].as_py() == 1
        self._samples.append(_Sample(time_ms, part, len(held) - 1, whole, batch.column("body")[0].as_py()))

    def _rows(self, sample: _Sample) -> list[Row]:
        batch = self._batches[sample.part][sample.batch]
        columns = [batch.column(name).to_pylist() for name in _COLUMNS]
        return [Row(*values) for values in zip(*columns, strict=True)]


class RecordedConnection(InProcessConnection):
    """A connection to a broker of a recording: what it does not know is an error that says so."""

    when = ""

    def version_of(self, api_key: int) -> int:
        """Return the version, as every connection does.

        Raises:
            NotRecordedError: The recording knows nothing of the kind.
        """
        self._ensure(api_key)
        return super().version_of(api_key)

    async def request_encoded(
        self, api_key: int, versions: tuple[int, int], encode: Callable[[int, int, str], bytes | bytearray]
    ) -> tuple[int, memoryview]:
        """Answer an encoded request.

        Raises:
            NotRecordedError: The recording knows nothing of the kind.
        """
        self._ensure(api_key)
        return await super().request_encoded(api_key, versions, encode)

    def _ensure(self, api_key: int) -> None:
        if api_key not in self.versions:
            raise NotRecordedError(api_name(api_key), self.when)


class RecordedCluster(InProcessCluster):
    """A cluster as it was. Every reading operation works on it; changes are refused.

    Attributes:
        recorded_at_ms: When the sample was taken.
    """

    connection_class = RecordedConnection

    def __init__(self, state: State, recorded_at_ms: int, error: str = "") -> None:
        from klamm.client.recording.serving import HANDLERS  # noqa: PLC0415 (kio)

        self.recorded_at_ms = recorded_at_ms
        self._error = error
        self._state_served = state
        found = state.get(("cluster", "", "", -1))
        brokers: Mapping[int, Address] = {}
        if found is not None:
            brokers = {number: Address(host, port) for number, host, port, _ in found.json()["brokers"]}
        settings = Settings(tuple(brokers.values()), {}, context=None, read_only=True)
        versions = {api_key: versions for api_key, (versions, _) in HANDLERS.items()}
        self._handlers = {api_key: handler for api_key, (_, handler) in HANDLERS.items()}
        super().__init__(brokers, self._serve, versions, settings)
        for connection in self.connections:
            connection.when = time_text(recorded_at_ms)  # type: ignore[attr-defined] # a RecordedConnection

    def now_ms(self) -> int:
        """Return when it was recorded: ages are as they were then."""
        return self.recorded_at_ms

    async def ensure_writable(self, what: str) -> NoReturn:
        """Refuse every change.

        Raises:
            RefusedError: Always.
        """
        msg = f"{what} refused: this is a recording of {time_text(self.recorded_at_ms)}"
        raise RefusedError(msg, "without --replay it goes to the live cluster")

    def _serve(self, broker_id: int, api_key: int, request: Message) -> Message:
        if self._error:
            code, msg = "NOT_RECORDED", f"at {time_text(self.recorded_at_ms)} the cluster did not answer: {self._error}"
            raise ClientError(code, msg, "another time: --at")
        return self._handlers[api_key](self._state_served, broker_id, request)


def parts_of(path: Path) -> list[Path]:
    """Return a recording's parts that exist, the oldest first.

    Raises:
        RecordingError: There is none.
    """
    older = sorted(
        (int(each.name.rpartition(".")[2]), each)
        for each in path.parent.glob(f"{path.name}.*")
        if each.name.rpartition(".")[2].isdigit()
    )
    found = [each for _, each in reversed(older)]
    if path.is_file():
        found.append(path)
    if not found:
        msg = f"there is no recording {path}"
        raise RecordingError(msg, "klamm record FILE makes one")
    return found


def parse_at(text: str, times: Sequence[int]) -> int:
    """Return the time in milliseconds that ``--at`` means in a recording with these times.

    ``start``, ``end``, ``-10m`` before its end, ``03:12`` or ``03:12:40`` local time on a day it holds, ISO 8601 with
    or without ``@``, ``@`` and milliseconds.

    Raises:
        SettingsError: It is no time.
    """
    from datetime import datetime, timedelta  # noqa: PLC0415 (only where one is asked for)

    if text in {"start", "end", "now"}:
        return times[0] if text == "start" else times[-1]
    if re.fullmatch(r"\d{1,2}:\d\d(:\d\d)?", text):
        last = datetime.fromtimestamp(times[-1] / 1000).astimezone()
        hours, minutes, *seconds = (int(part) for part in text.split(":"))
        try:
            found = last.replace(hour=hours, minute=minutes, second=seconds[0] if seconds else 0, microsecond=999_999)
        except ValueError:
            msg = f"{text!r} is no time of a day"
            raise SettingsError(msg, "for example 03:12 or 23:59:30") from None
        if found > last:  # the recording ends before: the day before it
            found = min(found - timedelta(days=1), last) if found - last > timedelta(minutes=1) else last
        return int(found.timestamp() * 1000)
    place = text if text.startswith(("-", "@")) else f"@{text}"
    found_ms = parse_time_ms(place, times[-1])
    if found_ms is None:
        msg = f"{text!r} is no time"
        raise SettingsError(msg, "for example 03:12, @2026-11-23T10:00 or -10m")
    return found_ms


def time_text(time_ms: int) -> str:
    """Return a time in UTC, to the second."""
    from datetime import UTC, datetime  # noqa: PLC0415 (only where one is shown)

    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"
