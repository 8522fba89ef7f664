"""``klamm cluster``: info, health, quorum, features, api-versions."""

from __future__ import annotations

from klamm.cli.output import Column, Item, Result, Table, count_text
from klamm.cli.run import Run
from klamm.cli.spec import Command, Example
from klamm.client.errors import ClientError
from klamm.client.text import counted

BROKER_COLUMNS = (
    Column("ID", "name", right=True),
    Column("HOST", "host"),
    Column("PORT", "port", right=True),
    Column("RACK", "rack"),
    Column("CONTROLLER", "controller"),
    Column("FENCED", "fenced"),
)


_FENCED = "registered, and no part of the cluster now: dead, starting or shutting down"
_MILD = frozenset({"not led by its preferred replica"})
"""What is no reason to call a cluster unhealthy."""


def _problem_style(item: Item) -> str:
    return "warning" if item["problem"] in _MILD else "bad"


async def info(run: Run) -> Result:
    """Show cluster id, controller, brokers."""
    from klamm.client.clusters import cluster_and_quorum

    found, _ = await cluster_and_quorum(run.cluster)
    brokers = broker_items(found)
    item: Item = {
        "name": found.cluster_id,
        "cluster_id": found.cluster_id,
        "controller": found.controller if found.controller >= 0 else None,
        "brokers": brokers,
    }
    controller = found.controller if found.controller >= 0 else "unknown"
    title = f"Cluster {found.cluster_id}   controller {controller}   {counted(len(brokers), 'broker')}"
    return Result([item], (), (), [Table(title, BROKER_COLUMNS, brokers)])


def broker_items(found) -> list[Item]:  # type: ignore[no-untyped-def] # noqa: ANN001
    """Return brokers as items."""
    return [
        {
            "name": str(b.broker_id),
            "broker_id": b.broker_id,
            "host": b.host,
            "port": b.port,
            "rack": b.rack,
            "controller": b.broker_id == found.controller if found.controller >= 0 else None,
            "fenced": b.fenced,
        }
        for b in found.brokers
    ]


async def health(run: Run) -> Result:
    """Show what is wrong with brokers and partitions; exit code 3 if anything is."""
    from klamm.client.clusters import cluster_info
    from klamm.client.configs import describe_configs

    metadata = await run.cluster.metadata()
    problems: list[Item] = [
        {"name": f"broker {broker.broker_id}", "problem": "fenced", "detail": _FENCED}
        for broker in (await cluster_info(run.cluster)).brokers
        if broker.fenced
    ]
    alive = {broker.broker_id for broker in metadata.brokers}
    errors: list[ClientError] = []
    for broker_id in sorted(alive):
        try:
            await run.cluster.broker(broker_id)
        except ClientError as error:
            problems.append({"name": f"broker {broker_id}", "problem": "unreachable", "detail": error.message})
    thin = [t.name for t in metadata.topics if any(len(p.isr) < len(p.replicas) for p in t.partitions)]
    configs, _ = (
        await describe_configs(run.cluster, [("topic", n) for n in thin], ["min.insync.replicas"]) if thin else ({}, {})
    )
    least = {n: int(e[0].value or 1) for (_, n), e in configs.items() if e}
    for topic in sorted(metadata.topics, key=lambda each: each.name):
        for part in topic.partitions:
            name = f"{topic.name}:{part.partition}"
            missing = sorted(set(part.replicas) - set(part.isr))
            where = f"replicas {_ids(part.replicas)}, in sync {_ids(part.isr)}"
            if part.leader < 0:
                problems.append({"name": name, "problem": "no leader", "detail": where})
            elif missing:
                below = len(part.isr) < least.get(topic.name, 1)
                problem = "under min.insync.replicas" if below else "under-replicated"
                problems.append({"name": name, "problem": problem, "detail": f"{where}, missing {_ids(missing)}"})
            elif part.leader != part.replicas[0]:
                problems.append(
                    {
                        "name": name,
                        "problem": "not led by its preferred replica",
                        "detail": f"leader {part.leader}, {where}",
                    }
                )
    partitions = sum(len(topic.partitions) for topic in metadata.topics)
    sizes = {"broker": len(alive), "topic": len(metadata.topics), "partition": partitions, "problem": len(problems)}
    run.note(", ".join(counted(count, noun) for noun, count in sizes.items()))
    columns = (
        Column("WHAT", "name"),
        Column("PROBLEM", "problem", style=_problem_style),
        Column("DETAIL", "detail"),
    )
    bad = any(item["problem"] not in _MILD for item in problems)
    return Result(problems, columns, errors, exit_code=3 if bad else 0)


async def quorum(run: Run) -> Result:
    """Show the metadata quorum."""
    from klamm.client.clusters import describe_quorum

    found = await describe_quorum(run.cluster)
    items = [{"name": str(each.replica_id), **each._asdict()} for each in found.replicas]
    run.note(f"leader {found.leader_id}, epoch {found.leader_epoch}, high watermark {found.high_watermark:,}")
    columns = (
        Column("ID", "name", right=True),
        Column("ROLE", "role"),
        Column("LOG END", "log_end_offset", right=True, show=count_text),
        Column("LAG", "lag", right=True, show=count_text),
    )
    return Result(items, columns)


async def features(run: Run) -> Result:
    """Show finalized and supported features."""
    from klamm.client import clusters

    items = [each._asdict() for each in await clusters.features(run.cluster)]
    columns = (
        Column("NAME", "name"),
        Column("LEVEL", "level", right=True),
        Column("SUPPORTED FROM", "supported_min", right=True),
        Column("TO", "supported_max", right=True),
    )
    return Result(items, columns, empty="the cluster names no features")


async def api_versions(run: Run) -> Result:
    """Show which APIs the broker serves, and which version klamm would send."""
    from klamm.client.connection import api_name
    from klamm.protocol.apis import API_VERSIONS, ApiKey

    connection = await run.cluster.any_connection()
    items: list[Item] = []
    for key, (low, high) in sorted(connection.versions.items()):
        known = key in {each.value for each in ApiKey}
        ours = API_VERSIONS[ApiKey(key)] if known else None
        best = None if ours is None or min(high, ours.max) < max(low, ours.min) else min(high, ours.max)
        items.append(
            {"name": api_name(key) if known else f"(key {key})", "api_key": key, "min": low, "max": high, "klamm": best}
        )
    columns = (
        Column("API", "name"),
        Column("KEY", "api_key", right=True),
        Column("MIN", "min", right=True),
        Column("MAX", "max", right=True),
        Column("KLAMM SENDS", "klamm", right=True),
    )
    return Result(items, columns)


def _ids(ids) -> str:  # type: ignore[no-untyped-def] # noqa: ANN001
    return ",".join(str(each) for each in ids) or "none"


_DESCRIBE = ("DESCRIBE on the cluster",)
COMMANDS = (
    Command(
        "cluster info",
        "Show cluster id, controller and brokers",
        info,
        "ClusterInfo",
        (),
        (),
        (
            Example("klamm cluster info", "who answers"),
            Example("klamm cluster info -o jsonpath=.items[0].cluster_id", "its id, to pin a context to"),
        ),
        ("DescribeCluster", "DescribeQuorum"),
        _DESCRIBE,
    ),
    Command(
        "cluster health",
        "Show what is wrong now (exit code 3 if anything is)",
        health,
        "HealthProblemList",
        (),
        (),
        (Example("klamm cluster health", "leaderless and under-replicated partitions, unreachable brokers"),),
        ("Metadata", "DescribeCluster", "DescribeConfigs"),
        ("DESCRIBE on the topics",),
    ),
    Command(
        "cluster quorum",
        "Show the metadata quorum",
        quorum,
        "QuorumReplicaList",
        (),
        (),
        (Example("klamm cluster quorum", "voters, observers and how far behind each is"),),
        ("DescribeQuorum",),
        _DESCRIBE,
    ),
    Command(
        "cluster features",
        "Show finalized and supported features",
        features,
        "FeatureList",
        (),
        (),
        (Example("klamm cluster features", "metadata.version and the others"),),
        (),
        (),
    ),
    Command(
        "cluster api-versions",
        "Show the APIs a broker serves",
        api_versions,
        "ApiVersionList",
        (),
        (),
        (Example("klamm cluster api-versions", "with the version klamm sends"),),
        (),
        (),
    ),
)
