"""Configs of a topic, a broker or all brokers as one text that a person edits, and the change that comes of it."""

from __future__ import annotations

from collections.abc import Sequence

from klamm.client import operations
from klamm.client.configs import Change as ConfigChange
from klamm.client.configs import ConfigEntry, Resource, alter_configs, describe_configs
from klamm.client.errors import SettingsError
from klamm.client.guard import Plan, config_level
from klamm.client.text import counted
from klamm.tui.dialogs.change import Change, Done, Prepared, Values
from klamm.tui.session import Session

_HEAD = (
    "# Configs of {}. Edit, save, leave: the differences are shown before they are sent. Unchanged, nothing happens.",
    "# A line without # sets a config; to bring back the default, remove the line or put a # before it.",
)


class EditConfigs(Change):
    """Several configs of one resource at once: all are changed, or none."""

    title = "Edit configs"

    def __init__(self, resource: Resource, changes: Sequence[ConfigChange]) -> None:
        self.resource = resource
        self.changes = list(changes)

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Show before and after, and have the broker check it."""
        cluster, resource, changes = session.cluster, self.resource, self.changes
        found, errors = await describe_configs(cluster, [resource])
        for error in errors.values():
            raise error
        entries = {entry.name: entry for entry in found[resource]}
        lines: list[str] = []
        for change in changes:
            before = entries.get(change.key)
            if before is not None:
                lines.append(f"- {change.key}={_shown(before)}  ({before.source})")
            default = "" if before is None or before.default is None else before.default
            lines.append(f"+ {change.key}={f'{default} (default)' if change.value is None else change.value}")
        shown = f"{resource[0]} {resource[1] or 'default'}"
        name = resource[1] or "default"
        what = f"change {counted(len(changes), 'config')} of {shown}"
        plan = Plan(what, config_level([resource[0]]), name, lines)
        commands = config_commands(resource, changes)
        names = [plan.name] * len(commands)
        unknown = [change.key for change in changes if change.key not in entries]
        if unknown:
            problem = f"{shown} has no config {unknown[0]!r}"
            return Prepared(plan, commands[0], problem=problem, also=commands[1:], names=names)
        refused = await alter_configs(cluster, {resource: changes}, validate_only=True)
        for error in refused.values():
            return Prepared(plan, commands[0], problem=error.message, also=commands[1:], names=names)
        inverse = operations.configs_as_before(resource, found[resource], changes)

        async def apply() -> Done:
            failed = await alter_configs(cluster, {resource: changes})
            return Done(plan.what.replace("change", "changed"), list(failed.values()), [inverse], changed=not failed)

        undo = "sets them back to what they were"
        return Prepared(plan, commands[0], apply, undo, also=commands[1:], names=names)


def config_commands(resource: Resource, changes: Sequence[ConfigChange]) -> list[list[str]]:
    """Return the commands that make these changes: one that sets, one that brings defaults back."""
    sets = [f"{change.key}={change.value}" for change in changes if change.value is not None]
    unsets = [change.key for change in changes if change.value is None]
    what = (resource[0], resource[1] or "default")
    commands = [["config", "set", *what, *sets, "--yes"]] if sets else []
    return [*commands, *([["config", "unset", *what, *unsets, "--yes"]] if unsets else [])]


def write_configs(resource: Resource, entries: Sequence[ConfigEntry]) -> str:
    """Return configs as a text: what is set on the resource itself first, the rest as comments."""
    lines = [line.format(f"{resource[0]} {resource[1]}".strip()) for line in _HEAD]
    own = [entry for entry in entries if _is_own(resource, entry)]
    rest = [entry for entry in entries if entry not in own and not entry.sensitive and not entry.read_only]
    lines += ["", *(f"{entry.name}={_escaped(entry.value or '')}" for entry in own), ""]
    return "\n".join([*lines, *(f"# {entry.name}={_escaped(entry.value or '')}" for entry in rest), ""])


def read_configs(text: str, resource: Resource, entries: Sequence[ConfigEntry]) -> list[ConfigChange]:
    """Return the changes that an edited text means.

    Raises:
        SettingsError: A line is no KEY=VALUE.
    """
    wanted: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            msg = f"line {number}: {line.strip()!r} is no KEY=VALUE"
            raise SettingsError(msg)
        wanted[key.strip()] = _unescaped(value.strip())
    own = {entry.name: entry.value or "" for entry in entries if _is_own(resource, entry)}
    sets = [ConfigChange(key, value) for key, value in wanted.items() if own.get(key) != value]
    return [*sets, *(ConfigChange(key, None) for key in own if key not in wanted)]


def _is_own(resource: Resource, entry: ConfigEntry) -> bool:
    """Whether a config is set on the resource itself: a broker's may be set for all brokers instead."""
    level = ("broker" if resource[1] else "cluster") if resource[0] == "broker" else entry.source
    return entry.overridden and not entry.sensitive and entry.source == level


def _shown(entry: ConfigEntry) -> str:
    return "(secret)" if entry.sensitive else entry.value or ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _unescaped(value: str) -> str:
    return "\\".join(part.replace("\\n", "\n") for part in value.split("\\\\"))
