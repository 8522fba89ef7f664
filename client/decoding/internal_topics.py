"""The records that brokers write for themselves, in words: ``__consumer_offsets``."""

from __future__ import annotations

import re
from typing import Any, Final
from uuid import UUID

from klamm.client.decoding.decoded import Decoded, bytes_text
from klamm.client.decoding.plain import NotDecodableError
from klamm.model.errors import CorruptMessageError
from klamm.records.offsets_schema import KINDS, decode_record

OFFSETS_TOPIC: Final = "__consumer_offsets"
_OTHER_KINDS: Final = {
    9: "share group partition metadata",
    10: "share group member metadata",
    11: "share group metadata",
    12: "share group target assignment metadata",
    13: "share group target assignment member",
    14: "share group current member assignment",
    15: "share group state partition metadata",
    17: "streams group metadata",
    18: "streams group member metadata",
    19: "streams group target assignment metadata",
    20: "streams group target assignment member",
    21: "streams group current member assignment",
    22: "streams group topology",
}
"""CoordinatorRecordType of Apache Kafka 4.3: kinds that klamm knows by name only."""


def decode_offsets(data: bytes, key: bytes | None, *, is_key: bool) -> Decoded:
    """Decode a key or a value of ``__consumer_offsets``; a value needs its key.

    Raises:
        NotDecodableError: It is of a kind klamm does not know, or contradicts its schema.
    """
    whole = data if is_key else key
    if whole is None or len(whole) < 2:  # noqa: PLR2004 (an int16)
        msg = "no record of __consumer_offsets: its key says no kind"
        raise NotDecodableError(msg)
    kind = int.from_bytes(whole[:2], "big")
    try:
        record = decode_record(whole, None if is_key else data)
    except CorruptMessageError as error:
        raise NotDecodableError(str(error)) from None
    if record is None:
        msg = f"kind {kind} of __consumer_offsets ({_OTHER_KINDS.get(kind, 'unknown')}) is not decoded"
        raise NotDecodableError(msg)
    assert kind in KINDS, kind
    found = record.key if is_key else record.value
    return Decoded("offsets", {"type": _words(type(record.key).__name__), **_plain(found)})


def _words(name: str) -> str:
    """Return ``offset_commit`` for ``OffsetCommitKey``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Key")).lower()


def _plain(value: Any) -> Any:  # noqa: ANN401 (JSON)
    if hasattr(value, "_asdict"):
        return {name: _plain(each) for name, each in value._asdict().items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, UUID):
        return str(value)
    return bytes_text(value) if isinstance(value, bytes) else value
