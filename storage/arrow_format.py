"""A segment as a whole: magic, schema, footer, as Arrow's IPC file format has them. Between: ``row_group.py``.

Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format. Everything is made by hand, since importing
pyarrow costs 100 ms; the tests compare with what pyarrow reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

from klamm.records.checksum import Buffer, crc32c
from klamm.storage.flatbuffer import Scalar, Structs, Table, TableReader, Tables, Text, write

FORMAT_VERSION: Final = 1
"""Version of the segment layout and of the data directory. A broker refuses a newer one."""
MAGIC: Final = b"ARROW1"
FILE_START: Final = MAGIC + b"\0\0"
END_OF_STREAM: Final = b"\xff\xff\xff\xff\0\0\0\0"
CONTINUATION: Final = 0xFFFFFFFF
"""What every message begins with: the schema's, and each row group's."""
METADATA_V5: Final = 4
"""Arrow's number of the only metadata version written today."""
PREFIX_SIZE: Final = 8
"""Continuation word and metadata size."""
FILE_END_SIZE: Final = 4 + len(MAGIC)
"""Bytes behind a footer: its size, and the magic."""
BLOCK: Final = Struct("<qi4xq")
"""A footer's entry for one row group: position, metadata size (prefix included), body size."""
SCHEMA_CRC_KEY: Final = "klamm.schema.crc32c"
"""Metadata of the schema: the CRC-32C of its other metadata. All else in a segment's start is constant."""

_HEAD_MIN: Final = len(FILE_START) + PREFIX_SIZE
_HEADER_SCHEMA: Final = 1
_TYPE_INT: Final = 2
_TYPE_UTF8: Final = 5
_TYPE_TIMESTAMP: Final = 10
_TYPE_LARGE_BINARY: Final = 19
_MILLISECOND: Final = 1
_MICROSECOND: Final = 2


def _int_type(bits: int, *, signed: bool = True) -> tuple[int, Table]:
    return _TYPE_INT, Table({0: Scalar("i", bits), 1: Scalar("b", int(signed))})


def _timestamp_type(unit: int) -> tuple[int, Table]:
    return _TYPE_TIMESTAMP, Table({0: Scalar("h", unit), 1: Text("UTC")})


_COLUMNS: Final = (
    ("base_offset", _int_type(64), False),
    ("last_offset", _int_type(64), False),
    ("leader_epoch", _int_type(32), False),
    ("append_time", _timestamp_type(_MICROSECOND), True),
    ("max_timestamp", _timestamp_type(_MILLISECOND), False),
    ("attributes", _int_type(16), False),
    ("producer_id", _int_type(64), False),
    ("producer_epoch", _int_type(16), False),
    ("base_sequence", _int_type(32), False),
    ("record_count", _int_type(32), False),
    ("client_id", (_TYPE_UTF8, Table({})), True),
    ("row_crc", _int_type(32, signed=False), False),
    ("payload", (_TYPE_LARGE_BINARY, Table({})), False),
)
COLUMN_COUNT: Final = len(_COLUMNS)


def message(metadata: bytes) -> bytes:
    """Return an encapsulated message: continuation word, size, metadata."""
    return Struct("<Ii").pack(CONTINUATION, len(metadata)) + metadata


def file_head(metadata: Mapping[str, str]) -> bytes:
    """Return what a segment starts with: the magic and the schema message with ``metadata``."""
    version, kind = Scalar("h", METADATA_V5), Scalar("B", _HEADER_SCHEMA)
    return FILE_START + message(write(Table({0: version, 1: kind, 2: _schema(metadata), 3: Scalar("q", 0)})))


def file_tail(blocks: bytes, schema_metadata: Mapping[str, str], footer_metadata: Mapping[str, str]) -> bytes:
    """Return what closes a segment: end of stream, footer, its size, the magic. ``blocks`` are packed :data:`BLOCK`."""
    footer = write(
        Table(
            {
                0: Scalar("h", METADATA_V5),
                1: _schema(schema_metadata),
                2: Structs(0, b""),
                3: Structs(len(blocks) // BLOCK.size, blocks),
                4: _key_values(footer_metadata),
            }
        )
    )
    return END_OF_STREAM + footer + Struct("<i").pack(len(footer)) + MAGIC


def read_metadata(tables: list[TableReader]) -> dict[str, str]:
    """Return key-value metadata.

    Raises:
        ValueError: It is damaged.
    """
    return {table.text(0): table.text(1) for table in tables}


def read_schema_metadata(head: bytes) -> dict[str, str]:
    """Return the metadata of the schema message that ``head``, a segment's start, holds.

    Raises:
        ValueError: This is no segment, or its start is damaged.
    """
    if len(head) < _HEAD_MIN or not head.startswith(FILE_START):
        msg = "no Arrow file"
        raise ValueError(msg)
    schema = TableReader.root(head[_HEAD_MIN : head_size(head)]).table(2)
    metadata = {} if schema is None else read_metadata(schema.tables(2))
    if metadata.pop(SCHEMA_CRC_KEY, "") != str(_metadata_crc(metadata)):
        msg = "the schema's metadata do not match their CRC"
        raise ValueError(msg)
    return metadata


def head_size(head: Buffer) -> int:
    """Return where the first row group starts, from a segment's first 16 bytes."""
    size: int = Struct("<i").unpack_from(head, 12)[0]
    return _HEAD_MIN + size


def footer_size_of(end: bytes) -> int:
    """Return the footer's size from the last :data:`FILE_END_SIZE` bytes of a file, or 0 if it has none."""
    if len(end) != FILE_END_SIZE or not end.endswith(MAGIC):
        return 0
    size: int = Struct("<i").unpack_from(end)[0]
    return max(size, 0)


def read_footer(footer: bytes) -> tuple[bytes, dict[str, str]]:
    """Return (packed blocks, footer metadata).

    Raises:
        ValueError: The footer is damaged.
    """
    table = TableReader.root(footer)
    return table.structs(3, BLOCK.size), read_metadata(table.tables(4))


def _schema(metadata: Mapping[str, str]) -> Table:
    fields = tuple(
        Table({0: Text(name), 1: Scalar("b", int(nullable)), 2: Scalar("B", kind), 3: details, 5: Tables(())})
        for name, (kind, details), nullable in _COLUMNS
    )
    checked = {**metadata, SCHEMA_CRC_KEY: str(_metadata_crc(metadata))}
    return Table({0: Scalar("h", 0), 1: Tables(fields), 2: _key_values(checked)})


def _metadata_crc(metadata: Mapping[str, str]) -> int:
    return crc32c("".join(f"{key}={value}\n" for key, value in metadata.items()).encode())


def _key_values(metadata: Mapping[str, str]) -> Tables:
    return Tables(tuple(Table({0: Text(key), 1: Text(value)}) for key, value in metadata.items()))
