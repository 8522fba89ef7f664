"""``klamm topic``: list, describe, create, delete, alter, add-partitions, trim.

Only the list is here. ``topic_describe.py``, ``topic_changes.py``, ``copying.py`` and ``topic_stats.py`` (what counts
and samples: stats, producers, --stale) do the rest; ``topic_names.py`` says which topics a line means.
"""

from __future__ import annotations

from klamm.cli.names import names_or_all, unknown_name
from klamm.cli.output import Column, Item, Result
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.cli.topic_changes import add_partitions, alter_topic, create_topics, delete_topics, trim_topic
from klamm.cli.topic_describe import describe_topics
from klamm.cli.topic_names import NAME, NAMES, SOME
from klamm.client.errors import ClientError, ResponseError

_CONFIG = Option(("--config",), "topic config", "KEY=VALUE", repeat=True)
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
    errors: list[ClientError] = [unknown_name("topic", name, [topic.name for topic in topics]) for name in missing]
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
        (NAMES,),
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
        (SOME,),
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
        (SOME,),
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
        (SOME,),
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
        (NAME,),
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
        (NAME,),
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
        (NAMES,),
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
        (NAME._replace(name="topic", help="topic to copy"), Argument("target", "destination", False, False, "topic")),
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
        (NAME._replace(name="topic", help="topic to clone"), Argument("target", "name of the new topic", False)),
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
        (SOME,),
        (),
        (Example("klamm topic producers orders", "idempotent and transactional producers with their last write"),),
        ("Metadata", "DescribeProducers", "ListTransactions"),
        ("READ on the topics", "DESCRIBE on transactional ids (their names)"),
        details="Brokers remember producer ids, of producers that are idempotent (the default of Java since 3.0 and of "
        "librdkafka when enabled) or transactional; only transactional ones have a name. A klamm broker also shows "
        "who is connected: klamm client list.",
    ),
)
