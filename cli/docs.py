"""Writes docs/cli.md and docs/envelope.schema.json from the commands: ``python -m klamm.cli.docs docs``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from klamm.cli.help import option_left
from klamm.cli.main import NOUNS, load_commands
from klamm.cli.parser import shown
from klamm.cli.spec import CHANGE_OPTIONS, SHARED_OPTIONS, Command, Option
from klamm.cli.transcripts import A_BAD_NIGHT

_LEVELS = ("reads", "mild", "moderate: `--yes`", "severe: `--confirm NAME`")
_INTRO = """# The command line

Written by `python -m klamm.cli.docs docs` from the commands themselves. `klamm NOUN VERB --help` says the same.

`klamm NOUN VERB [NAME…] [OPTIONS]`; options stand anywhere. A plural lists: `klamm topics`.

Standard output holds data only. `-o json` prints `{"kind", "version", "context", "items", "errors"}`, also on failure;
its schema is [envelope.schema.json](envelope.schema.json). Things with a name carry `name`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an item failed: partial failure is failure |
| 2 | the line, a context or a file has a mistake; where that can be seen, nothing is connected to |
| 3 | an assertion is false (`diff`, `cluster health`, `acl explain`, …) |
| 4 | refused: read-only, prod without `--write`, protected, another cluster, nobody confirmed |
| 5 | unreachable or not authenticated |
| 124 | deadline after connecting (`--timeout`) |
| 130 | interrupted: a search, copy or import says how far it came and which line goes on |
| 141 | the reader of a pipe went away |
| 143 | terminated (SIGTERM), saying the same; a second SIGTERM ends it at once |

A name on the line that the cluster does not have (a topic, group, partition, user, subject, config) is a mistake of the
line, so 2, and the names that are near are told. Where others of the line are there it is a partial failure, so 1. A
broker id that is not there is 1, too: a broker that is down is not in the cluster's list either.

`-b HOST:PORT` means that cluster and no context, so that the credentials of one cluster never go to another; with
`-c` as well it replaces the context's brokers.

Properties (`-X`, `KLAMM_X_SASL_PASSWORD`, `[contexts.NAME.kafka]`) have librdkafka's or Java's names. A name that no
client has is refused. `klamm context show --origin` says who reads each: klamm's own connections, librdkafka (which
sends records, and is the member of `consume --group`), or only Java's clients, which is to say nobody here.

A value that an option may also go without is attached: `-w5s`, `--watch=5s`, `--sample=500`.
"""


def reference() -> str:
    """Return docs/cli.md."""
    parts = [
        _INTRO,
        A_BAD_NIGHT,
        "\n## Shared options\n",
        _options(SHARED_OPTIONS),
        "\n## Options of what changes something\n",
    ]
    parts += [_options(CHANGE_OPTIONS)]
    commands = load_commands()
    for noun, entry in NOUNS.items():
        mine = [command for command in commands if command.path.split()[0] == noun]
        if not mine:
            continue
        alias = f" (`klamm {entry.aliases[0]}` lists)" if entry.aliases else ""
        parts.append(f"\n## klamm {noun}{alias}\n\n{entry.summary}.\n")
        parts += [_command(command) for command in mine]
    return "".join(parts)


def envelope_schema() -> dict[str, Any]:
    """Return the JSON Schema of what ``-o json`` prints."""
    text = {"type": ["string", "null"]}
    error = {
        "type": "object",
        "required": ["code", "message", "retriable"],
        "properties": {
            "code": {"type": "string", "description": "Kafka's error name, or one of klamm's"},
            "message": {"type": "string"},
            "next_step": {"type": "string"},
            "name": text,
            "retriable": {"type": "boolean"},
        },
    }
    note = {
        "type": "object",
        "required": ["code", "text"],
        "properties": {"code": {"type": "string"}, "text": {"type": "string"}},
    }
    kinds = sorted({command.kind for command in load_commands()} | {"Error"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What klamm prints with -o json. Fields are only ever added within a version.",
        "type": "object",
        "required": ["kind", "version", "context", "items", "errors"],
        "additionalProperties": False,
        "properties": {
            "kind": {"enum": kinds},
            "version": {"const": 1},
            "context": text,
            "items": {"type": "array", "items": {"type": "object"}},
            "errors": {"type": "array", "items": error},
            "notes": {"type": "array", "items": note, "description": "only where there are any"},
            "coverage": {
                "description": "Of a search: what was looked at, by partition.",
                "type": "array",
                "items": {"type": "object"},
            },
        },
    }


def schema_text() -> str:
    """Return docs/envelope.schema.json."""
    return json.dumps(envelope_schema(), indent=2) + "\n"


def _command(command: Command) -> str:
    usage = " ".join(["klamm", command.path, *(shown(argument) for argument in command.arguments)])
    lines = [f"\n### {command.path}\n", f"{command.summary}. `{usage}` · {_LEVELS[command.level]} · `{command.kind}`\n"]
    if command.details:
        lines.append(f"{command.details}\n")
    lines += [f"- `{shown(each)}`: {each.help}" for each in command.arguments]
    if command.options:
        lines.append(_options(command.options).rstrip())
    lines += ["\n```sh"]
    lines += [f"{example.line}    # {example.does}" for example in command.examples]
    lines += ["```"]
    if command.requests:
        lines.append(f"\nSends {', '.join(command.requests)}. Needs: {'; '.join(command.acls) or 'nothing'}.")
    return "\n".join(lines) + "\n"


def _options(options: tuple[Option, ...]) -> str:
    return "".join(f"- `{option_left(option)}`: {option.help}\n" for option in options)


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs")
    (folder / "cli.md").write_text(reference())
    (folder / "envelope.schema.json").write_text(schema_text())
