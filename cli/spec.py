"""What a command is: its words, its options, its examples. Parsing, help, completion and docs/cli.md read this.

A declaration of our own and no Typer: importing Typer takes 60 to 100 ms, more than a whole ``klamm topic list`` may.
Modules that hold commands import nothing heavy; each command imports its operations when it runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option. Without a ``metavar`` it is a flag; ``bare`` is the value it has when given without one."""

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    repeat: bool = False
    default: str | None = None
    choices: tuple[str, ...] = ()
    bare: str | None = None

    @property
    def key(self) -> str:
        """The name by which a command asks for the value: the first long name, without dashes."""
        long = next((name for name in self.names if name.startswith("--")), self.names[0])
        return long.lstrip("-").replace("-", "_")

    @property
    def takes_value(self) -> bool:
        """Whether the next word belongs to this option."""
        return self.metavar is not None and self.bare is None


class Argument(NamedTuple):
    """One positional argument; ``completes`` says of what kind of name it is (topic, group, broker, context).

    Of ``choices``, if there are any, one is meant, in capitals or as a plural too.
    """

    name: str
    help: str
    required: bool = True
    repeat: bool = False
    completes: str = ""
    choices: tuple[str, ...] = ()


class Example(NamedTuple):
    """A line that works, and what it does."""

    line: str
    does: str


class Command(NamedTuple):
    """One command.

    ``level`` is its step on the ladder of dangerous things: 0 reads, 1 mild, 2 moderate, 3 severe. ``requests`` are
    the Kafka requests it sends, ``acls`` the rights it needs; ``local`` commands need no cluster.
    ``run`` takes a ``klamm.cli.run.Run``. ``formats`` are forms of output that only this command has: it makes the text
    itself.
    """

    path: str
    summary: str
    run: Callable[[Any], Awaitable[Any]]
    kind: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    examples: tuple[Example, ...] = ()
    requests: tuple[str, ...] = ()
    acls: tuple[str, ...] = ()
    level: int = 0
    local: bool = False
    details: str = ""
    formats: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Whether it changes something in a cluster."""
        return self.level > 0


OUTPUT_FORMATS = ("table", "json", "jsonl", "yaml", "csv", "name")

SHARED_OPTIONS: tuple[Option, ...] = (
    Option(("-c", "--context"), "context to use", "NAME"),
    Option(("-b", "--bootstrap"), "brokers to ask first, instead of the context's", "HOST:PORT,…"),
    Option(("-X",), "client property by its librdkafka or Java name", "KEY=VALUE", repeat=True),
    Option(("-o", "--output"), "table, json, jsonl, yaml, csv, name or jsonpath=EXPRESSION", "FORMAT"),
    Option(("-q", "--quiet"), "nothing on standard error but errors"),
    Option(("-v", "--verbose"), "say on standard error which requests go where"),
    Option(("--timeout",), "deadline of the whole command (500ms, 5s, 1m)", "TIME"),
    Option(("-w", "--watch"), "run again every 2s, or as often as said: -w5s, --watch=5s", "TIME", bare="2s"),
    Option(("--columns",), "columns to show, by name", "NAME,…"),
    Option(("--sort",), "column to sort by; -NAME for descending", "NAME"),
    Option(
        ("--filter",), "show items where COLUMN=GLOB, COLUMN!=GLOB, COLUMN<N or COLUMN>N", "EXPRESSION", repeat=True
    ),
    Option(("--replay",), "read a recording made by `klamm record` instead of a cluster", "FILE"),
    Option(
        ("--at",), "with --replay: 03:12, @2026-11-23T10:00, -10m before its end; the last sample if not said", "TIME"
    ),
    Option(("--no-color",), "no colour, as with NO_COLOR=1"),
    Option(("--no-input",), "never ask; refuse instead"),
    Option(("--explain",), "print the requests and rights this needs, and do nothing"),
    Option(("--debug",), "show tracebacks"),
    Option(("-h", "--help"), "show this help"),
    Option(("--help-json",), "this help as JSON"),
)

CHANGE_OPTIONS: tuple[Option, ...] = (
    Option(("--dry-run",), "show what would change; the broker validates where it can"),
    Option(("-y", "--yes"), "do not ask (moderate changes)"),
    Option(("--confirm",), "the name of what a severe change is about, instead of asking for it", "NAME"),
    Option(("--write",), "allow changes in a context that is read-only because its env is prod"),
)


def options_of(command: Command) -> tuple[Option, ...]:
    """Return every option that ``command`` takes."""
    return (*command.options, *(CHANGE_OPTIONS if command.changes else ()), *SHARED_OPTIONS)
