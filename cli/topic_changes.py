"""``klamm topic``: create, delete, alter, add-partitions, trim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from klamm.cli.checks import pair_of
from klamm.cli.config_keys import explain_keys
from klamm.cli.guard import ADDITIVE, MODERATE, Plan, guard, record, record_made
from klamm.cli.output import Column, Result, count_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.topic_names import chosen_partitions, find_topics
from klamm.client import operations
from klamm.client.text import counted, topics_text

if TYPE_CHECKING:
    from klamm.client.errors import ClientError
    from klamm.client.offsets import Partition

CREATE_COLUMNS = (
    Column("NAME", "name"),
    Column("PARTITIONS", "partitions", right=True),
    Column("REPLICAS", "replication_factor", right=True),
    Column("ID", "topic_id"),
    Column("CREATED", "created"),
)


async def create_topics(run: Run) -> Result:
    """Create topics."""
    from klamm.client.topics import BROKER_DEFAULT, NewTopic, wait_until_usable
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
    go = await guard(run, Plan(f"create {topics_text(names)}", ADDITIVE, names[0]))
    created, errors = await create(run.cluster, new, validate_only=not go, wait=False)
    for error in errors.values():
        explain_keys(error, "topic", configs)
    if run.values.flag("if_not_exists"):
        there = [name for name, error in errors.items() if error.code == "TOPIC_ALREADY_EXISTS"]
        errors = {name: error for name, error in errors.items() if name not in there}
        if there:
            run.note(f"there before, and left as it was: {', '.join(there)}")
    items = [{**topic._asdict(), "created": go} for topic in created]
    if go and created:
        made = [topic.name for topic in created]
        await record(run, f"created {topics_text(made)}", [operations.delete_topics(made)])
        await wait_until_usable(run.cluster, created)
    return Result(items, CREATE_COLUMNS, list(errors.values()))


async def delete_topics(run: Run) -> Result:
    """Delete topics, after showing what goes with them."""
    from klamm.client.deleting import plan_deletion

    metadata, topics, errors = await find_topics(run, run.values.texts("names"))
    if not topics:
        return Result((), (), errors)
    deletion = await plan_deletion(run.cluster, metadata, topics)
    if not await guard(run, deletion.plan):
        return Result([{"name": name, "deleted": False} for name in deletion.names], DELETE_COLUMNS, errors)
    made = await deletion.apply(run.cluster)
    await record_made(run, made)
    return Result([{"name": name, "deleted": True} for name in made.names], DELETE_COLUMNS, [*errors, *made.errors])


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
    plan = Plan(f"grow {name} from {before} to {count} partitions", MODERATE, name, (), why)
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
    from klamm.client.deleting import plan_trim

    name = run.values.required("name")
    metadata, topics, errors = await find_topics(run, [name])
    if not topics:
        return Result((), (), errors)
    chosen = chosen_partitions(run, "partitions", name, [part.partition for part in topics[0].partitions])
    trim = await plan_trim(run.cluster, metadata, topics[0], chosen, run.values.text("before") or "end")
    if not trim.resolved:
        return Result((), (), list(trim.errors.values()))
    go = await guard(run, trim.plan)
    starts: Mapping[Partition, int] = {where: each.offset for where, each in trim.resolved.items()}
    failed: Sequence[ClientError] = list(trim.errors.values())
    if go:
        starts, made = await trim.apply(run.cluster)
        await record_made(run, made)
        failed = made.errors
    items = [
        {
            "topic": topic,
            "partition": index,
            "log_start_offset_before": trim.resolved[topic, index].start,
            "log_start_offset": start,
            "trimmed": go,
        }
        for (topic, index), start in starts.items()
    ]
    columns = (
        Column("TOPIC", "topic"),
        Column("P", "partition", right=True),
        Column("START BEFORE", "log_start_offset_before", right=True, show=count_text),
        Column("START", "log_start_offset", right=True, show=count_text),
        Column("TRIMMED", "trimmed"),
    )
    return Result(items, columns, list(failed))
