"""A record that was read, made into one to be sent again, and sent.

Headers that are set replace those of that name; nothing is appended beside them, since some readers take the first and
some the last. So does ``traceparent``, in whatever case: the sending again is a step of the same trace, with an id of
its own.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, NamedTuple

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError, SettingsError
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.raw_producing import Place, RawProducer
from klamm.client.messages.record import TRACEPARENT, Fields, Headers, Record, is_traceparent
from klamm.client.offsets import no_leader
from klamm.client.topics import find_topics

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
    kept = [(name, data) for name, data in headers if not any(_is_named(name, each) for each in changes.drop)]
    replaced: dict[str, tuple[str, bytes | None]] = {_key(name): (name, data) for name, data in changes.headers.items()}
    if TRACEPARENT not in replaced:
        parents = [(name, data) for name, data in kept if is_traceparent(name)]
        renewed = _renewed(parents[-1][1]) if parents else None
        if renewed is not None:
            replaced[TRACEPARENT] = (parents[-1][0], renewed)
    found: list[tuple[str, bytes | None]] = []
    placed: set[str] = set()
    for name, data in kept:
        key = _key(name)
        if key not in replaced:
            found.append((name, data))
        elif key not in placed:
            placed.add(key)
            found.append(replaced[key])
    found += [each for key, each in replaced.items() if key not in placed]
    return tuple(found)


def placed(record: Record, draft: Draft, *, elsewhere: bool = False) -> Draft:
    """Return a record that is sent again with the partition it is in, unless its topic, key or cluster is another."""
    same = not elsewhere and (draft.topic, draft.key) == (record.topic, record.key)
    return draft._replace(partition=record.partition) if draft.partition is None and same else draft


def differing(record: Record, draft: Draft) -> list[str]:
    """Return what of key, value and headers is another in what is sent again."""
    pairs = {
        "key": (record.key, draft.key),
        "value": (record.value, draft.value),
        "headers": (as_sent(record.headers), as_sent(draft.headers)),
    }
    return [name for name, (before, after) in pairs.items() if before != after]


def places_of(drafts: Iterable[Draft]) -> dict[str, set[int]]:
    """Return where records are meant to go: the topics, and of each the partitions that are named."""
    places: dict[str, set[int]] = {}
    for draft in drafts:
        named = places.setdefault(draft.topic or "", set())
        if draft.partition is not None:
            named.add(draft.partition)
    return places


async def missing_places(cluster: Cluster, places: Mapping[str, Collection[int]]) -> list[ClientError]:
    """Return why records cannot be sent there: no such topic, or partition, or a partition without leader.

    Sending must not make topics, and would wait long for a leader. One Metadata. ``places`` are what
    :func:`places_of` returns.
    """
    _, topics, missing = await find_topics(cluster, sorted(places))
    errors: list[ClientError] = list(missing.values())
    for topic in topics:
        named, count = places[topic.name], len(topic.partitions)
        if named and max(named) >= count:
            msg = f"{topic.name} has no partition {max(named)}; it has 0 to {count - 1}"
            errors.append(SettingsError(msg))
        errors += [
            no_leader(topic.name, part.partition)
            for part in topic.partitions
            if part.partition in named and part.leader < 0
        ]
    return errors


async def send(
    cluster: Cluster, drafts: Iterable[Draft], on_trouble: Callable[[str], None] = lambda _: None
) -> tuple[list[Place], list[ClientError]]:
    """Send records, each once the one before is acknowledged; return where they are, and why no more of them are.

    They are few, and whoever sends them looks for them next: so not through librdkafka, which would tell the offsets
    of all or none. ``on_trouble`` is told what is waited for.
    """
    producer = RawProducer(cluster, cluster.settings.properties, on_trouble)
    places: list[Place] = []
    try:
        for draft in drafts:
            places.append(await producer.send_one(draft.topic or "", draft))  # noqa: PERF401 (kept where one fails)
    except ClientError as error:
        return places, [error]
    return places, []


def as_sent(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return headers as far as they are a person's: the id within a trace is made anew with each sending."""
    return [(name, None if is_traceparent(name) else value) for name, value in headers]


def _key(name: str) -> str:
    """Return by what a header is told from others: Kafka's names have a case, ``traceparent`` has none."""
    return TRACEPARENT if is_traceparent(name) else name


def _is_named(name: str, glob: str) -> bool:
    return fnmatchcase(name, glob) or (is_traceparent(name) and fnmatchcase(TRACEPARENT, glob.lower()))


def _renewed(traceparent: bytes | None) -> bytes | None:
    """Return a traceparent of the same trace with a new span id, None if it is none (W3C Trace Context)."""
    match = _TRACEPARENT.fullmatch(traceparent or b"")
    return None if match is None else match[1] + secrets.token_hex(8).encode() + match[2]
