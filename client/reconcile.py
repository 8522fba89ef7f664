"""From what is declared and what is there to the steps between, and through them.

Additive: what a file does not name stays, unless pruning is asked for. Steps that cannot be done (fewer partitions,
another replication factor) are conflicts, and with a conflict nothing is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from klamm.client import operations
from klamm.client.acls import Acl, create_acls, delete_acls, list_acls
from klamm.client.cluster import Cluster
from klamm.client.configs import Change, alter_configs, describe_configs
from klamm.client.declared import Declared, DeclaredTopic
from klamm.client.errors import ClientError, ResponseError
from klamm.client.quotas import Entity, alter_quotas, entity_text, list_quotas
from klamm.client.reconcile_schemas import (
    apply_schemas,
    current_schemas,
    inverse_of_schemas,
    schema_steps,
    validate_schemas,
)
from klamm.client.steps import Step
from klamm.client.text import counted
from klamm.client.topics import BROKER_DEFAULT, NewTopic, add_partitions, create_topics, delete_topics

_BROKERS = ("broker", "")


async def current(cluster: Cluster, like: Declared | None = None) -> Declared:
    """Return what is there; with ``like`` only the sections it has. Internal topics are left out.

    ACLs and quotas that the cluster does not serve, and schemas where no registry is known, are None when nobody asked
    for them.
    """
    topics = await _topics(cluster) if like is None or like.topics is not None else None
    brokers = None
    if like is None or like.brokers is not None:
        found, _ = await describe_configs(cluster, [_BROKERS])
        brokers = {e.name: e.value for e in found.get(_BROKERS, ()) if e.overridden and e.value is not None}
    acls = (
        await _optional(like is not None and like.acls is not None, _acls(cluster))
        if like is None or like.acls is not None
        else None
    )
    quotas = (
        await _optional(like is not None and like.quotas is not None, _quotas(cluster))
        if like is None or like.quotas is not None
        else None
    )
    schemas = None
    if like is None or like.schemas is not None:
        schemas = await current_schemas(cluster, None if like is None else like.schemas)
    return Declared(topics, acls, quotas, brokers, schemas)


def steps_between(now: Declared, wanted: Declared, *, prune: bool) -> list[Step]:
    """Return the steps from one to the other, in the order in which they can be done."""
    steps: list[Step] = []
    if wanted.topics is not None:
        steps += _topic_steps(now.topics or {}, wanted.topics, prune=prune)
    if wanted.brokers is not None:
        steps += _config_steps("broker", "", now.brokers or {}, wanted.brokers, prune=prune)
    if wanted.acls is not None:
        there, meant = set(now.acls or ()), set(wanted.acls)
        steps += [Step("+", "acl", acl.text(), "", acl) for acl in sorted(meant - there)]
        if prune:
            steps += [Step("-", "acl", acl.text(), "", acl) for acl in sorted(there - meant)]
    if wanted.quotas is not None:
        steps += _quota_steps(now.quotas or {}, wanted.quotas, prune=prune)
    if wanted.schemas is not None:
        steps += schema_steps(now.schemas or {}, wanted.schemas, prune=prune)
    return steps


async def validate(cluster: Cluster, steps: Sequence[Step]) -> list[ClientError]:
    """Have the broker check what it can check without doing it."""
    errors: list[ClientError] = [
        ClientError("CONFLICT", f"{step.kind} {step.name}: {step.detail}", name=step.name)
        for step in steps
        if step.sign == "!"
    ]
    new = [step.argument for step in steps if step.kind == "topic" and step.sign == "+"]
    if new:
        _, failed = await create_topics(cluster, new, validate_only=True)
        errors += failed.values()
    grown = {step.name: step.argument for step in steps if step.kind == "partitions" and step.sign == "~"}
    if grown:
        _, failed = await add_partitions(cluster, grown, validate_only=True)
        errors += failed.values()
    changes = _changes(steps)
    if changes:
        errors += (await alter_configs(cluster, changes, validate_only=True)).values()
    return errors + await validate_schemas(cluster, steps)


async def apply_steps(
    cluster: Cluster, steps: Sequence[Step], on_progress: Callable[[list[Step], int], None]
) -> tuple[list[Step], list[ClientError]]:
    """Carry out steps that were validated; return those that were done, and errors.

    ``on_progress`` is told after each request which steps are done and how many failed.
    """
    done: list[Step] = []
    errors: list[ClientError] = []

    def progressed(more: Iterable[Step], failures: Iterable[ClientError]) -> None:
        done.extend(more)
        errors.extend(failures)
        on_progress(done, len(errors))

    new = [step for step in steps if step.kind == "topic" and step.sign == "+"]
    if new:
        _, failed = await create_topics(cluster, [step.argument for step in new])
        progressed([step for step in new if step.name not in failed], failed.values())
    grown = [step for step in steps if step.kind == "partitions" and step.sign == "~"]
    if grown:
        _, failed = await add_partitions(cluster, {step.name: step.argument for step in grown})
        progressed([step for step in grown if step.name not in failed], failed.values())
    changes = _changes(steps)
    if changes:
        refused = await alter_configs(cluster, changes)
        configs = [step for step in steps if step.kind == "config" and step.argument[0] not in refused]
        progressed(configs, refused.values())
    for step in steps:
        if step.kind in {"acl", "quota"} or (step.kind == "topic" and step.sign == "-"):
            failures = await _apply_one(cluster, step)
            progressed([] if failures else [step], failures)
    async for step, error in apply_schemas(cluster, steps):
        progressed([step] if error is None else [], [] if error is None else [error])
    return done, errors


def inverse_of(cluster: Cluster, done: Sequence[Step], now: Declared) -> tuple[list[dict[str, Any]], str]:
    """Return the operations that take steps back, and what they cannot bring back."""
    inverse, lost = inverse_of_schemas(cluster, done, now.schemas or {})
    cannot: list[str] = [lost] if lost else []
    created = [step.name for step in done if step.kind == "topic" and step.sign == "+"]
    if created:
        inverse.append(operations.delete_topics(created))
    for step in done:
        if step.kind == "topic" and step.sign == "-":
            topic = (now.topics or {})[step.name]
            inverse.append(operations.create_topics([topic._asdict()]))
            cannot.append(f"the records of {step.name}")
        elif step.kind == "partitions":
            cannot.append(f"the new partitions of {step.name}")
        elif step.kind == "config":
            (kind, name), change = step.argument
            before = (now.brokers or {}) if kind == "broker" else (now.topics or {})[name].configs
            inverse.append(operations.alter_configs((kind, name), {change.key: before.get(change.key)}))
        elif step.kind == "acl":
            make = operations.delete_acls if step.sign == "+" else operations.create_acls
            inverse.append(make([step.argument]))
        elif step.kind == "quota":
            entity, values = step.argument
            inverse.append(operations.quotas_as_before(entity, (now.quotas or {}).get(entity, {}), values))
    return inverse, ", ".join(cannot)


async def _topics(cluster: Cluster) -> dict[str, DeclaredTopic]:
    metadata = await cluster.metadata()
    topics = [t for t in metadata.topics if not t.error_code and not t.internal and not t.name.startswith("__")]
    configs, _ = await describe_configs(cluster, [("topic", topic.name) for topic in topics]) if topics else ({}, {})
    return {
        topic.name: DeclaredTopic(
            topic.name,
            len(topic.partitions),
            len(topic.partitions[0].replicas) if topic.partitions else 1,
            {e.name: e.value for e in configs.get(("topic", topic.name), ()) if e.overridden and e.value is not None},
        )
        for topic in sorted(topics, key=lambda each: each.name)
    }


async def _acls(cluster: Cluster) -> list[Acl]:
    return await list_acls(cluster)


async def _quotas(cluster: Cluster) -> dict[Entity, dict[str, float]]:
    return {quota.entity: quota.values for quota in await list_quotas(cluster)}


async def _optional(asked: bool, found: Any) -> Any:  # noqa: ANN401, FBT001 (an awaitable and its result)
    try:
        return await found
    except ResponseError as error:
        if asked or error.code not in {"UNSUPPORTED_VERSION", "SECURITY_DISABLED"}:
            raise
        return None


def _topic_steps(now: dict[str, DeclaredTopic], wanted: dict[str, DeclaredTopic], *, prune: bool) -> list[Step]:
    steps: list[Step] = []
    for name, topic in wanted.items():
        there = now.get(name)
        if there is None:
            new = NewTopic(
                name, topic.partitions or BROKER_DEFAULT, topic.replication_factor or BROKER_DEFAULT, topic.configs
            )
            told = f"{_of(topic.partitions, 'partition')}, {_of(topic.replication_factor, 'replica')}"
            steps.append(Step("+", "topic", name, told, new))
            continue
        before, after = there.partitions or 0, topic.partitions or there.partitions or 0
        if after > before:
            steps.append(Step("~", "partitions", name, f"{before} → {after}", after))
        elif after < before:
            steps.append(Step("!", "partitions", name, f"{before} → {after}: partitions cannot be removed", None))
        if topic.replication_factor is not None and topic.replication_factor != there.replication_factor:
            told = f"{there.replication_factor} → {topic.replication_factor}: use klamm partition reassign"
            steps.append(Step("!", "replication_factor", name, told, None))
        steps += _config_steps("topic", name, there.configs, topic.configs, prune=prune)
    if prune:
        steps += [Step("-", "topic", name, "with its records", None) for name in now if name not in wanted]
    return steps


def _config_steps(kind: str, name: str, now: dict[str, str], wanted: dict[str, str], *, prune: bool) -> list[Step]:
    resource = (kind, name)
    told = name or "all brokers"
    steps = [
        Step("~", "config", told, f"{key} {now.get(key, '(default)')} → {value}", (resource, Change(key, value)))
        for key, value in wanted.items()
        if now.get(key) != value
    ]
    if prune:
        steps += [
            Step("-", "config", told, f"{key} {value} → (default)", (resource, Change(key, None)))
            for key, value in now.items()
            if key not in wanted
        ]
    return steps


def _quota_steps(
    now: dict[Entity, dict[str, float]], wanted: dict[Entity, dict[str, float]], *, prune: bool
) -> list[Step]:
    steps: list[Step] = []
    for entity, values in wanted.items():
        there = now.get(entity, {})
        changed: dict[str, float | None] = {key: value for key, value in values.items() if there.get(key) != value}
        if prune:
            changed |= dict.fromkeys(key for key in there if key not in values)
        if changed:
            told = ", ".join(f"{key} {there.get(key)} → {value}" for key, value in changed.items())
            steps.append(Step("~", "quota", entity_text(entity), told, (entity, changed)))
    if prune:
        for entity, there in now.items():
            if entity not in wanted:
                steps.append(Step("-", "quota", entity_text(entity), "", (entity, dict.fromkeys(there))))
    return steps


def _changes(steps: Sequence[Step]) -> dict[tuple[str, str], list[Change]]:
    changes: dict[tuple[str, str], list[Change]] = {}
    for step in steps:
        if step.kind == "config":
            changes.setdefault(step.argument[0], []).append(step.argument[1])
    return changes


async def _apply_one(cluster: Cluster, step: Step) -> list[ClientError]:
    try:
        if step.kind == "quota":
            await alter_quotas(cluster, *step.argument)
            return []
        if step.kind == "acl" and step.sign == "+":
            return await create_acls(cluster, [step.argument])
        if step.kind == "acl":
            _, errors = await delete_acls(cluster, [step.argument])
            return errors
        _, failed = await delete_topics(cluster, [step.name])
        return list(failed.values())
    except ResponseError as error:
        return [error]


def _of(count: int | None, noun: str) -> str:
    return f"default {noun}s" if count is None else counted(count, noun)
