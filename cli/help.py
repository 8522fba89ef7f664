"""Help texts: of klamm, of a noun, of a command; as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from klamm.cli.parser import shown
from klamm.cli.spec import CHANGE_OPTIONS, SHARED_OPTIONS, Command, Option

_WIDTH_LEFT = 30
_LEVELS = (
    "reads only",
    "mild change",
    "moderate change: asks, or --yes",
    "severe change: asks for the name, or --confirm NAME",
)


def noun_help(noun: str, summary: str, commands: Sequence[Command]) -> str:
    """Return what ``klamm NOUN --help`` prints."""
    lines = [f"klamm {noun}: {summary}", "", "Commands:"]
    width = max(len(command.path) for command in commands) + 2
    lines += [f"  {command.path:<{width}} {command.summary}" for command in commands]
    lines += ["", f"`klamm {noun} VERB --help` has the options and examples of each."]
    return "\n".join(lines) + "\n"


def command_help(command: Command) -> str:
    """Return what ``klamm NOUN VERB --help`` prints."""
    usage = " ".join(["klamm", command.path, *(shown(argument) for argument in command.arguments), "[OPTIONS]"])
    lines = [command.summary, "", f"Usage: {usage}"]
    if command.details:
        lines += ["", command.details]
    if command.arguments:
        lines += ["", "Arguments:"]
        lines += [_pair(shown(argument), argument.help) for argument in command.arguments]
    if command.options:
        lines += ["", "Options:", *_options(command.options)]
    if command.changes:
        lines += ["", f"Safety: {_LEVELS[command.level]}.", *_options(CHANGE_OPTIONS)]
    lines += ["", "Shared options:", *_options(SHARED_OPTIONS), "", "Examples:"]
    for example in command.examples:
        lines += [f"  # {example.does}", f"  {example.line}"]
    return "\n".join(lines) + "\n"


def explain(command: Command) -> str:
    """Return the requests that ``command`` sends and the rights it needs."""
    requests = "\n".join(f"  {request}" for request in ("ApiVersions", *command.requests))
    acls = "\n".join(f"  {acl}" for acl in command.acls) or "  none"
    level = _LEVELS[command.level]
    return f"klamm {command.path}: {level}\nRequests:\n{requests}\nRights (with an authorizer):\n{acls}\n"


def command_json(command: Command) -> dict[str, object]:
    """Return a command's declaration as plain data."""
    return {
        "name": command.path,
        "summary": command.summary,
        "kind": command.kind,
        "level": command.level,
        "requests": list(command.requests),
        "acls": list(command.acls),
        "arguments": [
            {"name": each.name, "help": each.help, "required": each.required, "repeat": each.repeat}
            for each in command.arguments
        ],
        "options": [
            {"names": list(each.names), "help": each.help, "metavar": each.metavar, "repeat": each.repeat}
            for each in (*command.options, *(CHANGE_OPTIONS if command.changes else ()), *SHARED_OPTIONS)
        ],
        "examples": [{"line": each.line, "does": each.does} for each in command.examples],
    }


def _options(options: Iterable[Option]) -> list[str]:
    return [_pair(option_left(option), option.help) for option in options]


def option_left(option: Option) -> str:
    """Return an option's names and value as help shows them: ``-o, --output FORMAT``."""
    names = ", ".join(option.names)
    if option.metavar is None:
        return names
    return f"{names}[={option.metavar}]" if option.bare else f"{names} {option.metavar}"


def _pair(left: str, right: str) -> str:
    if len(left) > _WIDTH_LEFT - 2:
        return f"  {left}\n  {'':<{_WIDTH_LEFT}}{right}"
    return f"  {left:<{_WIDTH_LEFT}}{right}"
