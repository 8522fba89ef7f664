"""``klamm config``: configs of topics, brokers, groups: get, set, unset, diff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from klamm.cli.guard import Plan, guard, record
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.configs import Change, Resource

_KINDS = ("topic", "broker", "group", "broker-logger", "client-metrics")
_KIND = Argument("kind", "topic, broker, group, broker-logger or client-metrics", choices=_KINDS)
_NAME = Argument("name", "its name; a broker's id, or default for all brokers", completes="topic")
COLUMNS = (
    Column("NAME", "name"),
    Column("VALUE", "value"),
    Column("SOURCE", "source"),
    Column("DEFAULT", "default"),
)
CHANGE_COLUMNS = (
    Column("RESOURCE", "resource"),
    Column("KEY", "key"),
    Column("BEFORE", "before"),
    Column("AFTER", "after"),
    Column("CHANGED", "changed"),
)


async def get_configs(run: Run) -> Result:
    """Show configs in effect, with where each comes from."""
    from klamm.client.configs import describe_configs

    resource = _resource(run)
    keys = run.values.texts("keys")
    found, errors = await describe_configs(
        run.cluster, [resource], keys or None, documentation=run.values.flag("documentation")
    )
    entries = found.get(resource, [])
    missing = [key for key in keys if key not in {entry.name for entry in entries}] if not errors else []
    if run.values.flag("overrides"):
        entries = [entry for entry in entries if entry.overridden]
    columns = COLUMNS if not run.values.flag("documentation") else (*COLUMNS, Column("DOCUMENTATION", "documentation"))
    failures = [*errors.values(), *[await _no_key(run, resource, key) for key in missing]]
    return Result([entry._asdict() for entry in entries], columns, failures, empty="no configs differ from the default")


async def set_configs(run: Run) -> Result:
    """Set configs of one resource."""
    from klamm.client.configs import Change

    changes: list[Change] = []
    for pair in run.values.texts("pairs"):
        key, equals, value = pair.partition("=")
        if not equals or not key:
            msg = f"{pair!r} is no KEY=VALUE; KEY+=VALUE and KEY-=VALUE edit a list"
            raise UsageError(msg)
        how = {"+": "append", "-": "subtract"}.get(key[-1], "set")
        changes.append(Change(key if how == "set" else key[:-1], value, how))
    return await change_configs(run, [_resource(run)], changes)


async def unset_configs(run: Run) -> Result:
    """Give configs of one resource their defaults back."""
    from klamm.client.configs import Change

    return await change_configs(run, [_resource(run)], [Change(key, None) for key in run.values.texts("keys")])


async def diff_configs(run: Run) -> Result:
    """Compare the configs of two resources, the second maybe in another context."""
    from klamm.client.cluster import Cluster
    from klamm.client.configs import describe_configs
    from klamm.client.contexts import Layers, resolve

    kind = run.values.required("kind")
    first, second = run.values.required("name"), run.values.text("other")
    other_context = run.values.text("with")
    if second is None and other_context is None:
        msg = "klamm config diff needs a second NAME, or --with CONTEXT"
        raise UsageError(msg)
    left = (kind, _name(kind, first))
    right = (kind, _name(kind, second or first))
    found, errors = await describe_configs(run.cluster, [left])
    if other_context is None:
        others, more = await describe_configs(run.cluster, [right])
    else:
        async with Cluster(resolve(Layers(context=other_context)).settings) as cluster:
            others, more = await describe_configs(cluster, [right])
    failures = [*errors.values(), *more.values()]
    if failures:
        return Result((), (), failures)
    ours = {entry.name: entry.value for entry in found[left]}
    theirs = {entry.name: entry.value for entry in others[right]}
    items = [
        {"name": key, "left": ours.get(key), "right": theirs.get(key)}
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    columns = (
        Column("NAME", "name"),
        Column(first.upper(), "left"),
        Column((second or other_context or "").upper(), "right"),
    )
    return Result(items, columns, empty="no difference", exit_code=3 if items else 0)


async def change_configs(run: Run, resources: Sequence[Resource], changes: Sequence[Change]) -> Result:
    """Change configs of resources: plan, question, change, journal. Used by every command that changes configs."""
    from klamm.client.configs import alter_configs, describe_configs, inverse_operation

    if not resources:
        return Result((), CHANGE_COLUMNS)
    before, errors = await describe_configs(run.cluster, resources)
    failures: list[ClientError] = list(errors.values())
    known = [resource for resource in resources if resource in before]
    lines: list[str] = []
    items: list[Item] = []
    for resource in known:
        now = {entry.name: entry.value for entry in before[resource]}
        for change in changes:
            sign = {"append": "+", "subtract": "-"}.get(change.how, "")
            after = "(default)" if change.value is None else sign + change.value
            lines.append(f"{resource[0]} {resource[1] or 'default'}: {change.key} {now.get(change.key)} → {after}")
            items.append(
                {
                    "resource": f"{resource[0]} {resource[1] or 'default'}",
                    "name": resource[1],
                    "key": change.key,
                    "before": now.get(change.key),
                    "after": change.value,
                    "changed": False,
                }
            )
    if not known:
        return Result((), CHANGE_COLUMNS, failures)
    wanted = {resource: list(changes) for resource in known}
    # Checked first, so that nobody confirms what the broker would refuse.
    refused = await alter_configs(run.cluster, wanted, validate_only=True)
    failures += [await _explained(run, resource, changes, error) for resource, error in refused.items()]
    wanted = {resource: each for resource, each in wanted.items() if resource not in refused}
    items = [item for item in items if item["name"] in {name for _, name in wanted}]
    if not wanted:
        return Result((), CHANGE_COLUMNS, failures)
    level = 2 if any(kind != "topic" for kind, _ in wanted) else 1
    if await guard(run, Plan(f"change {counted(len(lines), 'config')}", level, known[0][1] or "default", lines)):
        late = await alter_configs(run.cluster, wanted)
        failures += late.values()
        inverse = [inverse_operation(each, before[each], changes) for each in wanted if each not in late]
        for item in items:
            item["changed"] = True
        if inverse:
            await record(run, "; ".join(lines), inverse)
    return Result(items, CHANGE_COLUMNS, failures)


async def _explained(run: Run, resource: Resource, changes: Sequence[Change], error: ClientError) -> ClientError:
    from klamm.client.configs import describe_configs

    found, _ = await describe_configs(run.cluster, [resource])
    known = [entry.name for entry in found.get(resource, [])]
    wrong = [change.key for change in changes if change.key not in known]
    if wrong and error.code == "INVALID_CONFIG":
        error.message += f".{suggestion(wrong[0], known)}"
    error.next_step = error.next_step or f"klamm config get {resource[0]} {resource[1]} --documentation"
    return error


async def _no_key(run: Run, resource: Resource, key: str) -> ClientError:
    from klamm.client.configs import describe_configs

    found, _ = await describe_configs(run.cluster, [resource])
    hint = suggestion(key, [entry.name for entry in found.get(resource, [])])
    return ClientError("INVALID_CONFIG", f"{resource[0]} {resource[1]} has no config {key!r}.{hint}", name=key)


def _name(kind: str, name: str) -> str:
    if kind == "broker" and name == "default":
        return ""
    if kind in {"broker", "broker-logger"} and not name.isdecimal():
        msg = f"a broker's name is its id, a number, or default for all brokers, not {name!r}"
        raise UsageError(msg)
    return name


def _resource(run: Run) -> Resource:
    kind = run.values.required("kind")
    return kind, _name(kind, run.values.required("name"))


_ACLS = ("DESCRIBE_CONFIGS on the resource",)
COMMANDS = (
    Command(
        "config get",
        "Show the configs of a resource and where each comes from",
        get_configs,
        "ConfigList",
        (_KIND, _NAME, Argument("keys", "only these", required=False, repeat=True)),
        (
            Option(("--overrides",), "only what differs from the default"),
            Option(("--documentation",), "with the broker's documentation"),
        ),
        (
            Example("klamm config get topic orders --overrides", "what was set on a topic"),
            Example("klamm config get broker 1 log.retention.hours", "one config of one broker"),
            Example("klamm config get broker default", "what was set for all brokers"),
        ),
        ("DescribeConfigs",),
        _ACLS,
    ),
    Command(
        "config set",
        "Set configs of a resource",
        set_configs,
        "ConfigChange",
        (_KIND, _NAME, Argument("pairs", "KEY=VALUE; KEY+=VALUE and KEY-=VALUE edit a list", repeat=True)),
        (),
        (
            Example("klamm config set topic orders retention.ms=86400000 --yes", "keep a day"),
            Example("klamm config set broker default log.retention.ms=86400000 --dry-run", "have the broker check it"),
        ),
        ("DescribeConfigs", "IncrementalAlterConfigs"),
        (*_ACLS, "ALTER_CONFIGS on the resource"),
        level=1,
        details="The broker validates before anybody is asked. Brokers and groups are a step more severe.",
    ),
    Command(
        "config unset",
        "Give configs their defaults back",
        unset_configs,
        "ConfigChange",
        (_KIND, _NAME, Argument("keys", "which", repeat=True)),
        (),
        (Example("klamm config unset topic orders retention.ms --yes", "the default again"),),
        ("DescribeConfigs", "IncrementalAlterConfigs"),
        (*_ACLS, "ALTER_CONFIGS on the resource"),
        level=1,
    ),
    Command(
        "config diff",
        "Compare the configs of two resources (exit code 3 if they differ)",
        diff_configs,
        "ConfigDiff",
        (_KIND, _NAME, Argument("other", "the second", required=False)),
        (Option(("--with",), "the same name in another context", "CONTEXT"),),
        (
            Example("klamm config diff topic orders orders-v2", "two topics"),
            Example("klamm config diff broker 1 2", "two brokers"),
            Example("klamm config diff topic orders --with staging", "one topic in two clusters"),
        ),
        ("DescribeConfigs",),
        _ACLS,
    ),
)
