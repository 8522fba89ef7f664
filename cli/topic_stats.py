"""``klamm topic stats``, ``topic producers`` and ``topic list --stale``: what topics hold and who writes to them."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from klamm.cli.output import Column, Item, Result, Table, count_text, printable, size_text, time_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.topic_describe import leader_sizes
from klamm.cli.topic_names import find_topics
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.topic_sample import Sizes, TopicSample
    from klamm.client.wire import ClusterMetadata

_KEY_WIDTH = 60
_LAST_WRITE = Column("LAST WRITE", "last_write_ms", show=time_text)


async def topic_stats(run: Run) -> Result:
    """Show size, offset span, last write and skew of topics; with ``--sample`` what their records are like."""
    count = run.values.number("sample")
    from klamm.client.offsets import MAX_TIMESTAMP, list_offsets, start_and_end

    metadata, topics, errors = await find_topics(run, run.values.texts("names"))
    where = [(topic.name, part.partition) for topic in topics for part in topic.partitions]
    offsets, failed = await start_and_end(run.cluster, metadata, where)
    newest, _ = await list_offsets(run.cluster, metadata, dict.fromkeys(where, MAX_TIMESTAMP))
    sizes = await leader_sizes(run, topics)
    items: list[Item] = []
    for topic in topics:
        parts = [(topic.name, part.partition) for part in topic.partitions]
        spans = [offsets[each][1] - offsets[each][0] for each in parts if each in offsets]
        size = [sizes[each] for each in parts if each in sizes]
        last = max((newest[each].timestamp_ms for each in parts if each in newest), default=-1)
        mean = sum(spans) / len(spans) if spans else 0
        items.append(
            {
                "name": topic.name,
                "partitions": len(parts),
                "offset_span": sum(spans) if spans else None,
                "size_bytes": sum(size) if size else None,
                "last_write_ms": None if last < 0 else last,
                "skew": round(max(spans) / mean, 2) if mean else None,
            }
        )
    columns = [
        Column("NAME", "name"),
        Column("PARTITIONS", "partitions", right=True),
        Column("OFFSET SPAN", "offset_span", right=True, show=count_text),
        Column("SIZE", "size_bytes", right=True, show=size_text),
        _LAST_WRITE,
        Column("SKEW", "skew", right=True),
    ]
    tables: list[Table] = []
    if count is not None:
        from klamm.client.topic_sample import sample_topics

        samples, sample_errors = await sample_topics(run.cluster, metadata, offsets, count)
        errors += sample_errors
        for item in items:
            item["sample"] = _sample_item(samples[item["name"]]) if item["name"] in samples else None
        tables = [_sample_table(each) for each in samples.values()]
    return Result(items, columns, [*errors, *failed.values()], tables, empty="no topics")


async def only_stale(run: Run, metadata: ClusterMetadata, age: str, listed: Result) -> Result:
    """Return those of the listed topics whose newest record is at least so old, or that have none.

    A record's time is the producer's clock unless the topic has LogAppendTime. Where an offset exists but no record
    any more, nobody can say when the last one came.
    """
    from klamm.client.offsets import MAX_TIMESTAMP, list_offsets

    before_ms = int(time.time() * 1000) - parse_age_ms(age)
    names = {item["name"] for item in listed.items}
    where = [
        (topic.name, part.partition) for topic in metadata.topics if topic.name in names for part in topic.partitions
    ]
    newest, failed = await list_offsets(run.cluster, metadata, dict.fromkeys(where, MAX_TIMESTAMP))
    unknown = {topic for topic, _ in failed}
    items: list[Item] = []
    for item in listed.items:
        times = [found.timestamp_ms for (topic, _), found in newest.items() if topic == item["name"]]
        last = max(times, default=-1)
        if item["name"] not in unknown and last < before_ms:
            items.append({**item, "last_write_ms": None if last < 0 else last})
    columns = [*listed.columns, _LAST_WRITE]
    return Result(items, columns, [*listed.errors, *failed.values()], empty=f"every topic was written to within {age}")


async def topic_producers(run: Run) -> Result:
    """Show the producers that brokers know of each partition, and the names of the transactional ones."""
    from klamm.client.errors import ClientError
    from klamm.client.transactions import active_producers, list_transactions

    _, topics, errors = await find_topics(run, run.values.texts("names"))
    found, failed = await active_producers(run.cluster, topics)
    names: dict[int, str] = {}
    try:
        listed, _ = await list_transactions(run.cluster)
        names = {each.producer_id: each.transactional_id for each in listed}
    except ClientError as error:
        run.note(f"names of transactional producers cannot be had: {error.message}")
    items: list[Item] = [
        {
            "topic": each.topic,
            "partition": each.partition,
            "producer_id": each.producer_id,
            "producer_epoch": each.producer_epoch,
            "transactional_id": names.get(each.producer_id),
            "last_write_ms": None if each.last_timestamp_ms < 0 else each.last_timestamp_ms,
            "open_transaction_since_offset": each.txn_start_offset,
        }
        for each in sorted(found)
    ]
    columns = (
        Column("TOPIC", "topic"),
        Column("P", "partition", right=True),
        Column("PRODUCER ID", "producer_id", right=True),
        Column("EPOCH", "producer_epoch", right=True),
        Column("TRANSACTIONAL ID", "transactional_id"),
        _LAST_WRITE,
        Column("OPEN SINCE OFFSET", "open_transaction_since_offset", right=True, show=count_text),
    )
    run.note("# producers that are neither idempotent nor transactional leave no trace at a broker")
    empty = "no idempotent or transactional producer has written lately"
    return Result(items, columns, [*errors, *failed], empty=empty)


def parse_age_ms(text: str) -> int:
    """Return the milliseconds of ``30d``, ``12h``, ``2w``.

    Raises:
        UsageError: It is no age.
    """
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d|w)", text)
    if match is None:
        msg = f"--stale takes an age like 30d, 12h or 2w, not {text!r}"
        raise UsageError(msg)
    units = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
    return int(match[1]) * units[match[2]]


def _sample_item(sample: TopicSample) -> Item:
    from klamm.client.decoding import Options, decode

    def sizes(found: Sizes | None) -> dict[str, int] | None:
        return None if found is None else {"median": found.median, "p95": found.p95, "max": found.most}

    return {
        "records": sample.records,
        "of_offsets": sample.offsets,
        "tombstones": sample.tombstones,
        "without_key": sample.without_key,
        "distinct_keys": sample.distinct_keys,
        "distinct_keys_estimate": sample.distinct_keys_estimate,
        "key_size_bytes": sizes(sample.key_sizes),
        "value_size_bytes": sizes(sample.value_sizes),
        "records_per_batch": None if sample.records_per_batch is None else round(sample.records_per_batch, 1),
        "codecs": dict(sample.codecs),
        "biggest_keys": [
            {
                "key": decode(each.key, Options(is_key=True, topic=sample.topic)).text,
                "records": each.records,
                "value_bytes": each.value_bytes,
            }
            for each in sample.biggest_keys
        ],
    }


def _sample_table(sample: TopicSample) -> Table:
    item = _sample_item(sample)
    whole = sample.records >= sample.offsets
    scope = "all" if whole else f"sampled {counted(sample.records, 'record')} from 4 places of each partition, of"
    rows: list[Item] = [{"what": "records", "value": f"{scope} {counted(sample.offsets, 'offset')}"}]
    for what, key in (("key size", "key_size_bytes"), ("value size", "value_size_bytes")):
        found: dict[str, Any] | None = item[key]
        if found is not None:
            shown = ", ".join(f"{name} {size_text(each)}" for name, each in found.items())
            rows.append({"what": what, "value": shown})
    if sample.records:
        rows.append({"what": "without key", "value": _share(sample.without_key, sample.records)})
        rows.append({"what": "tombstones", "value": _share(sample.tombstones, sample.records)})
        codecs = ", ".join(f"{name} {_share(each, sample.records)}" for name, each in sample.codecs.items())
        rows.append({"what": "codec", "value": f"{codecs}; {item['records_per_batch']} records in a batch"})
    if sample.distinct_keys:
        about = "" if whole else f", about {sample.distinct_keys_estimate:,} in all"
        rows.append({"what": "distinct keys", "value": f"{sample.distinct_keys:,}{about}"})
    for each in item["biggest_keys"]:
        share = _share(each["records"], sample.records)
        name = printable(each["key"])
        name = name if len(name) <= _KEY_WIDTH else f"{name[:_KEY_WIDTH]}…"
        rows.append({"what": "key", "value": f"{name}   {share} of records, {size_text(each['value_bytes'])}"})
    return Table(sample.topic, (Column("WHAT", "what"), Column("VALUE", "value")), rows)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"
