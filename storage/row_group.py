"""One row group of a segment: a record batch of Arrow's, one row per Kafka record batch.

Building one with pyarrow costs 17 µs. Here the metadata of every row group has the same size (:data:`METADATA_SIZE`):
the columns, and so the numbers of nodes and buffers, never change. A row group is therefore one constant prefix, then
(row count, nodes, buffers) packed in one call, then the columns packed in one call. Reading one back takes the same two
calls; :func:`check_group` encodes what was read again and compares, so that a flipped bit anywhere but in a payload
shows.

A validity bitmap stands for both nullable columns whether or not something is null: sizes then depend on the row
count, the client ids and the payloads alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, islice
from struct import Struct
from typing import Final, NamedTuple

from klamm.records.checksum import Buffer
from klamm.storage.arrow_format import COLUMN_COUNT, CONTINUATION, METADATA_V5, PREFIX_SIZE, message
from klamm.storage.flatbuffer import Scalar, Structs, Table, write
from klamm.storage.row import LogRow, payload_fault, row_crc

ROWS_MAX: Final = 256
"""Rows of one row group. With the header and the padding they stay far below IOV_MAX (1,024 buffers a write)."""
ROW_COLUMNS_SIZE: Final = 72
"""Bytes of the columns of one row, but for client id, payload and validity."""
COLUMNS_PADDING_MAX: Final = 8 * 16 + ROWS_MAX // 4
"""Bytes that the columns of a row group may have beyond those of its rows: padding, last offsets, validity."""

_INT64: Final = Struct("<q")
_PAIR: Final = Struct("<qq")
_PADDING: Final = tuple(bytes(size) for size in range(8))
_ALL_VALID: Final = tuple(((1 << count) - 1).to_bytes((count + 7) // 8, "little") for count in range(ROWS_MAX + 1))
"""The validity bitmap without a null, by row count."""
_HEADER_RECORD_BATCH: Final = 3
_NODE_COUNT: Final = COLUMN_COUNT
_BUFFER_COUNT: Final = 2 * _NODE_COUNT + 2  # validity and values each; client_id and payload have offsets besides
_FIXED_COLUMNS: Final = (
    (8, "q"), (8, "q"), (4, "i"), (8, "q"), (8, "q"), (2, "h"), (8, "q"), (2, "h"), (4, "i"), (4, "i"),
)  # fmt: skip
_APPEND_TIME_NODE: Final = 3
_CLIENT_ID_NODE: Final = 10


class RowGroup(NamedTuple):
    """What a row group's metadata says. Positions count from the row group's start."""

    row_count: int
    size: int
    """Bytes of metadata and body, padding included."""
    append_time_nulls: int
    client_id_nulls: int
    client_id_size: int
    payload_position: int
    payload_size: int


def _batch_metadata(row_count: int, body_size: int, nodes: bytes, buffers: bytes) -> bytes:
    batch = Table({0: Scalar("q", row_count), 1: Structs(_NODE_COUNT, nodes), 2: Structs(_BUFFER_COUNT, buffers)})
    version, kind = Scalar("h", METADATA_V5), Scalar("B", _HEADER_RECORD_BATCH)
    return message(write(Table({0: version, 1: kind, 2: batch, 3: Scalar("q", body_size)})))


def _landmarks() -> tuple[int, int, int, int, int]:
    """Find where the parts of a row group's metadata stand: its size, body size, row count, nodes, buffers."""
    nodes = b"\x11" * (16 * _NODE_COUNT)
    buffers = b"\x22" * (16 * _BUFFER_COUNT)
    found = _batch_metadata(0x3333333333333333, 0x4444444444444444, nodes, buffers)
    places = (found.index(b"\x44" * 8), found.index(b"\x33" * 8), found.index(nodes), found.index(buffers))
    assert sorted(places) == list(places), f"flatbuffer layout changed: {places}"
    assert places[3] + len(buffers) == len(found), "buffers do not end the metadata"
    return len(found), *places


METADATA_SIZE, _BODY_SIZE_AT, _ROW_COUNT_AT, _NODES_AT, _BUFFERS_AT = _landmarks()
# METADATA_SIZE: bytes from a row group's start to its body. The last word of it is the payload's size.


def _peek_layout() -> Struct:
    """Return the layout of the fields of :class:`RowGroup` inside the metadata, skipping the rest."""
    parts = (
        (0, 8, "Ii"),
        (_BODY_SIZE_AT, 8, "q"),
        (_ROW_COUNT_AT, 8, "q"),
        (_NODES_AT + 16 * _APPEND_TIME_NODE + 8, 8, "q"),
        (_NODES_AT + 16 * _CLIENT_ID_NODE + 8, 8, "q"),
        (METADATA_SIZE - 16 * 6 + 8, 8, "q"),  # the client ids' bytes: row_crc and payload have five buffers after them
        (METADATA_SIZE - 16, 16, "qq"),
    )
    layout, end = "<", 0
    for at, size, codes in parts:
        layout += f"{at - end}x{codes}"
        end = at + size
    return Struct(layout)


_PEEK: Final = _peek_layout()
FAST_PEEK: Final = Struct(
    f"<I{_BODY_SIZE_AT - 4}xq{_ROW_COUNT_AT - _BODY_SIZE_AT - 8}xq{METADATA_SIZE - 16 - _ROW_COUNT_AT - 8}xqqqq"
)
"""Continuation, body size, row count, payload position (in the body) and size, and the first two base offsets; the
second is the last offset of a row group of one row. For row groups that were checked before."""
GROUP_MIN: Final = FAST_PEEK.size


class _Layout:
    """Row groups of one shape: same row count, nulls and size of client ids; only values and payload sizes differ."""

    __slots__ = ("between", "head", "header", "header_size")

    def __init__(self, row_count: int, append_time_nulls: int, client_id_nulls: int, client_id_size: int) -> None:
        n, bitmap = row_count, (row_count + 7) // 8
        sizes: list[int] = []
        columns = ""
        for node, (width, code) in enumerate(_FIXED_COLUMNS):
            if node == _APPEND_TIME_NODE:
                sizes.append(bitmap)
                columns += f"{bitmap}s{-bitmap % 8}x"
            else:
                sizes.append(0)
            sizes.append(width * n)
            columns += f"{n}{code}{-width * n % 8}x"
        sizes += (bitmap, 4 * (n + 1), client_id_size, 0, 4 * n, 0, 8 * (n + 1), 0)
        columns += f"{bitmap}s{-bitmap % 8}x{n + 1}i{-4 * (n + 1) % 8}x{client_id_size}s{-client_id_size % 8}x"
        columns += f"{n}I{-4 * n % 8}x{n + 1}q"
        starts = list(accumulate((size + -size % 8 for size in sizes), initial=0))
        nulls = {_APPEND_TIME_NODE: append_time_nulls, _CLIENT_ID_NODE: client_id_nulls}
        nodes = b"".join(_PAIR.pack(n, nulls.get(node, 0)) for node in range(_NODE_COUNT))
        buffers = b"".join(_PAIR.pack(start, size) for start, size in zip(starts, sizes, strict=False))
        metadata = _batch_metadata(n, 0, nodes, buffers)
        self.head = metadata[:_BODY_SIZE_AT]
        self.between = metadata[_BODY_SIZE_AT + 8 : -8]
        self.header = Struct(f"<{len(self.head)}sq{len(self.between)}sq" + columns)
        self.header_size = self.header.size
        assert self.header_size == METADATA_SIZE + starts[-1], f"{self.header_size} != {METADATA_SIZE + starts[-1]}"


@lru_cache(maxsize=1024)  # shapes in use at a time; one costs 60 µs to make
def _layout(row_count: int, append_time_nulls: int, client_id_nulls: int, client_id_size: int) -> _Layout:
    return _Layout(row_count, append_time_nulls, client_id_nulls, client_id_size)


def encode_group(rows: Sequence[LogRow]) -> tuple[bytes, bytes, int]:
    """Return (what stands before the payloads, what stands after them, size of the whole row group)."""
    if len(rows) == 1:
        return _encode_one(rows[0])
    payloads, base, last, epoch, times, max_time, attributes, producer, producer_epoch, sequence, count, ids = zip(
        *rows, strict=True
    )
    payload_sizes = [*map(len, payloads)]
    payload_offsets = [*accumulate(payload_sizes, initial=0)]
    time_nulls, id_nulls = times.count(None), ids.count(None)
    known_times = [time or 0 for time in times] if time_nulls else times
    known_ids = [client_id or b"" for client_id in ids] if id_nulls else ids
    client_offsets = [*accumulate(map(len, known_ids), initial=0)]
    layout = _layout(len(rows), time_nulls, id_nulls, client_offsets[-1])
    payload_size = payload_offsets[-1]
    padding = -payload_size % 8
    size = layout.header_size + payload_size + padding
    header = layout.header.pack(
        layout.head, size - METADATA_SIZE, layout.between, payload_size,
        *base, *last, *epoch, _bitmap(times, time_nulls), *known_times, *max_time, *attributes,
        *producer, *producer_epoch, *sequence, *count,
        _bitmap(ids, id_nulls), *client_offsets, b"".join(known_ids),
        *map(row_crc, rows, payload_sizes), *payload_offsets,
    )  # fmt: skip
    return header, _PADDING[padding], size


def _encode_one(row: LogRow) -> tuple[bytes, bytes, int]:
    payload, base, last, epoch, time, max_time, attributes, producer, producer_epoch, sequence, count, client_id = row
    client_id_size = 0 if client_id is None else len(client_id)
    layout = _layout(1, 1 if time is None else 0, 1 if client_id is None else 0, client_id_size)
    payload_size = len(payload)
    padding = -payload_size % 8
    size = layout.header_size + payload_size + padding
    header = layout.header.pack(
        layout.head, size - METADATA_SIZE, layout.between, payload_size,
        base, last, epoch, b"\0" if time is None else b"\1", time or 0, max_time, attributes,
        producer, producer_epoch, sequence, count,
        b"\0" if client_id is None else b"\1", 0, client_id_size, client_id or b"",
        row_crc(row, payload_size), 0, payload_size,
    )  # fmt: skip
    return header, _PADDING[padding], size


def peek_group(view: Buffer, position: int = 0) -> RowGroup | None:
    """Read a row group's metadata at ``position``, or return nothing if what stands there cannot be one.

    ``METADATA_SIZE`` bytes must be there; the body need not.
    """
    continuation, size, body_size, n, times, ids, ids_size, payload_at, payload_size = _PEEK.unpack_from(view, position)
    if (
        continuation != CONTINUATION
        or size != METADATA_SIZE - PREFIX_SIZE
        or not 0 < n <= ROWS_MAX
        or not 0 <= times <= n
        or not 0 <= ids <= n
        or payload_size < 0
        or not 0 <= ids_size <= body_size
        or payload_at + payload_size + -payload_size % 8 != body_size
    ):
        return None
    return RowGroup(n, METADATA_SIZE + body_size, times, ids, ids_size, METADATA_SIZE + payload_at, payload_size)


def last_offset_of(view: Buffer, position: int, row_count: int) -> int:
    """Return the last offset of the row group at ``position``, from its second column."""
    found: int = _INT64.unpack_from(view, position + METADATA_SIZE + 8 * (2 * row_count - 1))[0]
    return found


def decode_columns(view: Buffer, position: int, group: RowGroup) -> list[LogRow]:
    """Return the rows of the row group at ``position``, their columns checked against their row CRCs.

    Payloads are slices of ``view`` as far as it holds them.

    Raises:
        ValueError: The columns contradict the metadata or a row CRC.
    """
    n = group.row_count
    layout = _layout(n, group.append_time_nulls, group.client_id_nulls, group.client_id_size)
    if layout.header_size != group.payload_position:
        msg = f"payload at {group.payload_position}, columns end at {layout.header_size}"
        raise ValueError(msg)
    values = iter(layout.header.unpack_from(view, position)[4:])

    def take(count: int = n) -> list[int]:
        return list(islice(values, count))

    base, last, epoch = take(), take(), take()
    has_time = next(values)
    times, max_time, attributes, producer, producer_epoch, sequence, counts = (take() for _ in range(7))
    has_client_id, client_offsets, client_bytes = next(values), take(n + 1), next(values)
    crcs, payload_offsets = take(), take(n + 1)
    payloads = memoryview(view)[
        position + group.payload_position : position + group.payload_position + group.payload_size
    ]
    rows = [
        LogRow(
            payloads[payload_offsets[i] : payload_offsets[i + 1]], base[i], last[i], epoch[i],
            times[i] if has_time[i >> 3] >> (i & 7) & 1 else None,
            max_time[i], attributes[i], producer[i], producer_epoch[i], sequence[i], counts[i],
            client_bytes[client_offsets[i] : client_offsets[i + 1]] if has_client_id[i >> 3] >> (i & 7) & 1 else None,
        )
        for i in range(n)
    ]  # fmt: skip
    for row, crc, start, end in zip(rows, crcs, payload_offsets, payload_offsets[1:], strict=False):
        if not 0 <= start <= end <= group.payload_size or row_crc(row, end - start) != crc:
            msg = f"offset {row.base_offset}: row CRC {crc:#010x} does not match the columns"
            raise ValueError(msg)
    return rows


def check_group(view: Buffer, position: int, group: RowGroup) -> list[LogRow]:
    """Check every byte of the row group at ``position``, which ``view`` holds wholly, and return its rows.

    What was read is encoded again and compared: every byte outside the payloads follows from the rows. Payloads are
    checked by their own CRC and against the row's columns.

    Raises:
        ValueError: A byte is wrong; the message says what was noticed.
    """
    rows = decode_columns(view, position, group)
    header, padding, size = encode_group(rows)
    if size != group.size:
        msg = f"row group of {group.size} bytes should have {size}"
        raise ValueError(msg)
    end = position + size
    if view[position : position + len(header)] != header:
        msg = "metadata do not match the columns"
        raise ValueError(msg)
    if view[end - len(padding) : end] != padding:
        msg = "padding is not zero"
        raise ValueError(msg)
    for row in rows:
        fault = payload_fault(row)
        if fault is not None:
            msg = f"offset {row.base_offset}: {fault}"
            raise ValueError(msg)
    return rows


def _bitmap(values: Sequence[object], null_count: int) -> bytes:
    if not null_count:
        return _ALL_VALID[len(values)]
    bits = sum(1 << index for index, value in enumerate(values) if value is not None)
    return bits.to_bytes((len(values) + 7) // 8, "little")
