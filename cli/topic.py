"""``klamm topic``: list, describe, create, delete, alter, add-partitions, trim.

What counts and samples (stats, producers, --stale) is in ``topic_stats.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from klamm.cli.checks import numbers_of, pair_of
from klamm.cli.guard import Plan, guard, record
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
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run, names_or_all
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError, ResponseError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.wire import ClusterMetadata, TopicMetadata

_NAMES = Argument("names", "topics, by name or glob; all if none", required=False, repeat=True, completes="topic")
_NAME = Argument("name", "topic", completes="topic")
_SOME = Argument("names", "topics, by name or glob", repeat=True, completes="topic")
_CONFIG = Option(("--config",), "topic config", "KEY=VALUE", repeat=True)
_NAMES_SHOWN = 5
LIST_COLUMNS = (
    Column("NAME", "name"),
    Column("PARTITIONS", "partitions", right=True),
    Column("REPLICAS", "replication_factor", right=True),
    Column("INTERNAL", "internal"),
)


async def list_topics(run: Run) -> Result:
    """List topics with one Metadata request."""
    from klamm.client.topics import all_topics, topic_id_text

    stale = run.values.text("stale")
    if stale is not None:
        from klamm.cli.topic_stats import parse_age_ms

        parse_age_ms(stale)
    metadata, topics = await all_topics(run.cluster)
    wanted = run.values.texts("names")
    chosen, missing = names_or_all(wanted, [topic.name for topic in topics])
    selected = set(chosen)
    internal = run.values.flag("internal") or bool(wanted)
    items: list[Item] = []
    errors: list[ClientError] = [_no_topic(name, [topic.name for topic in topics]) for name in missing]
    for topic in topics:
        if topic.name not in selected or ((topic.internal or topic.name.startswith("__")) and not internal):
            continue
        if topic.error_code:
            errors.append(ResponseError(topic.error_code, None, name=topic.name))
            continue
        items.append(
            {
                "name": topic.name,
                "partitions": len(topic.partitions),
                "replication_factor": len(topic.partitions[0].replicas) if topic.partitions else 0,
                "internal": topic.internal,
                "topic_id": topic_id_text(topic.topic_id),
                "under_replicated": sum(len(each.isr) < len(each.replicas) for each in topic.partitions),
                "leaderless": sum(each.leader < 0 for each in topic.partitions),
            }
        )
    columns = list(LIST_COLUMNS)
    if any(item["under_replicated"] or item["leaderless"] for item in items):
        columns += [
            Column("UNDER-REPLICATED", "under_replicated", right=True),
            Column("LEADERLESS", "leaderless", right=True),
        ]
    if stale is not None:
        from klamm.cli.topic_stats import only_stale

        return await only_stale(run, metadata, stale, Result(items, columns, errors))
    return Result(items, columns, errors, empty="no topics. Create one: klamm topic create NAME")


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
                {
                    "partition": part.partition,
                    "leader": part.leader,
                    "leader_epoch": part.leader_epoch,
                    "replicas": list(part.replicas),
                    "isr": list(part.isr),
                    "offline_replicas": list(part.offline_replicas),
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


async def create_topics(run: Run) -> Result:
    """Create topics."""
    from klamm.client.topics import BROKER_DEFAULT, NewTopic
    from klamm.client.topics import create_topics as create

    configs = dict(pair_of("--config", text) for text in run.values.texts("config"))
    partitions = run.values.number("partitions")
    replicas = run.values.number("replication_factor")
    names = run.values.texts("names")
    new = [
        NewTopic(
            name,
            BROKER_DEFAULT if partitions is None else partitions,
            BROKER_DEFAULT if replicas is None else replicas,
            configs,
        )
        for name in names
    ]
    go = await guard(run, Plan(f"create {_listed(names)}", 0, names[0]))
    created, errors = await create(run.cluster, new, validate_only=not go)
    if run.values.flag("if_not_exists"):
        errors = {name: error for name, error in errors.items() if error.code != "TOPIC_ALREADY_EXISTS"}
    items = [{**topic._asdict(), "created": go} for topic in created]
    if go and created:
        await record(
            run,
            f"created {_listed([topic.name for topic in created])}",
            [{"operation": "delete_topics", "names": [topic.name for topic in created]}],
        )
    columns = (*LIST_COLUMNS[:3], Column("ID", "topic_id"), Column("CREATED", "created"))
    return Result(items, columns, list(errors.values()))


async def delete_topics(run: Run) -> Result:
    """Delete topics, after showing what goes with them."""
    from klamm.client.blast import blast_radius, topic_specs
    from klamm.client.topics import delete_topics as delete

    metadata, topics, errors = await find_topics(run, run.values.texts("names"))
    names = [topic.name for topic in topics]
    if not names:
        return Result((), (), errors)
    run.cluster.ensure_unprotected(names)
    radius = await blast_radius(run.cluster, metadata, topics)
    specs = await topic_specs(run.cluster, topics)
    plan = Plan(
        f"delete {_listed(names)}", 3, ",".join(names), [each.text() for each in radius], "the records are gone"
    )
    if not await guard(run, plan):
        return Result([{"name": name, "deleted": False} for name in names], DELETE_COLUMNS, errors)
    done, failed = await delete(run.cluster, names)
    if done:
        inverse = [{"operation": "create_topics", "topics": [spec for spec in specs if spec["name"] in done]}]
        await record(run, f"deleted {_listed(done)}", inverse, "the records")
    return Result([{"name": name, "deleted": True} for name in done], DELETE_COLUMNS, [*errors, *failed.values()])


DELETE_COLUMNS = (Column("NAME", "name"), Column("DELETED", "deleted"))


async def alter_topic(run: Run) -> Result:
    """Set or unset configs of topics."""
    from klamm.cli.config import change_configs
    from klamm.client.configs import Change

    changes = [Change(*pair_of("--config", text)) for text in run.values.texts("config")]
    changes += [Change(key, None) for key in run.values.texts("unset")]
    if not changes:
        msg = "klamm topic alter needs --config KEY=VALUE or --unset KEY"
        raise UsageError(msg)
    _, topics, errors = await find_topics(run, run.values.texts("names"))
    result = await change_configs(run, [("topic", topic.name) for topic in topics], changes)
    return result._replace(errors=[*errors, *result.errors])


async def add_partitions(run: Run) -> Result:
    """Raise the number of partitions."""
    from klamm.client.topics import add_partitions as add

    count = run.values.number("to")
    if count is None:
        msg = "klamm topic add-partitions needs --to COUNT: the number of partitions afterwards"
        raise UsageError(msg)
    name = run.values.required("name")
    _, topics, errors = await find_topics(run, [name])
    if not topics:
        return Result((), (), errors)
    before = len(topics[0].partitions)
    why = "partitions cannot be removed, and keys will map to other partitions"
    plan = Plan(f"grow {name} from {before} to {count} partitions", 2, name, (), why)
    # Checked first, so that nobody confirms what the broker would refuse.
    _, failed = await add(run.cluster, {name: count}, validate_only=True)
    go = not failed and await guard(run, plan)
    if go:
        _, failed = await add(run.cluster, {name: count})
    if go and not failed:
        await record(run, f"grew {name} from {before} to {counted(count, 'partition')}", [], why)
    items = [] if failed else [{"name": name, "partitions_before": before, "partitions": count, "changed": go}]
    columns = (
        Column("NAME", "name"),
        Column("BEFORE", "partitions_before"),
        Column("AFTER", "partitions"),
        Column("CHANGED", "changed"),
    )
    return Result(items, columns, list(failed.values()))


async def trim_topic(run: Run) -> Result:
    """Delete the records below an offset, of some or all partitions."""
    from klamm.client.blast import blast_radius
    from klamm.client.positions import resolve_positions
    from klamm.client.topics import delete_records

    name = run.values.required("name")
    metadata, topics, errors = await find_topics(run, [name])
    if not topics:
        return Result((), (), errors)
    chosen = chosen_partitions(run, "partitions", name, [part.partition for part in topics[0].partitions])
    position = run.values.text("before") or "end"
    resolved, failed = await resolve_positions(run.cluster, metadata, [(name, index) for index in chosen], position)
    lines = [
        f"{topic}:{index}  {each.start:,} → {each.offset:,}  ({each.offset - each.start:,} offsets)"
        for (topic, index), each in resolved.items()
    ]
    radius = await blast_radius(run.cluster, metadata, topics)
    plan = Plan(
        f"trim {name} before {position}", 3, name, [*(each.text() for each in radius), *lines], "the records are gone"
    )
    go = await guard(run, plan)
    items = [
        {
            "topic": topic,
            "partition": index,
            "log_start_offset_before": each.start,
            "log_start_offset": each.offset,
            "trimmed": go,
        }
        for (topic, index), each in resolved.items()
    ]
    if go:
        done, refused = await delete_records(
            run.cluster, metadata, {where: each.offset for where, each in resolved.items()}
        )
        failed.update(refused)
        items = [
            item | {"log_start_offset": done[where]}
            for item, where in zip(items, resolved, strict=True)
            if where in done
        ]
        await record(run, f"trimmed {name}", [], "the records are gone")
    columns = (
        Column("TOPIC", "topic"),
        Column("P", "partition", right=True),
        Column("START BEFORE", "log_start_offset_before", right=True, show=count_text),
        Column("START", "log_start_offset", right=True, show=count_text),
        Column("TRIMMED", "trimmed"),
    )
    return Result(items, columns, [*errors, *failed.values()])


def time_text(timestamp_ms: int) -> str:
    """Return a time in UTC, to the second."""
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


async def find_topics(run: Run, names: Sequence[str]) -> tuple[ClusterMetadata, list[TopicMetadata], list[ClientError]]:
    """Return (metadata, topics, errors) for names and globs; names are asked for by name and never created."""
    from klamm.client import topics as client

    if names and not any(sign in name for name in names for sign in "*?["):
        metadata, topics, errors = await client.find_topics(run.cluster, list(dict.fromkeys(names)))
        if errors:
            _, known = await client.all_topics(run.cluster)
            errors = {name: _with_near(error, name, [each.name for each in known]) for name, error in errors.items()}
        return metadata, topics, list(errors.values())
    metadata, topics = await client.all_topics(run.cluster)
    known_names = [topic.name for topic in topics if names or not topic.internal]
    chosen, missing = names_or_all(names, known_names)
    by_name = {topic.name: topic for topic in topics}
    return metadata, [by_name[name] for name in chosen], [_no_topic(name, known_names) for name in missing]


async def leader_sizes(run: Run, topics: Sequence[TopicMetadata]) -> dict[tuple[str, int], int]:
    """Return the size of each partition's leader replica; nothing where brokers do not tell."""
    from klamm.client.topics import leader_sizes as sizes_on

    try:
        return await sizes_on(run.cluster, {(t.name, p.partition): p.leader for t in topics for p in t.partitions})
    except ResponseError:
        return {}


def chosen_partitions(run: Run, option: str, name: str, known: Sequence[int]) -> list[int]:
    """Return the partitions of a topic that an option names, all of them without it.

    Raises:
        UsageError: It is no list of numbers, or the topic has no such partition.
    """
    text = run.values.text(option)
    if text is None:
        return sorted(known)
    chosen = numbers_of(f"--{option}", text)
    wrong = [index for index in chosen if index not in known]
    if wrong:
        msg = f"{name} has no partition {wrong[0]}; it has 0 to {len(known) - 1}"
        raise UsageError(msg)
    return chosen


def _no_topic(name: str, known: Sequence[str]) -> ClientError:
    return _with_near(ResponseError(3, f"there is no topic {name!r}", name=name), name, known)


def _with_near(error: ClientError, name: str, known: Sequence[str]) -> ClientError:
    if error.code == "UNKNOWN_TOPIC_OR_PARTITION":
        error.message = f"there is no topic {name!r}.{suggestion(name, known)}"
        error.next_step = "klamm topic list"
    return error


def _listed(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"topic {names[0]}"
    more = ", …" if len(names) > _NAMES_SHOWN else ""
    return f"{len(names)} topics ({', '.join(names[:_NAMES_SHOWN])}{more})"


async def topic_stats(run: Run) -> Result:
    """Show size, offset span, last write and skew of topics."""
    from klamm.cli import topic_stats as stats

    return await stats.topic_stats(run)


async def topic_producers(run: Run) -> Result:
    """Show who writes to topics."""
    from klamm.cli import topic_stats as stats

    return await stats.topic_producers(run)


async def copy_topic(run: Run) -> Result:
    """Copy the records of a topic into another."""
    from klamm.cli import copying

    return await copying.copy_topic(run)


async def clone_topic(run: Run) -> Result:
    """Make a topic like another, with its records."""
    from klamm.cli import copying

    return await copying.clone_topic(run)


_TO_CONTEXT = Option(("--to-context",), "context of the destination", "NAME")
_TO_BOOTSTRAP = Option(("--to-bootstrap",), "brokers of the destination", "HOST:PORT,…")
_PARTITION = Option(("-p", "--partition"), "only these partitions", "N,…")
_COPY_STATE = (
    Option(("--state",), "where the copy's state is kept until it is done", "FILE"),
    Option(("--resume",), "go on with a copy that was stopped"),
    Option(("--restart",), "forget a copy that was stopped, and copy all"),
)
_COPY_DETAILS = (
    "Kept are partition, order, timestamp, key, value, headers and nulls. Records of transactions are copied once they "
    "are committed. Afterwards the destination is read and compared by count and hash.\n"
    "A copy that was stopped, however, goes on with --resume: what the destination holds already is compared with the "
    "source first. Nobody else may write to the destination meanwhile."
)

COMMANDS = (
    Command(
        "topic list",
        "List topics",
        list_topics,
        "TopicList",
        (_NAMES,),
        (
            Option(("-i", "--internal"), "also internal topics and those that begin with __"),
            Option(("--stale",), "only topics whose newest record is at least this old, or that have none", "TIME"),
        ),
        (
            Example("klamm topics", "every topic"),
            Example("klamm topics --stale 30d", "topics that nobody has written to for 30 days"),
            Example("klamm topic list 'orders*' -o name", "names only, for scripts"),
            Example("klamm topic list --filter 'under_replicated>0'", "topics that lack replicas"),
        ),
        ("Metadata", "ListOffsets"),
        ("DESCRIBE on each topic",),
    ),
    Command(
        "topic describe",
        "Describe topics: partitions, offsets, sizes, configs",
        describe_topics,
        "TopicDescription",
        (_SOME,),
        (),
        (
            Example("klamm topic describe orders", "one topic"),
            Example(
                "klamm topic describe orders -o jsonpath='.items[*].partitions[?(@.leader==-1)].partition'",
                "its leaderless partitions",
            ),
        ),
        ("Metadata", "ListOffsets", "DescribeConfigs", "DescribeLogDirs"),
        ("DESCRIBE and DESCRIBE_CONFIGS on the topic", "DESCRIBE on the cluster (sizes)"),
    ),
    Command(
        "topic create",
        "Create topics",
        create_topics,
        "TopicCreate",
        (Argument("names", "names of the new topics", repeat=True),),
        (
            Option(("-p", "--partitions"), "partitions; the broker's default if not said", "COUNT"),
            Option(("-r", "--replication-factor"), "replicas of each; the broker's default if not said", "COUNT"),
            _CONFIG,
            Option(("--if-not-exists",), "succeed if there is such a topic already"),
        ),
        (
            Example("klamm topic create orders -p 6 -r 3", "six partitions, three replicas"),
            Example("klamm topic create audit --config cleanup.policy=compact --dry-run", "have the broker check it"),
        ),
        ("CreateTopics",),
        ("CREATE on the topic or the cluster",),
        level=1,
        details="Additive, so it asks nothing. Prints the line that takes it back.",
    ),
    Command(
        "topic delete",
        "Delete topics with their records",
        delete_topics,
        "TopicDelete",
        (_SOME,),
        (),
        (
            Example("klamm topic delete orders", "asks for the name"),
            Example("klamm topic delete orders --confirm orders", "in a script"),
            Example("klamm topic delete orders --dry-run", "what would be lost"),
        ),
        ("Metadata", "DescribeLogDirs", "ListOffsets", "ListGroups", "OffsetFetch", "DescribeConfigs", "DeleteTopics"),
        ("DELETE on the topic",),
        level=3,
        details="Shows bytes, groups and the last write first. --confirm takes the names, separated by commas.",
    ),
    Command(
        "topic alter",
        "Set or unset configs of topics",
        alter_topic,
        "ConfigChange",
        (_SOME,),
        (_CONFIG, Option(("--unset",), "back to the default", "KEY", repeat=True)),
        (
            Example("klamm topic alter orders --config retention.ms=86400000 --yes", "keep a day"),
            Example("klamm topic alter orders --unset retention.ms", "the default again"),
        ),
        ("Metadata", "DescribeConfigs", "IncrementalAlterConfigs"),
        ("ALTER_CONFIGS on the topic",),
        level=1,
    ),
    Command(
        "topic add-partitions",
        "Raise a topic's number of partitions (irreversible)",
        add_partitions,
        "TopicPartitions",
        (_NAME,),
        (Option(("--to",), "number of partitions afterwards", "COUNT"),),
        (Example("klamm topic add-partitions orders --to 12 --yes", "twelve partitions"),),
        ("Metadata", "CreatePartitions"),
        ("ALTER on the topic",),
        level=2,
    ),
    Command(
        "topic trim",
        "Delete a topic's oldest records",
        trim_topic,
        "TopicTrim",
        (_NAME,),
        (
            Option(("--before",), "first position to keep: an offset, end, -1h, @2026-11-23T10:00", "POSITION"),
            Option(("--partitions",), "only these", "N,…"),
        ),
        (
            Example("klamm topic trim orders --before -1h --confirm orders", "keep the last hour"),
            Example("klamm topic trim orders --before end --dry-run", "what emptying it would delete"),
        ),
        ("Metadata", "ListOffsets", "DescribeLogDirs", "DeleteRecords"),
        ("DELETE on the topic",),
        level=3,
    ),
    Command(
        "topic stats",
        "Size, offset span, last write and skew of topics",
        topic_stats,
        "TopicStats",
        (_NAMES,),
        (Option(("--sample",), "also read so many records of each: sizes, keys, tombstones", "COUNT", bare="10000"),),
        (
            Example("klamm topic stats --sort -size_bytes", "the biggest first"),
            Example("klamm topic stats orders -w", "again every two seconds"),
            Example("klamm topic stats orders --sample", "which keys are hot, how large values are"),
        ),
        ("Metadata", "ListOffsets", "DescribeLogDirs", "Fetch"),
        ("DESCRIBE on the topics and the cluster", "READ on the topics with --sample"),
        details="OFFSET SPAN is end minus start: fewer records where a topic is compacted or transactional. "
        "SKEW is the fullest partition over the mean. A sample is taken from four places of each partition, old and "
        "new; how many distinct keys there are in all is estimated from it.",
    ),
    Command(
        "topic cp",
        "Copy a topic's records into another topic, here or on another cluster; verified",
        copy_topic,
        "TopicCopy",
        (_NAME._replace(name="topic", help="topic to copy"), Argument("target", "destination", False, False, "topic")),
        (
            _TO_CONTEXT,
            _TO_BOOTSTRAP,
            Option(("--from",), "where to begin, or a range such as @-30m..@now", "POSITION"),
            Option(("--until",), "where to stop, exclusive; the end as it is now unless said", "POSITION"),
            _PARTITION,
            Option(("--where",), "only records that match", "FILTER", repeat=True),
            Option(("-k", "--key"), "only records with exactly this key", "KEY"),
            Option(("-H", "--header"), "only records with this header", "NAME=VALUE", repeat=True),
            Option(("--create",), "make the destination, with the partitions and configs of the source"),
            Option(("--repartition",), "let keys go where the partitioner puts them"),
            *_COPY_STATE,
        ),
        (
            Example("klamm topic cp orders orders-copy --create --yes", "on the same cluster"),
            Example("klamm topic cp orders --to-context staging --from -1h --yes", "the last hour, to another cluster"),
            Example("klamm topic cp orders --to-context staging --resume", "go on after Ctrl-C or a crash"),
        ),
        ("Metadata", "ListOffsets", "Fetch", "DescribeConfigs", "CreateTopics", "Produce"),
        ("READ on the topic", "WRITE on the destination, and CREATE with --create"),
        level=1,
        details=_COPY_DETAILS,
    ),
    Command(
        "topic clone",
        "Make a topic with the partitions, configs and records of another; verified",
        clone_topic,
        "TopicCopy",
        (_NAME._replace(name="topic", help="topic to clone"), Argument("target", "name of the new topic", False)),
        (
            _TO_CONTEXT,
            _TO_BOOTSTRAP,
            _PARTITION,
            Option(("--empty",), "without the records"),
            *_COPY_STATE,
        ),
        (
            Example("klamm topic clone orders orders-test --yes", "a playground"),
            Example("klamm topic clone orders --to-context staging --empty --yes", "the same topic elsewhere, empty"),
        ),
        ("Metadata", "ListOffsets", "Fetch", "DescribeConfigs", "CreateTopics", "Produce"),
        ("READ on the topic", "CREATE and WRITE on the destination"),
        level=1,
        details=_COPY_DETAILS,
    ),
    Command(
        "topic producers",
        "Who writes to topics, as far as brokers know",
        topic_producers,
        "TopicProducers",
        (_SOME,),
        (),
        (Example("klamm topic producers orders", "idempotent and transactional producers with their last write"),),
        ("Metadata", "DescribeProducers", "ListTransactions"),
        ("READ on the topics", "DESCRIBE on transactional ids (their names)"),
        details="Brokers remember producer ids, of producers that are idempotent (the default of Java since 3.0 and of "
        "librdkafka when enabled) or transactional; only transactional ones have a name. A klamm broker also shows "
        "who is connected: klamm client list.",
    ),
)
