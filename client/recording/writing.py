"""Recording: samples into a file that may be cut off at any time and still be read up to there.

A sample is one Arrow record batch of what changed since the sample before; the first of a file, and one a minute, holds
everything. A file that is full becomes FILE.1, and the one that was FILE.1 becomes FILE.2: the oldest goes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.recording.reading import Recording, RecordingError
from klamm.client.recording.sampling import take_configs, take_sample
from klamm.client.recording.state import SAMPLE, Row, State, changes, schema

FILE_SIZE_MAX: Final = 64 * 1024 * 1024
FILES_MAX: Final = 4
WHOLE_EVERY: Final = 60
"""Samples: finding a time reads a minute of changes at most."""
SLOW_EVERY_S: Final = 60.0
"""Configs and sizes are large and seldom change."""


class Sampled(NamedTuple):
    """What one sample came to."""

    time_ms: int
    rows: int
    whole: bool
    size_bytes: int
    errors: list[ClientError]


class Recorder:
    """Writes samples of one cluster to one file. Use it in ``with``."""

    def __init__(
        self,
        cluster: Cluster,
        path: Path,
        *,
        file_size_max: int = FILE_SIZE_MAX,
        files_max: int = FILES_MAX,
    ) -> None:
        """Open the file; a recording that is there becomes its older part.

        Raises:
            RecordingError: The file is something else, or cannot be written.
        """
        self._cluster = cluster
        self._path = path
        self._file_size_max = file_size_max
        self._files_max = files_max
        self._before: State = {}
        self._slow: State = {}
        self._slow_read_s = -SLOW_EVERY_S
        self._number = 0
        self._since_whole = WHOLE_EVERY
        self._sink: Any = None
        self._writer: Any = None
        if path.exists() and path.stat().st_size > 0:
            Recording(path)  # raises where it is none: what somebody else wrote is not moved away
            self._rotate()
        self._open()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    async def sample(self) -> Sampled:
        """Take one sample and write it; it can be read when this returns. A cluster that is away is a sample, too."""
        time_ms = self._cluster.now_ms()
        error = ""
        errors: list[ClientError] = []
        after = self._before
        try:
            state, errors = await take_sample(self._cluster)
            if time.monotonic() - self._slow_read_s >= SLOW_EVERY_S:
                self._slow = await take_configs(self._cluster, state)
                self._slow_read_s = time.monotonic()
            after = {**state, **self._slow}
        except ClientError as failed:
            error, errors = f"{failed.code}: {failed.message}", [failed]
        if self._sink.tell() >= self._file_size_max:
            self.close()
            self._rotate()
            self._open()
        return self._write(time_ms, after, error, errors)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = self._sink = None

    def _write(self, time_ms: int, after: State, error: str, errors: list[ClientError]) -> Sampled:
        import pyarrow as pa  # noqa: PLC0415 (a tenth of a second that only recordings take)

        whole = self._since_whole >= WHOLE_EVERY
        rows = list(after.values()) if whole else changes(self._before, after)
        head = Row(SAMPLE, offset=self._number, end=1 if whole else 0, body=error)
        columns = [list(column) for column in zip(head, *rows, strict=True)]
        arrays = [
            pa.array([time_ms] * (len(rows) + 1), pa.int64()).cast(self._schema.field("at").type),
            *(pa.array(column, field.type) for column, field in zip(columns, list(self._schema)[1:], strict=True)),
        ]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        self._sink.flush()
        self._before = after
        self._number += 1
        self._since_whole = 1 if whole else self._since_whole + 1
        return Sampled(time_ms, len(rows), whole, self._sink.tell(), errors)

    def _open(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 (as above)

        self._schema = schema()
        try:
            self._sink = pa.OSFile(str(self._path), "wb")
        except OSError as error:
            msg = f"{self._path} cannot be written: {error.strerror or error}"
            raise RecordingError(msg) from error
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        self._writer = pa.ipc.new_stream(self._sink, self._schema, options=options)
        self._since_whole = WHOLE_EVERY

    def _rotate(self) -> None:
        """Make FILE FILE.1, FILE.1 FILE.2, …; what would be beyond the last goes."""
        last = self._path.with_name(f"{self._path.name}.{self._files_max - 1}")
        last.unlink(missing_ok=True)
        for number in range(self._files_max - 2, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.rename(self._path.with_name(f"{self._path.name}.{number + 1}"))
        if self._files_max > 1:
            self._path.rename(self._path.with_name(f"{self._path.name}.1"))
