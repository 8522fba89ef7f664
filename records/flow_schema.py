"""The records of ``__klamm_flow``: who appended, replicated, fetched and committed which offsets, and when.

A klamm broker writes them about once a second, while telemetry is on (docs/observability.md). One record is one kind of
event of one partition by one client, group or replica, with the ranges of offsets it moved through:

    key    orders:3
    value  {"v":1,"kind":"fetch","broker":1,"topic":"orders","partition":3,"client_id":"billing","group":"billing",
            "address":"10.0.0.7:51234","ranges":[[1800,1850,1764218855123456]]}

A range is ``[first offset, end offset, time]``: the end is exclusive, the time is Unix microseconds. Every offset of
the range had the event at that time, or up to :data:`RESOLUTION_US` before: ranges that follow on each other within
that time are made one.

============  =========================================================  ======================================
kind          an offset of the range                                     who
============  =========================================================  ======================================
`append`      was written by its leader                                  ``client_id``: the producer
`visible`     was passed by the high watermark: consumers may read it
`replicate`   is held by a follower, as its next fetch proved            ``replica``: the follower's broker id
`fetch`       left in a fetch response                                   ``client_id``, ``address``, ``group``
`commit`      was passed by a commit                                     ``group``, ``client_id``
`expire`      was removed: by retention or DeleteRecords
============  =========================================================  ======================================

A Fetch names no group: ``group`` stands there only if exactly one group has a member of this client id and host. A
commit's range begins at the commit before it, or is empty (first = end) where that is not known; the same offset again
is not recorded.
"""

from __future__ import annotations

import json
from json.encoder import encode_basestring as _quoted
from typing import Any, Final, NamedTuple, cast

TOPIC: Final = "__klamm_flow"

VERSION: Final = 1
"""``v``: readers skip records of a version they do not know; fields are only added within one."""

RESOLUTION_US: Final = 20_000
"""Ranges that follow on each other within this time are one: at most 50 a second for each client and partition."""

KINDS: Final = ("append", "visible", "replicate", "fetch", "commit", "expire")


class FlowRange(NamedTuple):
    """Offsets from ``first_offset`` up to, but not with, ``end_offset``, at ``time_us``."""

    first_offset: int
    end_offset: int
    time_us: int


class FlowRecord(NamedTuple):
    """One record; see the module for what each kind says."""

    kind: str
    broker: int
    topic: str
    partition: int
    ranges: tuple[FlowRange, ...]
    client_id: str | None = None
    group: str | None = None
    address: str | None = None
    replica: int | None = None

    def time_us(self, offset: int) -> int | None:
        """Return when ``offset`` first had this event, as far as this record says."""
        return min((one.time_us for one in self.ranges if one.first_offset <= offset < one.end_offset), default=None)


def encode_key(record: FlowRecord) -> bytes:
    """Return the key: ``topic:partition``."""
    return f"{record.topic}:{record.partition}".encode()


def encode_value(record: FlowRecord) -> bytes:
    """Return the value as JSON, without the fields that say nothing."""
    kind, broker, topic, partition, ranges, client_id, group, address, replica = record
    said = ",".join([f"[{first_offset},{end_offset},{time_us}]" for first_offset, end_offset, time_us in ranges])
    text = f'{{"v":{VERSION},"kind":"{kind}","broker":{broker},"topic":{_quoted(topic)},"partition":{partition}'
    text += f',"ranges":[{said}]'
    for name, value in (("client_id", client_id), ("group", group), ("address", address)):
        if value is not None:
            text += f',"{name}":{_quoted(value)}'
    if replica is not None:
        text += f',"replica":{replica}'
    return (text + "}").encode("utf-8", "surrogatepass")


def decode_value(value: bytes | None) -> FlowRecord | None:
    """Return the record, or None if this is none of a version known here."""
    try:
        fields = json.loads(value or b"null")
    except ValueError:
        return None
    if not isinstance(fields, dict):
        return None
    found = cast("dict[str, Any]", fields)
    if found.get("v") != VERSION:
        return None
    try:
        return FlowRecord(
            kind=_text(found, "kind"),
            broker=_number(found, "broker"),
            topic=_text(found, "topic"),
            partition=_number(found, "partition"),
            ranges=tuple(_range(one) for one in found["ranges"]),
            client_id=_text(found, "client_id") if "client_id" in found else None,
            group=_text(found, "group") if "group" in found else None,
            address=_text(found, "address") if "address" in found else None,
            replica=_number(found, "replica") if "replica" in found else None,
        )
    except (KeyError, TypeError, ValueError):
        return None


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise TypeError(name)
    return value


def _number(fields: dict[str, Any], name: str) -> int:
    value = fields[name]
    if not isinstance(value, int):
        raise TypeError(name)
    return value


def _range(one: Any) -> FlowRange:  # noqa: ANN401 (what JSON gives)
    first_offset, end_offset, time_us = one
    if not all(isinstance(part, int) for part in (first_offset, end_offset, time_us)):
        raise TypeError(one)
    return FlowRange(first_offset, end_offset, time_us)
