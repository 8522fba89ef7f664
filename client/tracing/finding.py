"""Every record of some topics, or all, that carries a trace id, a correlation id, a header or a key; with the proof.

A trace id is looked for in every dialect: its hex digits, or Datadog's header and its decimal ones, rule out batches by
their bytes, and what is left is read as headers. Anything else that is asked for by its id is a correlation id: a
header's whole value; or, of eight hex digits and more, a trace id as it is shown where there is little room.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.messages.any_case import AnyCase
from klamm.client.messages.filters import Filter, both, literal_filter
from klamm.client.messages.record import Fields, Record
from klamm.client.messages.scan import Scan
from klamm.client.positions import resolve_ranges
from klamm.client.text import counted
from klamm.client.tracing.propagation import (
    Headers,
    clauses_of,
    decimal_texts_of,
    hex_texts_of,
    parse_trace_id,
    read_headers,
)
from klamm.client.wire import ClusterMetadata

_ABBREVIATED: Final = re.compile(r"[0-9a-fA-F]{8,31}")


class Query(NamedTuple):
    """What is looked for; a record matches if it matches all that is given."""

    trace_id: str | None = None
    correlation: str | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    key: bytes | None = None


class Coverage(NamedTuple):
    """How much was looked at, over all partitions; ``offsets_left`` are offsets not looked at."""

    topics: int
    partitions: int
    records: int
    matched: int
    offsets_left: int
    is_complete: bool

    @property
    def text(self) -> str:
        """The proof as a sentence."""
        where = f"{counted(self.partitions, 'partition')} in {counted(self.topics, 'topic')}"
        what = f"{counted(self.records, 'record')} of {where} looked at"
        return f"{what}: all there are" if self.is_complete else f"{what}; {counted(self.offsets_left, 'offset')} not"


def query_of(text: str | None, headers: Sequence[str], key: str | None) -> Query:
    """Return the query that a line means: an id, headers ``name=value`` or ``name``, a key."""
    pairs: list[tuple[str, bytes | None]] = []
    for each in headers:
        name, equals, value = each.partition("=")
        pairs.append((name, value.encode() if equals else None))
    trace_id = None if text is None else parse_trace_id(text)
    correlation = text if trace_id is None else None
    return Query(trace_id, correlation, tuple(pairs), None if key is None else key.encode())


def condition_of(query: Query) -> Filter:
    """Return the query as a condition of a search."""
    rest = None
    if query.headers or query.key is not None:
        rest = literal_filter(key=query.key, headers=query.headers)
    wanted: Filter | None = None
    if query.trace_id is not None:
        wanted = condition_of_traces({query.trace_id})
    elif query.correlation is not None:
        wanted = _of_correlation(query.correlation)
    found = both(wanted, rest)
    assert found is not None, "a query that asks for nothing"
    return found


def condition_of_traces(trace_ids: Collection[str]) -> Filter:
    """Return the condition that a record carries one of some trace ids, in any dialect."""
    texts = [text.encode() for text in (*hex_texts_of(trace_ids), *decimal_texts_of(trace_ids))]

    def check(_: int, fields: Fields) -> bool:
        headers: Headers = fields[4]
        lowered = [value.lower() for _, value in headers if value is not None]
        if not any(text in value for value in lowered for text in texts):
            return False
        return any(each.trace_id in trace_ids for each in read_headers(headers).contexts)

    return Filter(check, clauses_of(trace_ids))


async def search(
    cluster: Cluster, metadata: ClusterMetadata, query: Query, start: str, until: str | None
) -> tuple[Scan, list[ClientError], list[str]]:
    """Return a search over every partition of the metadata's topics, the partitions that have none, and what was meant.

    ``start`` is a position or a whole range ``FROM..UNTIL``; without an end the search ends where the logs do now.

    Raises:
        SettingsError: A position is none.
    """
    partitions = [(topic.name, each.partition) for topic in metadata.topics for each in topic.partitions]
    if ".." not in start:  # a range has an end already
        until = until or "end"
    ranges = await resolve_ranges(cluster, metadata, partitions, start, until)
    scan = Scan(cluster, metadata, ranges.ranges, condition_of(query))
    return scan, list(ranges.errors.values()), ranges.notes


def coverage_of(scan: Scan, errors: Sequence[ClientError]) -> Coverage:
    """Return how much a search has looked at."""
    topics = {topic for topic, _ in scan.coverage}
    return Coverage(
        len(topics),
        len(scan.coverage),
        scan.scanned,
        scan.matched,
        scan.remaining or 0,
        scan.is_complete and not errors,
    )


def matched_by(record: Record, query: Query) -> str:
    """Return by which header, or by what, a record matched."""
    found = read_headers(record.headers)
    if query.trace_id is not None:
        return next((each.dialect for each in found.contexts if each.trace_id == query.trace_id), "")
    if query.correlation is not None:
        wanted = query.correlation.encode()
        named = next((name for name, value in record.headers if value == wanted), None)
        return named or _beginning(record.headers, query.correlation.lower()) or ""
    return ", ".join([*(name for name, _ in query.headers), *([] if query.key is None else ["key"])])


def _of_correlation(text: str) -> Filter:
    value, begin = text.encode(), text.lower()

    def whole(_: int, fields: Fields) -> bool:
        return any(each == value for _, each in fields[4])

    def check(partition: int, fields: Fields) -> bool:
        headers: Headers = fields[4]
        if not any(each is not None and begin.encode() in each.lower() for _, each in headers):
            return False
        return whole(partition, fields) or _beginning(headers, begin) is not None

    if _ABBREVIATED.fullmatch(text) is None:
        return Filter(whole, [(value,)])
    return Filter(check, [(AnyCase(begin.encode()),)])


def _beginning(headers: Headers, begin: str) -> str | None:
    """Return the dialect of the first trace id that begins so."""
    return next((each.dialect for each in read_headers(headers).contexts if each.trace_id.startswith(begin)), None)
