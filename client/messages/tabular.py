"""Records as Arrow and Parquet files, and back: one row a record, nothing lost.

| column | type |
|---|---|
| ``topic`` ``timestamp_type`` | string, as a dictionary |
| ``partition`` ``offset`` | int32, int64 |
| ``timestamp`` | timestamp in milliseconds, UTC; null where the record has none |
| ``key`` ``value`` | binary, null for null |
| ``headers`` | list of (``name`` string, ``value`` binary) |

The schema's metadata has the topic's number of partitions, as ``klamm.partitions``: some may hold no record.

A header's name that is not UTF-8 is written as the bytes it is. ``pyarrow`` is imported on first use.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from klamm.client.errors import SettingsError
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.record import APPEND, CREATE, NONE, Fields, Headers

ROWS_MAX: Final = 50_000
BYTES_MAX: Final = 64 << 20
"""A row group ends at either: it is what is held in memory."""
_PARTITIONS: Final = b"klamm.partitions"


def schema() -> Any:  # noqa: ANN401 (pyarrow has no types)
    """Return the schema of a file."""
    import pyarrow as pa  # noqa: PLC0415 (150 ms that other commands need not pay)

    return pa.schema(
        [
            ("topic", pa.dictionary(pa.int8(), pa.string())),
            ("partition", pa.int32()),
            ("offset", pa.int64()),
            ("timestamp", pa.timestamp("ms", "UTC")),
            ("timestamp_type", pa.dictionary(pa.int8(), pa.string())),
            ("key", pa.binary()),
            ("value", pa.binary()),
            ("headers", pa.list_(pa.struct([("name", pa.string()), ("value", pa.binary())]))),
        ]
    )


class TabularWriter:
    """Writes one file; ``close`` ends it, and only then it is whole."""

    def __init__(self, path: str, kind: str, topic: str, partitions: int) -> None:
        """Begin a file of ``kind`` ``arrow`` or ``parquet``, of a topic with so many partitions."""
        import pyarrow as pa  # noqa: PLC0415 (as above)

        self._schema = schema().with_metadata({_PARTITIONS: str(partitions)})
        self._topic = topic
        self._file: Any = None
        if kind == "parquet":
            from pyarrow import parquet  # noqa: PLC0415 (as above)

            few: Any = ["topic", "timestamp_type"]  # pyarrow's types know only a bool here, its documentation both
            self._writer: Any = parquet.ParquetWriter(path, self._schema, compression="snappy", use_dictionary=few)
        else:
            self._file = pa.OSFile(path, "wb")
            self._writer = pa.ipc.new_file(self._file, self._schema)
        self._batches: list[tuple[int, int, Sequence[Fields]]] = []
        """Partition, type of timestamp as its place in the dictionary, records."""
        self._count = self._size = 0

    def add(self, partition: int, rows: Sequence[Fields], *, append_time: bool) -> None:
        """Add records of one partition; those of one batch have the same type of timestamp."""
        self._batches.append((partition, 1 if append_time else 0, rows))
        self._count += len(rows)
        self._size += sum([len(fields[3] or b"") for fields in rows])
        if self._count >= ROWS_MAX or self._size >= BYTES_MAX:
            self._flush()

    def close(self) -> None:
        """Write what is left and the end of the file."""
        self._flush()
        self._writer.close()
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa  # noqa: PLC0415 (as above)

        if not self._count:
            return
        batches, count = self._batches, self._count
        self._batches, self._count, self._size = [], 0, 0
        rows = [fields for _, _, batch in batches for fields in batch]
        offsets, times, keys, values, headers = zip(*rows, strict=True)
        known = [None if each < 0 else each for each in times]
        kinds = [2 if fields[1] < 0 else kind for _, kind, batch in batches for fields in batch]
        columns = [
            pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int8()), pa.array([self._topic], pa.string())),
            pa.array([partition for partition, _, batch in batches for _ in batch], pa.int32()),
            pa.array(offsets, pa.int64()),
            pa.array(known, pa.int64()).cast(pa.timestamp("ms", "UTC")),
            pa.DictionaryArray.from_arrays(pa.array(kinds, pa.int8()), pa.array([CREATE, APPEND, NONE], pa.string())),
            pa.array(keys, pa.binary()),
            pa.array(values, pa.binary()),
            _headers(headers),
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=self._schema))


def _headers(every: Sequence[Headers]) -> Any:  # noqa: ANN401 (pyarrow has no types)
    import pyarrow as pa  # noqa: PLC0415 (as above)
    from pyarrow import compute  # noqa: PLC0415 (as above)

    ends = [0]
    for headers in every:
        ends.append(ends[-1] + len(headers))
    names = pa.array([name.encode("utf-8", "surrogateescape") for each in every for name, _ in each], pa.binary())
    unchecked = compute.CastOptions(target_type=pa.string(), allow_invalid_utf8=True)
    values = pa.array([value for each in every for _, value in each], pa.binary())
    pairs = pa.StructArray.from_arrays([compute.cast(names, options=unchecked), values], names=["name", "value"])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pairs)


def read_tabular(path: str, kind: str) -> Iterator[list[Draft]]:
    """Yield the records of a file, some at a time.

    Raises:
        SettingsError: It is no such file, or lacks a column.
    """
    with _readable(path, kind):
        for batch in _opened(path, kind)[1]:
            yield _drafts(batch)


def partitions_of(path: str, kind: str) -> int:
    """Return how many partitions the topic of a file had, or at least needs to take its records as they are.

    Raises:
        SettingsError: It is no such file, or lacks a column.
    """
    with _readable(path, kind):
        metadata, batches = _opened(path, kind, ["partition"])
        found = (metadata or {}).get(_PARTITIONS, b"")
        most = int(found) if found.isdigit() else 1
        for batch in batches:
            known = [each for each in batch.column("partition").to_pylist() if each is not None]
            most = max(most, 1 + max(known, default=0))
    return most


def _opened(path: str, kind: str, columns: list[str] | None = None) -> tuple[dict[bytes, bytes] | None, Iterator[Any]]:
    """Return a file's metadata and its record batches; of Parquet only ``columns`` are read."""
    import pyarrow as pa  # noqa: PLC0415 (as above)

    if kind == "parquet":
        from pyarrow import parquet  # noqa: PLC0415 (as above)

        file = parquet.ParquetFile(path)
        return file.schema_arrow.metadata, file.iter_batches(batch_size=ROWS_MAX // 5, columns=columns)
    reader = pa.ipc.open_file(pa.memory_map(path))
    return reader.schema.metadata, (reader.get_batch(number) for number in range(reader.num_record_batches))


@contextmanager
def _readable(path: str, kind: str) -> Generator[None]:
    """Tell in our words why a file is none of ours."""
    import pyarrow as pa  # noqa: PLC0415 (as above)

    try:
        yield
    except (OSError, KeyError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno:  # the system's, in its own words; Arrow's have no number
            msg = f"{path}: {os.strerror(error.errno)}"
            raise SettingsError(msg) from error
        msg = f"{path} is no {kind} file of records: {error}"
        raise SettingsError(msg, "klamm message export writes such files") from error


def _drafts(batch: Any) -> list[Draft]:  # noqa: ANN401 (pyarrow has no types)
    import pyarrow as pa  # noqa: PLC0415 (as above)

    times = batch.column("timestamp").cast(pa.int64()).to_pylist()
    if "timestamp_type" in batch.schema.names:  # no timestamp, and not merely one that nobody gave
        kinds = batch.column("timestamp_type").to_pylist()
        times = [-1 if kind == NONE else each for each, kind in zip(times, kinds, strict=True)]
    topics = batch.column("topic").to_pylist()
    partitions = batch.column("partition").to_pylist()
    headers = batch.column("headers")
    pairs = headers.flatten()
    names = pairs.field("name").cast(pa.binary()).to_pylist()
    values = pairs.field("value").to_pylist()
    counts = [0 if each is None else each for each in headers.value_lengths().to_pylist()]
    drafts: list[Draft] = []
    place = 0
    rows = zip(
        topics, partitions, times, batch.column("key").to_pylist(), batch.column("value").to_pylist(), strict=True
    )
    for (topic, partition, timestamp, key, value), count in zip(rows, counts, strict=True):
        found = tuple(
            (names[each].decode("utf-8", "surrogateescape"), values[each]) for each in range(place, place + count)
        )
        place += count
        drafts.append(Draft(topic, partition, timestamp, key, value, found))
    return drafts
