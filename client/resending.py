"""A record that was read, made into one to be sent again.

Headers that are set replace those of that name; nothing is appended beside them, since some readers take the first and
some the last. So does ``traceparent``: the sending again is a step of the same trace, with an id of its own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from klamm.client.messages.jsonl import Draft
from klamm.client.messages.record import Fields, Headers

TRACEPARENT: Final = "traceparent"
_TRACEPARENT: Final = re.compile(rb"([0-9a-f]{2}-[0-9a-f]{32}-)[0-9a-f]{16}(-[0-9a-f]{2}.*)", re.DOTALL)


class Changes(NamedTuple):
    """What is different when it is sent again. ``drop`` are globs of header names; ``headers`` replace.

    ``key`` and ``value`` are (new,) where they change: None within is a null.
    """

    topic: str | None = None
    partition: int | None = None
    key: tuple[bytes | None] | None = None
    value: tuple[bytes | None] | None = None
    headers: Mapping[str, bytes | None] = {}
    drop: Sequence[str] = ()
    keep_timestamp: bool = False


def again(fields: Fields, changes: Changes) -> Draft:
    """Return the record to send; without ``keep_timestamp`` its time is that of sending."""
    _, timestamp, key, value, headers = fields
    return Draft(
        changes.topic,
        changes.partition,
        timestamp if changes.keep_timestamp else None,
        key if changes.key is None else changes.key[0],
        value if changes.value is None else changes.value[0],
        headers_again(headers, changes),
    )


def headers_again(headers: Headers, changes: Changes) -> Headers:
    """Return the headers: in their order, those that are set in the place of the first of their name or at the end."""
    kept = [(name, data) for name, data in headers if not any(fnmatchcase(name, each) for each in changes.drop)]
    replaced = dict(changes.headers)
    if TRACEPARENT not in replaced:
        parents = [data for name, data in kept if name == TRACEPARENT]
        renewed = _renewed(parents[-1]) if parents else None
        if renewed is not None:
            replaced[TRACEPARENT] = renewed
    found: list[tuple[str, bytes | None]] = []
    placed: set[str] = set()
    for name, data in kept:
        if name not in replaced:
            found.append((name, data))
        elif name not in placed:
            placed.add(name)
            found.append((name, replaced[name]))
    found += [(name, data) for name, data in replaced.items() if name not in placed]
    return tuple(found)


def _renewed(traceparent: bytes | None) -> bytes | None:
    """Return a traceparent of the same trace with a new span id, None if it is none (W3C Trace Context)."""
    match = _TRACEPARENT.fullmatch(traceparent or b"")
    return None if match is None else match[1] + secrets.token_hex(8).encode() + match[2]
