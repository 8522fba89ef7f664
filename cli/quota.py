"""``klamm quota``: describe, alter, resolve."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.guard import guard, record_made
from klamm.cli.output import Column, Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import SettingsError

if TYPE_CHECKING:
    from klamm.client.quotas import Entity

_ENTITY = (
    Option(("--user",), "of this user; default for the default", "NAME"),
    Option(("--client-id",), "of this client id; default for the default", "NAME"),
    Option(("--ip",), "of this address; default for the default", "ADDRESS"),
)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.15g}"


COLUMNS = (Column("ENTITY", "name"), Column("KEY", "key"), Column("VALUE", "value", right=True, show=_number))
CHANGE_COLUMNS = (
    Column("ENTITY", "name"),
    Column("KEY", "key"),
    Column("BEFORE", "before", right=True, show=_number),
    Column("AFTER", "after", right=True, show=_number),
    Column("CHANGED", "changed"),
)


async def describe(run: Run) -> Result:
    """Show quotas."""
    from klamm.client.quotas import entity_text, list_quotas

    quotas = await list_quotas(run.cluster, _entity(run))
    items = [
        {"name": entity_text(quota.entity), "entity": dict(quota.entity), "key": key, "value": value}
        for quota in quotas
        for key, value in sorted(quota.values.items())
    ]
    return Result(items, COLUMNS, empty="no quotas")


async def alter(run: Run) -> Result:
    """Set or remove quotas of one entity."""
    from klamm.client.quotas import entity_text, plan_quotas, quota_values

    entity = _entity(run)
    if not entity:
        msg = "klamm quota alter needs --user, --client-id or --ip"
        raise UsageError(msg)
    try:
        values = quota_values(run.values.texts("pairs"))
    except SettingsError as error:
        raise UsageError(error.message) from None
    change = await plan_quotas(run.cluster, entity, values)
    go = bool(change.values) and await guard(run, change.plan)
    if go:
        await record_made(run, await change.apply(run.cluster))
    elif not change.values:
        run.note("nothing to change: that is what they are now")
    name = entity_text(entity)
    items = [
        {
            "name": name,
            "key": key,
            "before": change.before.get(key),
            "after": value,
            "changed": go and key in change.values,
        }
        for key, value in values.items()
    ]
    return Result(items, CHANGE_COLUMNS)


async def resolve(run: Run) -> Result:
    """Show which quotas are in effect for a user and client id, and where each comes from."""
    from klamm.client import quotas

    user, client_id = run.values.text("user"), run.values.text("client_id")
    found = quotas.resolve(await quotas.list_quotas(run.cluster), user, client_id)
    items = [
        {"name": key, "value": value, "from": quotas.entity_text(entity)}
        for key, (value, entity) in sorted(found.items())
    ]
    columns = (Column("KEY", "name"), Column("VALUE", "value", right=True, show=_number), Column("FROM", "from"))
    return Result(items, columns, empty="no quota applies")


def _entity(run: Run) -> Entity:
    parts: list[tuple[str, str | None]] = []
    for option, kind in (("user", "user"), ("client_id", "client-id"), ("ip", "ip")):
        name = run.values.text(option)
        if name is not None:
            parts.append((kind, None if name == "default" else name))
    return tuple(parts)


COMMANDS = (
    Command(
        "quota describe",
        "Show quotas",
        describe,
        "QuotaList",
        (),
        _ENTITY,
        (
            Example("klamm quotas", "every quota"),
            Example("klamm quota describe --user alice", "of alice, with any client id"),
        ),
        ("DescribeClientQuotas",),
        ("DESCRIBE_CONFIGS on the cluster",),
    ),
    Command(
        "quota alter",
        "Set or remove quotas",
        alter,
        "QuotaChange",
        (Argument("pairs", "KEY=VALUE; KEY= removes", repeat=True),),
        _ENTITY,
        (
            Example("klamm quota alter --user alice producer_byte_rate=1048576 --yes", "1 MiB a second"),
            Example("klamm quota alter --client-id default request_percentage= --yes", "remove the default"),
        ),
        ("DescribeClientQuotas", "AlterClientQuotas"),
        ("ALTER_CONFIGS on the cluster",),
        level=2,
    ),
    Command(
        "quota resolve",
        "Show which quotas are in effect for a user and client id",
        resolve,
        "QuotaResolution",
        (),
        _ENTITY[:2],
        (Example("klamm quota resolve --user alice --client-id app", "and where each comes from"),),
        ("DescribeClientQuotas",),
        ("DESCRIBE_CONFIGS on the cluster",),
    ),
)
