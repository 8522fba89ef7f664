"""``klamm topic describe``: partitions, offsets, sizes, configs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from klamm.cli.output import (
    Column,
    Item,
    Result,
    Table,
    count_text,
    isr_style,
    leader_style,
    leader_text,
    size_text,
)
from klamm.cli.run import Run
from klamm.cli.topic_names import find_topics
from klamm.client.errors import ResponseError

if TYPE_CHECKING:
    from klamm.client.wire import PartitionMetadata, TopicMetadata


async def describe_topics(run: Run) -> Result:
    """Describe topics: partitions, offsets, sizes, configs that differ from the default."""
    from klamm.client.configs import describe_configs
    from klamm.client.offsets import start_and_end
    from klamm.client.topics import topic_id_text

    metadata, topics, errors = await find_topics(run, run.values.texts("names"))
    where = [(topic.name, part.partition) for topic in topics for part in topic.partitions]
    offsets, offset_errors = await start_and_end(run.cluster, metadata, where)
    configs, config_errors = await describe_configs(run.cluster, [("topic", topic.name) for topic in topics])
    sizes = await leader_sizes(run, topics)
    items: list[Item] = []
    tables: list[Table] = []
    for topic in topics:
        rows: list[Item] = []
        for part in sorted(topic.partitions, key=lambda each: each.partition):
            start, end = offsets.get((topic.name, part.partition), (None, None))
            rows.append(
                placement_item(part)
                | {
                    "log_start_offset": start,
                    "log_end_offset": end,
                    "offset_span": None if start is None or end is None else end - start,
                    "size_bytes": sizes.get((topic.name, part.partition)),
                }
            )
        overrides = {each.name: each.value for each in configs.get(("topic", topic.name), ()) if each.overridden}
        known = [row["size_bytes"] for row in rows if row["size_bytes"] is not None]
        items.append(
            {
                "name": topic.name,
                "topic_id": topic_id_text(topic.topic_id),
                "internal": topic.internal,
                "replication_factor": len(topic.partitions[0].replicas) if topic.partitions else 0,
                "size_bytes": sum(known) if known else None,
                "configs": overrides,
                "partitions": rows,
            }
        )
        told = ", ".join(f"{key}={value}" for key, value in overrides.items()) or "all default"
        tables.append(
            Table(f"{topic.name}   id {topic_id_text(topic.topic_id)}   configs: {told}", PARTITION_COLUMNS, rows)
        )
    errors += [*offset_errors.values(), *config_errors.values()]
    return Result(items, (), errors, tables)


def placement_item(part: PartitionMetadata) -> Item:
    """Return where a partition is and who leads it, as programs read it."""
    return {
        "partition": part.partition,
        "leader": part.leader,
        "leader_epoch": part.leader_epoch,
        "replicas": list(part.replicas),
        "isr": list(part.isr),
        "offline_replicas": list(part.offline_replicas),
    }


PARTITION_COLUMNS = (
    Column("P", "partition", right=True),
    Column("LEADER", "leader", right=True, show=leader_text, style=leader_style),
    Column("REPLICAS", "replicas"),
    Column("ISR", "isr", style=isr_style),
    Column("START", "log_start_offset", right=True, show=count_text),
    Column("END", "log_end_offset", right=True, show=count_text),
    Column("OFFSET SPAN", "offset_span", right=True, show=count_text),
    Column("SIZE", "size_bytes", right=True, show=size_text),
)


async def leader_sizes(run: Run, topics: Sequence[TopicMetadata]) -> dict[tuple[str, int], int]:
    """Return the size of each partition's leader replica; nothing where brokers do not tell."""
    from klamm.client.topics import leader_sizes as sizes_on

    try:
        return await sizes_on(run.cluster, {(t.name, p.partition): p.leader for t in topics for p in t.partitions})
    except ResponseError:
        return {}
