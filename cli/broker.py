"""``klamm broker``: list, describe, config, logdirs."""

from __future__ import annotations

from klamm.cli.cluster import BROKER_COLUMNS, broker_items
from klamm.cli.config import COLUMNS as CONFIG_COLUMNS
from klamm.cli.output import Column, Item, Result, Table, size_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError, ResponseError

_IDS = Argument("ids", "broker ids; all if none", required=False, repeat=True, completes="broker")
_BROKER_ID_NOT_REGISTERED = 102
LOG_DIR_COLUMNS = (
    Column("BROKER", "broker_id", right=True),
    Column("PATH", "path"),
    Column("REPLICAS", "replicas", right=True),
    Column("SIZE", "size_bytes", right=True, show=size_text),
    Column("FREE", "usable_bytes", right=True, show=size_text),
    Column("TOTAL", "total_bytes", right=True, show=size_text),
)


async def list_brokers(run: Run) -> Result:
    """List brokers."""
    from klamm.client.clusters import cluster_and_quorum

    found, _ = await cluster_and_quorum(run.cluster)
    return Result(broker_items(found), BROKER_COLUMNS)


async def describe_brokers(run: Run) -> Result:
    """Describe brokers: address, what they lead and hold, disks, configs that were set."""
    from klamm.client.clusters import cluster_info
    from klamm.client.configs import describe_configs
    from klamm.client.topics import log_dirs

    ids = _ids(run)
    found = await cluster_info(run.cluster)
    wanted, errors = _chosen(ids, [broker.broker_id for broker in found.brokers])
    metadata = await run.cluster.metadata()
    dirs, dir_errors = await log_dirs(run.cluster, wanted)
    failures: list[ClientError] = [*errors, *dir_errors.values()]
    items: list[Item] = []
    tables: list[Table] = []
    for item in broker_items(found):
        broker_id = item["broker_id"]
        if broker_id not in wanted:
            continue
        parts = [part for topic in metadata.topics for part in topic.partitions if broker_id in part.replicas]
        item["replicas"] = len(parts)
        item["leaders"] = sum(part.leader == broker_id for part in parts)
        item["out_of_sync"] = sum(broker_id not in part.isr for part in parts)
        item["log_dirs"] = [_dir_item(each) for each in dirs if each.broker_id == broker_id]
        configs: Item = {}
        try:
            entries, config_errors = await describe_configs(run.cluster, [("broker", str(broker_id))])
            failures += config_errors.values()
            configs = {e.name: e.value for e in entries.get(("broker", str(broker_id)), ()) if e.source != "default"}
        except ClientError as error:
            failures.append(error)
        item["configs"] = configs
        items.append(item)
        holds = f"leads {item['leaders']} of {item['replicas']} replicas, {item['out_of_sync']} out of sync"
        title = f"Broker {broker_id}   {item['host']}:{item['port']}   {holds}"
        tables.append(Table(title, LOG_DIR_COLUMNS, item["log_dirs"] or [{}]))
        rows = [{"name": key, "value": value} for key, value in configs.items()]
        tables.append(Table("", (Column("CONFIG", "name"), Column("VALUE", "value")), rows))
    told = {(error.code, error.message): error for error in failures}  # two requests fail for one reason
    return Result(items, (), list(told.values()), tables)


async def broker_configs(run: Run) -> Result:
    """Show a broker's configs."""
    from klamm.client.configs import describe_configs

    name = run.values.required("id")
    if name != "default" and not name.isdecimal():
        msg = f"a broker id is a number, or default for all brokers, not {name!r}"
        raise UsageError(msg)
    found, errors = await describe_configs(run.cluster, [("broker", "" if name == "default" else name)])
    entries = [
        entry for each in found.values() for entry in each if run.values.flag("all") or entry.source != "default"
    ]
    return Result(
        [entry._asdict() for entry in entries], CONFIG_COLUMNS, list(errors.values()), empty="nothing was set"
    )


async def list_log_dirs(run: Run) -> Result:
    """Show the brokers' data directories."""
    from klamm.client.topics import log_dirs

    ids = _ids(run)
    wanted, errors = _chosen(ids, list(await run.cluster.brokers()))
    dirs, failed = await log_dirs(run.cluster, wanted)
    return Result([_dir_item(each) for each in dirs], LOG_DIR_COLUMNS, [*errors, *failed.values()])


def _dir_item(each) -> Item:  # type: ignore[no-untyped-def] # noqa: ANN001
    return {
        "name": f"{each.broker_id}:{each.path}",
        "broker_id": each.broker_id,
        "path": each.path,
        "replicas": len(each.replicas),
        "size_bytes": sum(replica.size_bytes for replica in each.replicas),
        "usable_bytes": each.usable_bytes if each.usable_bytes >= 0 else None,
        "total_bytes": each.total_bytes if each.total_bytes >= 0 else None,
    }


def _ids(run: Run) -> list[int]:
    texts = run.values.texts("ids")
    wrong = [text for text in texts if not text.isdigit()]
    if wrong:
        msg = f"a broker id is a number, not {wrong[0]!r}"
        raise UsageError(msg)
    return [int(text) for text in texts]


def _chosen(given: list[int], known: list[int]) -> tuple[list[int], list[ClientError]]:
    ids = given or known
    told = ", ".join(str(each) for each in known)
    errors: list[ClientError] = [
        ResponseError(
            _BROKER_ID_NOT_REGISTERED,
            f"there is no broker {each}; there is {told}",
            "klamm broker list",
            name=str(each),
        )
        for each in ids
        if each not in known
    ]
    return [each for each in ids if each in known], errors


_CLUSTER = ("DESCRIBE on the cluster",)
COMMANDS = (
    Command(
        "broker list",
        "List brokers",
        list_brokers,
        "BrokerList",
        (),
        (),
        (Example("klamm brokers", "every broker"),),
        ("DescribeCluster", "DescribeQuorum"),
        _CLUSTER,
    ),
    Command(
        "broker describe",
        "Describe brokers: what they lead and hold, disks, configs",
        describe_brokers,
        "BrokerDescription",
        (_IDS,),
        (),
        (Example("klamm broker describe 1", "one broker"),),
        ("DescribeCluster", "Metadata", "DescribeLogDirs", "DescribeConfigs"),
        (*_CLUSTER, "DESCRIBE_CONFIGS on the cluster"),
    ),
    Command(
        "broker config",
        "Show what was configured on a broker",
        broker_configs,
        "ConfigList",
        (Argument("id", "broker id, or default for all brokers", completes="broker"),),
        (Option(("--all",), "also what nobody set"),),
        (
            Example("klamm broker config 1", "what was set"),
            Example("klamm broker config 1 --all", "every key with its value"),
        ),
        ("DescribeConfigs",),
        ("DESCRIBE_CONFIGS on the cluster",),
    ),
    Command(
        "broker logdirs",
        "Show the brokers' data directories",
        list_log_dirs,
        "LogDirList",
        (_IDS,),
        (),
        (Example("klamm broker logdirs", "size, free and total of each"),),
        ("Metadata", "DescribeLogDirs"),
        _CLUSTER,
    ),
)
