"""What a line about messages reads: which topic and partitions, from where to where, and what it looks for."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from klamm.cli.parser import UsageError
from klamm.cli.run import Run

if TYPE_CHECKING:
    from klamm.client.messages.conditions import Node
    from klamm.client.messages.filters import Filter
    from klamm.client.messages.record import Fields, Record
    from klamm.client.messages.scan import Scan
    from klamm.client.offsets import Partition
    from klamm.client.positions import Ranges
    from klamm.client.wire import ClusterMetadata

KEY_PLACE = 2
"""Where a record's fields have the key."""
REASONS_MAX = 10
"""Reasons that are told apart why records could not be decoded."""


class Source(NamedTuple):
    """A topic to read, and which of its partitions."""

    topic: str
    metadata: ClusterMetadata
    partitions: list[Partition]
    partition_count: int


class open_ended:  # noqa: N801 (used like a function)
    """Takes the deadline of the whole command away, unless the line has one: a stream ends when it ends."""

    def __init__(self, run: Run) -> None:
        self._stopped = run.without_deadline() if run.values.text("timeout") is None else None

    def __enter__(self) -> None:
        """Stop the clock."""
        if self._stopped is not None:
            self._stopped.__enter__()

    def __exit__(self, *error: object) -> None:
        """Start it again."""
        if self._stopped is not None:
            self._stopped.__exit__(None, None, None)


async def find_source(run: Run) -> Source:
    """Return the topic of the line and the partitions that are asked for.

    Raises:
        ClientError: There is no such topic; nothing was created. Says which names are near.
    """
    from klamm.cli.topic_names import chosen_partitions, find_topics

    name = run.values.required("topic")
    metadata, topics, errors = await find_topics(run, [name])
    if errors:
        raise errors[0]
    if len(topics) != 1:
        msg = f"{name!r} names {len(topics)} topics, and records are read from one"
        raise UsageError(msg)
    known = sorted(part.partition for part in topics[0].partitions)
    chosen = sorted(set(chosen_partitions(run, "partition", topics[0].name, known)))
    return Source(topics[0].name, metadata, [(topics[0].name, each) for each in chosen], len(known))


async def make_scan(run: Run, source: Source, until: str | None, condition: Filter | None) -> Scan:
    """Return the search that the line asks for, its positions resolved and told on standard error."""
    from klamm.client.messages.scan import Scan

    found = await ranges_of(run, source, until)
    scan = Scan(
        run.cluster,
        source.metadata,
        found.ranges,
        condition,
        committed_only=committed_only(run),
        on_trouble=lambda text: run.note(f"waiting: {text}"),
    )
    scan.errors.update(found.errors)
    return scan


def committed_only(run: Run) -> bool:
    """Return whether the line leaves out records of aborted and open transactions."""
    return run.values.text("isolation") == "read_committed"


async def ranges_of(run: Run, source: Source, until: str | None) -> Ranges:
    """Return what the line's positions mean by partition, told on standard error.

    Raises:
        ClientError: No partition can be read, or a position is none.
    """
    from klamm.client.positions import resolve_ranges

    given = run.values.text("from")
    start = "start" if given is None else given
    if ".." in start and run.values.text("until") is None:
        until = None  # the range has its own
    found = await resolve_ranges(
        run.cluster, source.metadata, source.partitions, start, until, committed_only=committed_only(run)
    )
    if given is not None or run.values.text("until") is not None:
        for note in found.notes:
            run.note(f"{source.topic}: {note}")
    if found.errors and not found.ranges:
        raise next(iter(found.errors.values()))
    return found


def conditions_of(run: Run) -> list[str]:
    """Return whatever the line says about what to look for; not every command takes all of it."""
    values = run.values
    single = [values.text(name) for name in ("key", "text") if values.has(name)]
    several = [text for name in ("where", "filter", "header") if values.has(name) for text in values.texts(name)]
    return [*several, *(each for each in single if each is not None)]


async def make_condition(run: Run) -> Filter | None:
    """Return what the line looks for, None for everything.

    Raises:
        FilterError: A filter that cannot be parsed.
    """
    if not conditions_of(run):
        return None
    from klamm.client.messages.conditions import joined, parse
    from klamm.client.messages.filters import both, literal_filter
    from klamm.client.messages.glance import Glance, header_names, looked_into

    values = run.values
    key = values.text("key")
    text = values.text("text") if values.has("text") else None
    headers: list[tuple[str, bytes | None]] = []
    for pair in values.texts("header"):
        name, equals, value = pair.partition("=")
        headers.append((name, raw_word(value) if equals else None))
    literals = None
    if key is not None or text is not None or headers:
        literals = literal_filter(
            key=None if key is None else raw_word(key), text=None if text is None else raw_word(text), headers=headers
        )
    node = joined([parse(each) for each in (*values.texts("where"), *values.texts("filter"))])
    found = both(literals, None if node is None else await _built(run, node))
    assert found is not None, "there are conditions"
    names = [name for name, _ in headers] + ([] if node is None else list(header_names(node)))
    return found._replace(glance=Glance(names, () if node is None or not _is_plain(run) else looked_into(node)))


def _is_plain(run: Run) -> bool:
    """Whether keys and values are expected to be JSON, or nothing that paths lead into."""
    values = run.values
    names = ("key_as", "value_as", "key_schema", "value_schema", "registry")
    named = any(values.text(name) for name in names if values.has(name))
    return not named and not run.resolved.settings.registry and not values.required("topic").startswith("__")


async def _built(run: Run, node: Node) -> Filter:
    """Return a filter at work, with the decoding that its paths need."""
    from klamm.client.decoding import open_decoder
    from klamm.client.messages.filters import build, decode_json
    from klamm.client.messages.record import Record

    topic, plain = run.values.required("topic"), _is_plain(run)
    if plain:
        decoder = await open_decoder(run.resolved.settings)
    else:
        from klamm.cli.message_output import make_decoder

        decoder = await make_decoder(run)

    def as_record(fields: Fields) -> Record:
        return Record(topic, -1, fields[0], fields[1], "", fields[2], fields[3], fields[4])

    undecoded = Counter[str]()
    last: Fields | None = None

    def decode(fields: Fields, place: int) -> object:
        nonlocal last
        if plain:
            with contextlib.suppress(ValueError):
                return decode_json(fields, place)
        record = as_record(fields)
        found = decoder.key(record) if place == KEY_PLACE else decoder.value(record)
        if found.note and fields is not last and not isinstance(found.value, (dict, list)):
            why = found.note if found.note in undecoded or len(undecoded) < REASONS_MAX else "for other reasons"
            undecoded[why] += 1
            last = fields  # a filter may look into a record several times
        return found.value

    async def prepare(rows: Sequence[Fields]) -> None:
        await decoder.prepare(as_record(fields) for fields in rows)

    return build(node, decode, None if plain else prepare, literal=plain)._replace(undecoded=undecoded)


def raw_word(text: str) -> bytes:
    """Return the bytes of a word of the line; what was no UTF-8 there stays what it was."""
    return text.encode("utf-8", "surrogateescape")
