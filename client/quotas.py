"""Client quotas (KIP-546): of users, client ids, IP addresses, and their defaults."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from klamm.client import operations
from klamm.client.cluster import Cluster
from klamm.client.errors import SettingsError
from klamm.client.guard import MODERATE, Made, Plan
from klamm.client.requests import check, shapes
from klamm.client.text import counted, size_text

DESCRIBE_CLIENT_QUOTAS: Final = 48
ALTER_CLIENT_QUOTAS: Final = 49
KEYS: Final = (
    "producer_byte_rate",
    "consumer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
    "connection_creation_rate",
)
_EXACT, _DEFAULT, _ANY = 0, 1, 2

Entity = tuple[tuple[str, str | None], ...]
"""(kind, name) parts; a name of None is the default of its kind."""


class Quota(NamedTuple):
    """The values of one entity."""

    entity: Entity
    values: dict[str, float]


class QuotaChange(NamedTuple):
    """What is about to change of one entity's quotas: ``values`` that differ from ``before``; None removes."""

    entity: Entity
    before: Mapping[str, float]
    values: Mapping[str, float | None]

    @property
    def plan(self) -> Plan:
        """What it would do."""
        name, lines = entity_text(self.entity), []
        for key, value in self.values.items():
            lines += [f"- {key}  {quota_text(key, self.before[key])}"] if key in self.before else []
            none = "none: a less specific quota holds, if there is one"
            lines.append(f"+ {key}  {none if value is None else quota_text(key, value)}")
        return Plan(f"change {counted(len(self.values), 'quota')} of {name}", MODERATE, name, lines)

    async def apply(self, cluster: Cluster) -> Made:
        """Make it.

        Raises:
            ResponseError: The broker refused.
        """
        await alter_quotas(cluster, self.entity, self.values)
        name = entity_text(self.entity)
        inverse = [operations.quotas_as_before(self.entity, self.before, self.values)]
        return Made(f"changed {counted(len(self.values), 'quota')} of {name}", [name], (), inverse)


async def plan_quotas(cluster: Cluster, entity: Entity, wanted: Mapping[str, float | None]) -> QuotaChange:
    """Return what setting these quotas of an entity would change, after the broker has checked it.

    Raises:
        ResponseError: The broker would refuse.
    """
    before = next((quota.values for quota in await list_quotas(cluster, entity, strict=True)), {})
    values = {key: value for key, value in wanted.items() if value != before.get(key)}
    if values:
        await alter_quotas(cluster, entity, values, validate_only=True)
    return QuotaChange(entity, before, values)


def quota_values(words: Iterable[str]) -> dict[str, float | None]:
    """Return the quotas that words say, ``KEY=VALUE`` or ``KEY=``; None removes.

    Raises:
        SettingsError: A word is none.
    """
    values: dict[str, float | None] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            msg = f"{key!r} is no quota.{meant} There is: {', '.join(KEYS)}"
            raise SettingsError(msg)
        if not equals:
            msg = f"{word!r} is no KEY=VALUE; KEY= removes"
            raise SettingsError(msg)
        try:
            values[key] = float(text) if text else None
        except ValueError:
            values[key] = math.nan
        if not math.isfinite(values[key] or 0.0):
            msg = f"{word!r}: {text!r} is no number"
            raise SettingsError(msg)
    return values


def entity_text(entity: Entity) -> str:
    """Return an entity as it is typed: ``user=alice,client-id=(default)``."""
    return ",".join(f"{kind}={'(default)' if name is None else name}" for kind, name in entity)


def quota_text(key: str, value: float) -> str:
    """Return a quota's value with its unit."""
    if key.endswith("_byte_rate"):
        return f"{size_text(value)}/s"
    return f"{value:g} %" if key == "request_percentage" else f"{value:g}/s"


async def list_quotas(
    cluster: Cluster, parts: Sequence[tuple[str, str | None]] = (), *, strict: bool = False
) -> list[Quota]:
    """Return the quotas of entities that have these parts, or all. ``strict``: and no others."""
    shape = shapes(DESCRIBE_CLIENT_QUOTAS)
    answer = await cluster.ask(
        DESCRIBE_CLIENT_QUOTAS,
        shape.DescribeClientQuotasRequest(
            components=tuple(
                shape.ComponentData(entity_type=kind, match_type=_DEFAULT if name is None else _EXACT, match=name)
                for kind, name in parts
            ),
            strict=strict,
        ),
    )
    check(answer.error_code, answer.error_message, needs="DESCRIBE_CONFIGS on the cluster")
    found = [
        Quota(
            tuple(
                sorted(
                    ((part.entity_type, part.entity_name) for part in entry.entity), key=lambda p: p[0], reverse=True
                )
            ),
            {value.key: float(value.value) for value in entry.values},
        )
        for entry in answer.entries or ()
    ]
    # The default of a kind has no name: it comes before those that have one.
    return sorted(found, key=lambda quota: [(kind, name is not None, name or "") for kind, name in quota.entity])


async def alter_quotas(
    cluster: Cluster, entity: Entity, values: Mapping[str, float | None], *, validate_only: bool = False
) -> None:
    """Set quotas of an entity, or with None remove them.

    Raises:
        ResponseError: The broker refused.
    """
    shape = shapes(ALTER_CLIENT_QUOTAS)
    answer = await cluster.ask(
        ALTER_CLIENT_QUOTAS,
        shape.AlterClientQuotasRequest(
            entries=(
                shape.EntryData(
                    entity=tuple(shape.EntityData(entity_type=kind, entity_name=name) for kind, name in entity),
                    ops=tuple(
                        shape.OpData(key=key, value=0.0 if value is None else float(value), remove=value is None)
                        for key, value in values.items()
                    ),
                ),
            ),
            validate_only=validate_only,
        ),
    )
    for each in answer.entries:
        check(each.error_code, each.error_message, entity_text(entity))


def resolve(quotas: Sequence[Quota], user: str | None, client_id: str | None) -> dict[str, tuple[float, Entity]]:
    """Return the value in effect for a user and client id, and the entity it comes from, by key.

    Kafka's order (KIP-55): the most specific wins, a name before a default, the user before the client id.
    """
    order: list[Entity] = [
        (("user", user), ("client-id", client_id)),
        (("user", user), ("client-id", None)),
        (("user", user),),
        (("user", None), ("client-id", client_id)),
        (("user", None), ("client-id", None)),
        (("user", None),),
        (("client-id", client_id),),
        (("client-id", None),),
    ]
    by_entity = {frozenset(quota.entity): quota.values for quota in quotas}
    found: dict[str, tuple[float, Entity]] = {}
    for entity in order:
        for key, value in by_entity.get(frozenset(entity), {}).items():
            found.setdefault(key, (value, entity))
    return found
