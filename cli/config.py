"""``klamm config``: configs of topics, brokers, groups: get, set, unset, diff."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from klamm.cli.config_keys import doubt_keys, explain_keys, known_keys
from klamm.cli.guard import Plan, guard, record
from klamm.cli.output import Column, Item, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client import operations
from klamm.client.errors import ClientError
from klamm.client.guard import config_level
from klamm.client.text import counted

if TYPE_CHECKING:
    from klamm.client.configs import Change, ConfigEntry, Resource

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
    if resource == ("broker", ""):  # which says what was set, and nothing of what was not
        for key in [each for each in missing if each in known_keys("broker")]:
            run.note(f"{key} is not set for all brokers. What a broker goes by: klamm config get broker ID {key}")
            missing.remove(key)
    if run.values.flag("overrides"):
        entries = [entry for entry in entries if entry.overridden]
    columns = COLUMNS if not run.values.flag("documentation") else (*COLUMNS, Column("DOCUMENTATION", "documentation"))
    failures = [*errors.values(), *await _no_keys(run, resource, missing)]
    return Result(
        [entry._asdict() for entry in entries],
        columns,
        failures,
        empty="" if keys else "no configs differ from the default",
    )


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
    from klamm.client.configs import alter_configs, describe_configs

    if not resources:
        return Result((), CHANGE_COLUMNS)
    before, errors = await describe_configs(run.cluster, resources)
    failures = [*errors.values(), *(error for each in before for error in _unset_in_vain(each, before[each], changes))]
    wanted = {each: list(changes) for each in before if not _unset_in_vain(each, before[each], changes)}
    if not wanted:
        return Result((), CHANGE_COLUMNS, failures)
    # Checked first, so that nobody confirms what the broker would refuse.
    refused = await alter_configs(run.cluster, wanted, validate_only=True)
    failures += [_explained(resource, before[resource], changes, error) for resource, error in refused.items()]
    wanted = {resource: each for resource, each in wanted.items() if resource not in refused}
    if not wanted:
        return Result((), CHANGE_COLUMNS, failures)
    items = [item for resource in wanted for item in _change_items(resource, before[resource], changes)]
    lines = [f"{item['resource']}: {item['key']} {item['before']} → {_after(item)}" for item in items]
    for kind in {kind for kind, _ in wanted}:
        doubt_keys(run, kind, [change.key for change in changes if change.value is not None])
    level = config_level(kind for kind, _ in wanted)
    plan = Plan(f"change {counted(len(lines), 'config')}", level, next(iter(wanted))[1] or "default", lines)
    if await guard(run, plan):
        late = await alter_configs(run.cluster, wanted)
        failures += late.values()
        inverse = [operations.configs_as_before(each, before[each], changes) for each in wanted if each not in late]
        not_done = {_resource_text(each) for each in late}
        items = [item | {"changed": item["resource"] not in not_done} for item in items]
        if inverse:
            await record(run, "; ".join(lines), inverse)
    return Result([{k: item[k] for k in item if k != "how"} for item in items], CHANGE_COLUMNS, failures)


def _change_items(resource: Resource, entries: Sequence[ConfigEntry], changes: Sequence[Change]) -> list[Item]:
    now = {entry.name: entry.value for entry in entries}
    return [
        {
            "resource": _resource_text(resource),
            "name": resource[1],
            "key": change.key,
            "before": now.get(change.key),
            "after": change.value,
            "changed": False,
            "how": change.how,
        }
        for change in changes
    ]


def _resource_text(resource: Resource) -> str:
    return f"{resource[0]} {resource[1] or 'default'}"


def _after(item: Item) -> str:
    sign = {"append": "+", "subtract": "-"}.get(item["how"], "")
    return "(default)" if item["after"] is None else f"{sign}{item['after']}"


def _unset_in_vain(resource: Resource, entries: Sequence[ConfigEntry], changes: Sequence[Change]) -> list[ClientError]:
    """Return an error for each config to unset that there is not: brokers take such a change without a word."""
    own = {entry.name for entry in entries}
    keys = [change.key for change in changes if change.value is None and change.key not in own]
    return [_no_key(resource, key, entries, resource[1]) for key in keys if key not in known_keys(resource[0])]


def _explained(
    resource: Resource, entries: Sequence[ConfigEntry], changes: Sequence[Change], error: ClientError
) -> ClientError:
    explain_keys(error, resource[0], [change.key for change in changes], [entry.name for entry in entries])
    error.next_step = error.next_step or f"klamm config get {resource[0]} {resource[1]} --documentation"
    return error


def _no_key(resource: Resource, key: str, entries: Sequence[ConfigEntry], name: str) -> ClientError:
    error = ClientError("INVALID_CONFIG", f"{_resource_text(resource)} has no config {key!r}", name=name)
    return explain_keys(error, resource[0], [key], [entry.name for entry in entries])


async def _no_keys(run: Run, resource: Resource, keys: Sequence[str]) -> list[ClientError]:
    from klamm.client.configs import describe_configs

    found, _ = await describe_configs(run.cluster, [resource]) if keys else ({}, {})
    return [_no_key(resource, key, found.get(resource, []), key) for key in keys]


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
