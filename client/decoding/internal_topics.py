"""The records that brokers write for themselves, in words: ``__consumer_offsets`` and ``__transaction_state``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final
from uuid import UUID

from klamm.client.decoding.decoded import Decoded, bytes_text
from klamm.client.decoding.plain import NotDecodableError
from klamm.model.errors import CorruptMessageError
from klamm.records.schema_codec import Kind, decode_kind

OFFSETS_TOPIC: Final = "__consumer_offsets"
TRANSACTIONS_TOPIC: Final = "__transaction_state"
INTERNAL_TOPICS: Final = frozenset({OFFSETS_TOPIC, TRANSACTIONS_TOPIC})
_OTHER_KINDS: Final = {
    9: "share group partition metadata",
    24: "streams group target assignment resolved topic ids",
}
"""Kinds of ``__consumer_offsets`` that klamm knows by name only: of Kafka 4.0, and of versions after 4.3."""


def decode_internal(topic: str, data: bytes, key: bytes | None, *, is_key: bool) -> Decoded:
    """Decode a key or a value of one of :data:`INTERNAL_TOPICS`; a value needs its key.

    Raises:
        NotDecodableError: It is of a kind klamm does not know, or contradicts its schema.
    """
    whole = data if is_key else key
    if whole is None or len(whole) < 2:  # noqa: PLR2004 (an int16)
        msg = f"no record of {topic}: its key says no kind"
        raise NotDecodableError(msg)
    try:
        found = decode_kind(_KINDS_OF[topic](), whole, None if is_key else data)
    except CorruptMessageError as error:
        raise NotDecodableError(str(error)) from None
    if found is None:
        kind = int.from_bytes(whole[:2], "big")
        name = _OTHER_KINDS.get(kind, "unknown") if topic == OFFSETS_TOPIC else "unknown"
        msg = f"kind {kind} of {topic} ({name}) is not decoded"
        raise NotDecodableError(msg)
    form = "offsets" if topic == OFFSETS_TOPIC else "transactions"
    return Decoded(form, {"type": _words(type(found[0]).__name__), **_plain(found[0 if is_key else 1])})


def _offsets_kinds() -> Mapping[int, Kind]:
    from klamm.records.offsets_schema import KINDS  # noqa: PLC0415 (few commands read these topics)
    from klamm.records.share_groups_schema import SHARE_KINDS  # noqa: PLC0415 (see above)
    from klamm.records.streams_groups_schema import STREAMS_KINDS  # noqa: PLC0415 (see above)

    return {**KINDS, **SHARE_KINDS, **STREAMS_KINDS}


def _transaction_kinds() -> Mapping[int, Kind]:
    from klamm.records.transactions_schema import TRANSACTION_KINDS  # noqa: PLC0415 (few commands read this topic)

    return TRANSACTION_KINDS


_KINDS_OF: Final[dict[str, Callable[[], Mapping[int, Kind]]]] = {
    OFFSETS_TOPIC: cache(_offsets_kinds),
    TRANSACTIONS_TOPIC: cache(_transaction_kinds),
}


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
