"""The end of a sealed segment: what it says of itself, so that the file can be e-mailed, tiered or audited alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from klamm.records.checksum import crc32c
from klamm.storage.arrow_format import (
    END_OF_STREAM,
    FILE_END_SIZE,
    file_tail,
    footer_size_of,
    read_footer,
)
from klamm.storage.errors import CorruptSegmentError
from klamm.storage.filesystem import File
from klamm.storage.index import NO_TIMESTAMP, SparseIndex

FORMAT_VERSION_KEY: Final = "klamm.format.version"
TOPIC_KEY: Final = "klamm.topic"
TOPIC_ID_KEY: Final = "klamm.topic.id"
PARTITION_KEY: Final = "klamm.partition"
EPOCHS_KEY: Final = "klamm.leader.epochs"
ABORTED_KEY: Final = "klamm.aborted.transactions"
REPLACES_KEY: Final = "klamm.replaces"
"""Only in a compacted segment: the base offsets of other segments whose place it took, separated by spaces.

For whoever reads the file: recovery goes by the key being there (``compacted_end_of``), as rounds before took others.
"""
_BASE_OFFSET_KEY: Final = "klamm.base.offset"
_END_OFFSET_KEY: Final = "klamm.end.offset"
_FIRST_TIMESTAMP_KEY: Final = "klamm.first.timestamp"
_MAX_TIMESTAMP_KEY: Final = "klamm.max.timestamp"
_MAX_TIMESTAMP_OFFSET_KEY: Final = "klamm.max.timestamp.offset"
_DATA_START_KEY: Final = "klamm.data.start"
_INDEX_KEY: Final = "klamm.index"
_CRC_KEY: Final = "klamm.footer.crc32c"


class SegmentState(NamedTuple):
    """What a checkpoint or a footer keeps of a segment, so that opening it reads nothing."""

    base_offset: int
    end_offset: int
    """The offset behind the last record."""
    data_end: int
    """The position behind the last row group."""
    sealed: bool
    first_timestamp: int
    max_timestamp: int
    max_timestamp_offset: int
    """Base offset of the first batch that holds the largest timestamp."""
    data_start: int
    """The position of the first row group."""

    @classmethod
    def empty(cls, base_offset: int, data_start: int) -> SegmentState:
        """Return the state of a segment without a row group."""
        return cls(
            base_offset, base_offset, data_start, sealed=False, first_timestamp=NO_TIMESTAMP,
            max_timestamp=NO_TIMESTAMP, max_timestamp_offset=base_offset, data_start=data_start,
        )  # fmt: skip


class Footer(NamedTuple):
    """The footer of a sealed segment."""

    state: SegmentState
    sparse_index: SparseIndex
    metadata: dict[str, str]
    blocks: bytes
    """One ``arrow_format.BLOCK`` a row group."""

    def encode(self, schema_metadata: Mapping[str, str]) -> bytes:
        """Return the bytes that this was read from, end of stream included, were they undamaged."""
        complete = {**self.metadata, _CRC_KEY: str(_footer_crc(self.blocks, self.metadata))}
        return file_tail(self.blocks, schema_metadata, complete)


def make_tail(
    state: SegmentState,
    sparse_index: SparseIndex,
    blocks: bytes,
    schema_metadata: Mapping[str, str],
    metadata: Mapping[str, str],
) -> bytes:
    """Return what stands behind the last row group of a sealed segment."""
    own = {
        _BASE_OFFSET_KEY: str(state.base_offset),
        _END_OFFSET_KEY: str(state.end_offset),
        _FIRST_TIMESTAMP_KEY: str(state.first_timestamp),
        _MAX_TIMESTAMP_KEY: str(state.max_timestamp),
        _MAX_TIMESTAMP_OFFSET_KEY: str(state.max_timestamp_offset),
        _DATA_START_KEY: str(state.data_start),
        _INDEX_KEY: sparse_index.encode(),
    }
    complete = {**schema_metadata, **metadata, **own}
    complete[_CRC_KEY] = str(_footer_crc(blocks, complete))
    return file_tail(blocks, schema_metadata, complete)


def read_footer_of(file: File, path: str) -> Footer:
    """Read the footer of a sealed segment. May wait for the disk.

    Raises:
        CorruptSegmentError: There is none, or it is damaged.
        OSError: The disk refused.
    """
    size = file.size()
    end = bytes(file.read(FILE_END_SIZE, max(0, size - FILE_END_SIZE)))
    footer_size = footer_size_of(end)
    start = size - FILE_END_SIZE - footer_size
    if footer_size <= 0 or start < len(END_OF_STREAM):
        raise CorruptSegmentError(path, max(0, size - FILE_END_SIZE), "no footer")
    try:
        blocks, metadata = read_footer(bytes(file.read(footer_size, start)))
        if int(metadata.pop(_CRC_KEY)) != _footer_crc(blocks, metadata):
            raise CorruptSegmentError(path, start, "the footer's CRC does not match it")
        state = SegmentState(
            base_offset=int(metadata[_BASE_OFFSET_KEY]),
            end_offset=int(metadata[_END_OFFSET_KEY]),
            data_end=start - len(END_OF_STREAM),
            sealed=True,
            first_timestamp=int(metadata[_FIRST_TIMESTAMP_KEY]),
            max_timestamp=int(metadata[_MAX_TIMESTAMP_KEY]),
            max_timestamp_offset=int(metadata[_MAX_TIMESTAMP_OFFSET_KEY]),
            data_start=int(metadata[_DATA_START_KEY]),
        )
        return Footer(state, SparseIndex.decode(metadata[_INDEX_KEY]), metadata, blocks)
    except (ValueError, KeyError) as error:
        raise CorruptSegmentError(path, start, f"footer: {error!r}") from error


def _footer_crc(blocks: bytes, metadata: Mapping[str, str]) -> int:
    """Return the CRC-32C over the row groups' places and the metadata: offsets are looked up with them."""
    text = "".join(f"{key}={value}\n" for key, value in metadata.items())
    return crc32c(blocks + text.encode())
