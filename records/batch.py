"""Record batch v2: the header, its checks, and the two in-place changes a broker makes.

A batch is the unit everything here moves: base offset and length, 61 bytes of header in all, then records, which may
be compressed and are not looked at here. The CRC covers everything from the attributes on, so base offset and leader
epoch, which the broker assigns, lie outside it (Kafka's implementation notes, "Record Batch").

Which error a bad batch gets is what Apache Kafka 4 answers on Produce (``ProduceRequest.validateRecords``,
``LogValidator.validateBatch``, ``DefaultRecordBatch.ensureValid``): magic 0 and 1 are INVALID_RECORD, an unknown magic,
a bad length or a bad checksum CORRUPT_MESSAGE, a record count that contradicts the offsets INVALID_RECORD.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from klamm.model.errors import CorruptMessageError, ErrorCode, InvalidRecordError, KafkaError
from klamm.records.checksum import Buffer, crc32c
from klamm.records.compression import Codec

HEADER_SIZE: Final = 61
"""Bytes from the base offset up to the first record."""
LENGTH_OVERHEAD: Final = 12
"""Bytes in front of what the length field counts: base offset and the length field itself."""
CRC_START: Final = 21
"""Position of the first byte under the CRC: the attributes."""
MAGIC: Final = 2

CODEC_MASK: Final = 0x07
TIMESTAMP_TYPE_FLAG: Final = 0x08
TRANSACTIONAL_FLAG: Final = 0x10
CONTROL_FLAG: Final = 0x20
DELETE_HORIZON_FLAG: Final = 0x40

CREATE_TIME: Final = 0
LOG_APPEND_TIME: Final = 1

_HEADER: Final = Struct(">qiibIhiqqqhii")
_BASE_OFFSET: Final = Struct(">q")
_LEADER_EPOCH: Final = Struct(">i")
_CRC: Final = Struct(">I")
_ATTRIBUTES: Final = Struct(">h")
_MAX_TIMESTAMP: Final = Struct(">q")
_LENGTH_AND_MAGIC: Final = Struct(">8xi4xb")

_LEADER_EPOCH_POSITION: Final = 12
_MAGIC_POSITION: Final = 16
_CRC_POSITION: Final = 17
_ATTRIBUTES_POSITION: Final = 21
_MAX_TIMESTAMP_POSITION: Final = 35
_LENGTH_MIN: Final = HEADER_SIZE - LENGTH_OVERHEAD
_LEGACY_LENGTH_MIN: Final = 14
"""Bytes of the smallest message of magic 0: below it Kafka calls a length corrupt, whatever the magic."""
RECORD_SIZE_MIN: Final = 7
"""Bytes of the smallest record: a byte each for size, attributes, two deltas, null key, null value, no headers."""
_CODEC_MAX: Final = int(Codec.ZSTD)


class BatchHeader(NamedTuple):
    """The header of a record batch, field by field as on the wire.

    ``batch_length`` counts the bytes after the length field; the whole batch has :attr:`size` bytes.
    """

    base_offset: int
    batch_length: int
    leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        """Bytes of the whole batch, header included."""
        return self.batch_length + LENGTH_OVERHEAD

    @property
    def last_offset(self) -> int:
        """Offset of the last record, inclusive."""
        return self.base_offset + self.last_offset_delta

    @property
    def codec(self) -> Codec:
        """How the records are compressed.

        Raises:
            CorruptMessageError: The attributes name a codec that does not exist.
        """
        return codec_of(self.attributes)

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & TRANSACTIONAL_FLAG)

    @property
    def is_control(self) -> bool:
        """Whether the batch holds a control record (a transaction marker, a leader change)."""
        return bool(self.attributes & CONTROL_FLAG)

    @property
    def timestamp_type(self) -> int:
        """Either :data:`CREATE_TIME` or :data:`LOG_APPEND_TIME`."""
        return LOG_APPEND_TIME if self.attributes & TIMESTAMP_TYPE_FLAG else CREATE_TIME


def codec_of(attributes: int) -> Codec:
    """Return the codec that a batch's attributes name.

    Raises:
        CorruptMessageError: There is no such codec.
    """
    try:
        return Codec(attributes & CODEC_MASK)
    except ValueError as error:
        msg = f"compression codec {attributes & CODEC_MASK} does not exist"
        raise CorruptMessageError(msg) from error


def read_header(view: Buffer, position: int = 0) -> BatchHeader:
    """Read the header at ``position``; the records behind it need not be there.

    Raises:
        CorruptMessageError: Fewer bytes than a header has, or a magic that was never defined.
        InvalidRecordError: Magic 0 or 1, which Kafka 4 refuses on Produce with INVALID_RECORD.
    """
    if len(view) - position < HEADER_SIZE:
        raise _short_header(view, position)
    header = BatchHeader._make(_HEADER.unpack_from(view, position))
    if header.magic != MAGIC:
        raise _wrong_magic(header.magic)
    return header


def check_batch(view: Buffer, position: int = 0, *, compacted: bool = False) -> BatchHeader:
    """Read the header at ``position`` and check that the batch is whole and says nothing that contradicts itself.

    Whole means: inside ``view``, the CRC right, at least one record, and as many records as the offsets say; with
    ``compacted``, as a leader sends what it has compacted, no more records than the offsets say. The
    records themselves are not decoded. What stands after the batch is not looked at: compare ``header.size``.

    Raises:
        CorruptMessageError: A length outside the buffer or below a header's, an unknown magic, a wrong CRC.
        InvalidRecordError: Magic 0 or 1, no record, or a record count other than the offsets say.
    """
    available = len(view) - position
    if available < HEADER_SIZE:
        raise _short_header(view, position)
    header = BatchHeader._make(_HEADER.unpack_from(view, position))
    _, length, _, magic, crc, _, last_offset_delta, _, _, _, _, _, record_count = header
    if magic != MAGIC:
        raise _wrong_magic(magic)
    if length < _LENGTH_MIN or length > available - LENGTH_OVERHEAD:
        msg = f"batch_length={length} is outside [{_LENGTH_MIN}, {available - LENGTH_OVERHEAD}]"
        raise CorruptMessageError(msg)
    computed = crc32c(memoryview(view)[position + CRC_START : position + LENGTH_OVERHEAD + length])
    if computed != crc:
        msg = f"crc={crc:#010x} != computed={computed:#010x}"
        raise CorruptMessageError(msg)
    if compacted and 0 <= record_count <= last_offset_delta + 1:
        return header
    if record_count < 1 or last_offset_delta != record_count - 1:
        msg = f"record_count={record_count} does not fit last_offset_delta={last_offset_delta}"
        raise InvalidRecordError(msg)
    return header


def check_produced_batch(view: Buffer) -> BatchHeader:
    """Check what a Produce request carries for one partition: exactly one batch, whole, with a client's records.

    Like Kafka, bytes behind the batch that are too few to be another batch are not an error; append
    ``view[:header.size]``.

    Raises:
        CorruptMessageError: As :func:`check_batch`.
        InvalidRecordError: As :func:`check_batch`, or no whole batch at all, a second batch, offsets that do not begin
            at 0, or a control batch: clients may not write control records.
        KafkaError: UNSUPPORTED_COMPRESSION_TYPE for a codec that does not exist.
    """
    try:
        header = check_batch(view)
    except CorruptMessageError as error:
        if _is_unfinished(view):
            msg = f"a produce request must have a whole record batch per partition: {error}"
            raise InvalidRecordError(msg) from error
        raise
    base_offset, length, _, _, _, attributes, _, _, _, _, _, _, record_count = header
    if len(view) != length + LENGTH_OVERHEAD and _holds_another(view, header.size):
        msg = "a produce request must have exactly one record batch per partition"
        raise InvalidRecordError(msg)
    codec = attributes & CODEC_MASK
    if length - _LENGTH_MIN < (1 if codec else record_count * RECORD_SIZE_MIN):
        msg = f"record_count={record_count} in {length - _LENGTH_MIN} bytes"
        raise InvalidRecordError(msg)
    if base_offset:
        msg = f"base_offset={base_offset}: a produced batch begins at offset 0, and the broker gives it another"
        raise InvalidRecordError(msg)
    if attributes & CONTROL_FLAG:
        msg = "clients may not write control records"
        raise InvalidRecordError(msg)
    if codec > _CODEC_MAX:
        msg = f"compression codec {codec} does not exist"
        raise KafkaError(msg, code=ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
    return header


def patch(view: bytearray | memoryview, base_offset: int, leader_epoch: int, position: int = 0) -> None:
    """Write base offset and leader epoch into the batch at ``position``, in place; both lie outside the CRC."""
    _BASE_OFFSET.pack_into(view, position, base_offset)
    _LEADER_EPOCH.pack_into(view, position + _LEADER_EPOCH_POSITION, leader_epoch)


def set_log_append_time(view: bytearray | memoryview, timestamp_ms: int, position: int = 0) -> None:
    """Give every record of the batch the broker's time: set the timestamp type, the max timestamp, and the CRC.

    The base timestamp and the records' own deltas stay: with LogAppendTime readers take the max timestamp for every
    record (``DefaultRecordBatch.setMaxTimestamp`` does the same).
    """
    length, _ = _LENGTH_AND_MAGIC.unpack_from(view, position)
    (attributes,) = _ATTRIBUTES.unpack_from(view, position + _ATTRIBUTES_POSITION)
    _ATTRIBUTES.pack_into(view, position + _ATTRIBUTES_POSITION, attributes | TIMESTAMP_TYPE_FLAG)
    _MAX_TIMESTAMP.pack_into(view, position + _MAX_TIMESTAMP_POSITION, timestamp_ms)
    write_crc(view, length + LENGTH_OVERHEAD, position)


def write_crc(view: bytearray | memoryview, size: int, position: int = 0) -> None:
    """Compute the CRC of the batch of ``size`` bytes at ``position`` and write it into its header."""
    _CRC.pack_into(view, position + _CRC_POSITION, crc32c(memoryview(view)[position + CRC_START : position + size]))


def iter_batches(view: Buffer) -> Iterator[tuple[int, BatchHeader]]:
    """Yield (position, header) of each whole batch; an unfinished one at the end is left out.

    A fetch may end in the middle of a batch, so that is not an error. CRCs are not checked.

    Raises:
        CorruptMessageError: A length below a header's or an unknown magic.
        InvalidRecordError: Magic 0 or 1.
    """
    position = 0
    end = len(view)
    while end - position >= HEADER_SIZE:
        header = read_header(view, position)
        if header.batch_length < _LENGTH_MIN:
            msg = f"batch_length={header.batch_length} < {_LENGTH_MIN} at position {position}"
            raise CorruptMessageError(msg)
        if header.size > end - position:
            return
        yield position, header
        position += header.size


def _holds_another(view: Buffer, position: int) -> bool:
    available = len(view) - position
    if available <= _MAGIC_POSITION:
        return False
    length, _ = _LENGTH_AND_MAGIC.unpack_from(view, position)
    if length < _LEGACY_LENGTH_MIN:
        msg = f"behind the batch stands another with batch_length={length}"
        raise CorruptMessageError(msg)
    return bool(length <= available - LENGTH_OVERHEAD)


def _is_unfinished(view: Buffer) -> bool:
    """Whether a batch begins here and the bytes end before it does: Kafka sees no batch then."""
    if len(view) <= _MAGIC_POSITION:
        return True
    length, magic = _LENGTH_AND_MAGIC.unpack_from(view)
    return bool(length >= _LEGACY_LENGTH_MIN and 0 <= magic <= MAGIC and length > len(view) - LENGTH_OVERHEAD)


def _short_header(view: Buffer, position: int) -> CorruptMessageError | InvalidRecordError:
    """Say what is wrong with fewer bytes than a header: the old formats are shorter, so their magic comes first."""
    available = len(view) - position
    if available > _MAGIC_POSITION:
        length, magic = _LENGTH_AND_MAGIC.unpack_from(view, position)
        if magic in {0, 1} and length >= _LEGACY_LENGTH_MIN:
            return _wrong_magic(magic)
    return CorruptMessageError(f"{available} bytes are fewer than a batch header's {HEADER_SIZE}")


def _wrong_magic(magic: int) -> CorruptMessageError | InvalidRecordError:
    if magic in {0, 1}:
        return InvalidRecordError(f"magic={magic}: only record batches of magic {MAGIC} are accepted")
    return CorruptMessageError(f"magic={magic} was never defined")
