"""Changes of topics: create, clone, delete, trim, more partitions, one config."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from klamm.client import operations
from klamm.client.configs import Change as ConfigChange
from klamm.client.configs import alter_configs, describe_configs
from klamm.client.deleting import plan_deletion, plan_trim
from klamm.client.errors import SettingsError
from klamm.client.guard import ADDITIVE, MODERATE, Plan, config_level
from klamm.client.text import counted
from klamm.client.topics import (
    BROKER_DEFAULT,
    NewTopic,
    add_partitions,
    create_topics,
    require_topics,
    wait_until_usable,
)
from klamm.tui.dialogs.change import Change, Done, Field, Prepared, Values
from klamm.tui.session import Session


class CreateTopic(Change):
    """A new topic."""

    title = "Create a topic"
    fields = (
        Field("name", "Name"),
        Field("partitions", "Partitions", "", "empty: the broker's default"),
        Field("replication", "Replicas", "", "empty: the broker's default"),
        Field("configs", "Configs", "", "KEY=VALUE KEY=VALUE, for example retention.ms=86400000"),
    )

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Have the broker check the topic."""
        name = values["name"].strip()
        plan = Plan(f"create {name or '…'}", ADDITIVE, name)
        words = ["topic", "create", name]
        if not name:
            return Prepared(plan, words, problem="a topic needs a name")
        configs = _pairs(values["configs"])
        partitions, replicas = (
            number_of(values["partitions"], "Partitions"),
            number_of(values["replication"], "Replicas"),
        )
        words += [] if partitions is None else ["--partitions", str(partitions)]
        words += [] if replicas is None else ["--replication-factor", str(replicas)]
        for key, value in configs.items():
            words += ["--config", f"{key}={value}"]
        new = NewTopic(
            name,
            BROKER_DEFAULT if partitions is None else partitions,
            BROKER_DEFAULT if replicas is None else replicas,
            configs,
        )
        found, errors = await create_topics(session.cluster, [new], validate_only=True)
        for error in errors.values():
            return Prepared(plan, words, problem=error.message)
        lines = [
            f"{counted(each.partitions, 'partition')}, {counted(each.replication_factor, 'replica')} each"
            for each in found
        ]

        async def apply() -> Done:
            created, failed = await create_topics(session.cluster, [new], wait=False)
            names = [each.name for each in created]
            inverse = [operations.delete_topics(names)] if names else ()
            done = Done(f"created {name}", list(failed.values()), inverse, changed=bool(names))

            async def wait() -> Done:
                await wait_until_usable(session.cluster, created)
                return done

            return done._replace(then=wait)

        return Prepared(plan._replace(lines=lines), words, apply, "deletes the topic again")


class DeleteTopics(Change):
    """Topics with their records."""

    title = "Delete topics"

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Look at what hangs on the topics."""
        cluster = session.cluster
        deletion = await plan_deletion(cluster, *await require_topics(cluster, self.names))

        async def apply() -> Done:
            return Done.of(await deletion.apply(cluster))

        words = ["topic", "delete", *self.names, "--confirm", deletion.plan.name]
        return Prepared(deletion.plan, words, apply, "makes the topics again, with their configs and without records")


class TrimTopic(Change):
    """Records below a position."""

    title = "Delete records"
    past = "deleted records of"
    fields = (Field("before", "Before", "end", "end, an offset, +100, -100, -1h, @2026-11-23T10:00"),)

    def __init__(self, name: str) -> None:
        self.name = name

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Resolve the position in each partition."""
        cluster, name, position = session.cluster, self.name, values["before"].strip() or "end"
        metadata, topics = await require_topics(cluster, [name])
        trim = await plan_trim(cluster, metadata, topics[0], [p.partition for p in topics[0].partitions], position)

        async def apply() -> Done:
            _, made = await trim.apply(cluster)
            return Done.of(made)

        words = ["topic", "trim", name, "--before", position, "--confirm", name]
        unknown = next((error.message for error in trim.errors.values()), "") if not trim.resolved else ""
        problem = unknown or ("" if trim.span else "there is nothing below that position")
        return Prepared(trim.plan, words, apply, problem=problem)


class AddPartitions(Change):
    """More partitions."""

    title = "Add partitions"
    fields = (Field("count", "Partitions", "", "how many there shall be"),)

    def __init__(self, name: str) -> None:
        self.name = name

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Have the broker check the number."""
        cluster, name = session.cluster, self.name
        _, topics = await require_topics(cluster, [name])
        now, count = len(topics[0].partitions), number_of(values["count"], "Partitions")
        lines = [f"{now} partitions now", "records with a key go to other partitions from then on"]
        plan = Plan(
            f"grow {name} to {count or '…'} partitions", MODERATE, name, lines, "partitions cannot be taken away"
        )
        words = ["topic", "add-partitions", name, "--to", str(count or ""), "--yes"]
        if count is None or count <= now:
            return Prepared(plan, words, problem=f"it has {now}; more are needed")
        total: int = count
        _, errors = await add_partitions(cluster, {name: total}, validate_only=True)
        for error in errors.values():
            return Prepared(plan, words, problem=error.message)

        async def apply() -> Done:
            done, failed = await add_partitions(cluster, {name: total})
            return Done(f"{name} has {total} partitions", list(failed.values()), (), plan.cannot_undo, bool(done))

        return Prepared(plan, words, apply)


class EditConfig(Change):
    """One config of a topic, a broker or all brokers."""

    title = "Edit a config"
    past = "set a config of"

    def __init__(self, resource: tuple[str, str], key: str, value: str | None) -> None:
        self.resource = resource
        self.key = key
        self.fields = (
            Field("key", "Config", key),
            Field("value", "Value", value or "", "empty: back to the default"),
        )
        self.starts_at = "value" if key else ""

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Show before and after, and have the broker check it."""
        cluster, resource = session.cluster, self.resource
        key, wanted = values["key"].strip(), values["value"].strip()
        found, errors = await describe_configs(cluster, [resource])
        for error in errors.values():
            raise error
        entries = found[resource]
        before = next((each for each in entries if each.name == key), None)
        shown = f"{resource[0]} {resource[1] or 'default'}"
        change = ConfigChange(key, wanted or None)
        words = [
            "config",
            "set" if wanted else "unset",
            resource[0],
            resource[1] or "default",
            f"{key}={wanted}" if wanted else key,
            "--yes",
        ]
        level = config_level([resource[0]])
        plan = Plan(f"{'set' if wanted else 'unset'} {key} of {shown}", level, resource[1] or "default")
        if before is None:
            near = difflib.get_close_matches(key, [each.name for each in entries], 1)
            return Prepared(
                plan, words, problem=f"{shown} has no config {key!r}" + _meant(near) if key else "which config?"
            )
        after = wanted or f"{before.default} (default)"
        lines = [f"- {key}={_value(before.value)}  ({before.source})", f"+ {key}={after}"]
        plan = plan._replace(lines=lines)
        if wanted == (before.value or "") or (not wanted and not before.overridden):
            return Prepared(plan, words, problem="that is what it is now", idle=True)
        refused = await alter_configs(cluster, {resource: [change]}, validate_only=True)
        for error in refused.values():
            return Prepared(plan, words, problem=error.message)
        inverse = operations.configs_as_before(resource, entries, [change])

        async def apply() -> Done:
            failed = await alter_configs(cluster, {resource: [change]})
            return Done(plan.what, list(failed.values()), [inverse], changed=not failed)

        return Prepared(plan, words, apply, "sets it back to what it was")


def number_of(text: str, label: str) -> int | None:
    """Return the number of a field, None for an empty one.

    Raises:
        SettingsError: It is no number.
    """
    text = text.strip()
    if not text:
        return None
    if not text.isdigit():
        msg = f"{label}: {text!r} is no number"
        raise SettingsError(msg)
    return int(text)


def _pairs(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for word in text.split():
        key, equals, value = word.partition("=")
        if not equals:
            msg = f"Configs: {word!r} is no KEY=VALUE"
            raise SettingsError(msg)
        found[key] = value
    return found


def _meant(near: Sequence[str]) -> str:
    return f"; did you mean {near[0]}?" if near else ""


def _value(value: str | None) -> str:
    return "(secret)" if value is None else value
