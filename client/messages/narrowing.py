"""Of a batch that may hold a match only those records that may: the others are stepped over by their sizes.

A batch may have thousands of records and one match; to step over a record takes a tenth of decoding it.
"""

from __future__ import annotations

from typing import Final

from klamm.client.messages.needles import Clause, Hits
from klamm.client.messages.record import Fields, decode_fields, end_of_record
from klamm.model.errors import CorruptMessageError
from klamm.records.batch import BatchHeader

_FEW: Final = 16
_SHARE: Final = 4
"""Beyond a few, hits in more than one of so many records make decoding all of them the quicker way."""


def decode_hits(header: BatchHeader, plain: bytes, clause: Clause) -> list[Fields]:
    """Return the fields of at least those records in which a needle of the clause begins, in order.

    ``plain`` are the bytes behind the batch's header, decompressed.

    Raises:
        CorruptMessageError: A record that was looked at, or stepped over, is none.
    """
    hits = Hits(plain, clause, 0, len(plain))
    single = header._replace(record_count=1)
    found: list[Fields] = []
    end = number = 0
    at = hits.first(0)
    while at < len(plain):
        start = end
        while end <= at:
            number += 1
            if number > header.record_count:
                msg = f"bytes behind the last of {header.record_count} records at offset {header.base_offset}"
                raise CorruptMessageError(msg)
            start, end = end, end_of_record(header, plain, end)
        found += decode_fields(single, plain[start:end])
        if len(found) > _FEW and len(found) * _SHARE > number:
            return decode_fields(header, plain)
        at = hits.first(end)
    return found
