"""The ``klamm`` command: finds the noun, loads its module, hands the words over.

Only this table and the noun that was asked for are loaded. A module has either ``COMMANDS`` (see ``spec.py``) or
``app``, a Typer application that takes the remaining words.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from klamm.cli.spec import Command


class Noun(NamedTuple):
    """A first word: where its commands are, and what ``klamm --help`` says of it."""

    module: str
    summary: str
    section: str
    aliases: tuple[str, ...] = ()


NOUNS: dict[str, Noun] = {
    "serve": Noun("klamm.cli.serve", "Run a klamm broker", "Broker"),
    "segment": Noun("klamm.cli.segment", "Look into a broker's segment files", "Broker", ("segments",)),
    "topic": Noun(
        "klamm.cli.topic",
        "Topics: list describe create delete alter add-partitions trim cp clone stats producers",
        "Cluster",
        ("topics",),
    ),
    "message": Noun(
        "klamm.cli.message", "Messages: consume produce find get resend latest export import", "Messages", ("messages",)
    ),
    "consume": Noun("klamm.cli.message", "Print records as they come (klamm message consume)", "Messages"),
    "produce": Noun("klamm.cli.message", "Send records (klamm message produce)", "Messages"),
    "group": Noun(
        "klamm.cli.group", "Groups: list describe members seek offsets delete remove-member", "Cluster", ("groups",)
    ),
    "lag": Noun("klamm.cli.lag", "Lag of groups in offsets and time: show watch check history", "Cluster"),
    "record": Noun(
        "klamm.cli.record", "Record a cluster's state for --replay: metadata, offsets, groups, configs", "Cluster"
    ),
    "partition": Noun("klamm.cli.partition", "Partitions: list elect reassign", "Cluster", ("partitions",)),
    "broker": Noun("klamm.cli.broker", "Brokers: list describe config logdirs", "Cluster", ("brokers",)),
    "actor": Noun("klamm.cli.actor", "Actors of a klamm broker: list top describe", "Cluster", ("actors",)),
    "client": Noun(
        "klamm.cli.client", "Who is connected to a klamm broker: list describe top", "Cluster", ("clients",)
    ),
    "cluster": Noun("klamm.cli.cluster", "The cluster: info health quorum features api-versions", "Cluster"),
    "config": Noun("klamm.cli.config", "Configs of any resource: get set unset diff", "Cluster", ("configs",)),
    "acl": Noun("klamm.cli.acl", "ACLs: list create delete who-can explain", "Security", ("acls",)),
    "user": Noun("klamm.cli.user", "SCRAM users: list create alter delete", "Security", ("users",)),
    "quota": Noun("klamm.cli.quota", "Client quotas: describe alter resolve", "Security", ("quotas",)),
    "txn": Noun("klamm.cli.txn", "Transactions: list describe find-hanging abort", "Cluster", ("txns",)),
    "trace": Noun("klamm.cli.trace", "Follow one message through topics, groups and applications", "Cluster"),
    "dlq": Noun("klamm.cli.redrive", "Dead-letter topics: redrive", "Messages"),
    "schema": Noun(
        "klamm.cli.schema",
        "Schemas in a registry: list get register check diff cp delete mode compat",
        "Cluster",
        ("schemas",),
    ),
    "dump": Noun(
        "klamm.cli.declarative",
        "Write the cluster's topics, configs, ACLs, quotas and schemas as a file",
        "Declarative",
    ),
    "diff": Noun("klamm.cli.declarative", "Compare a file, or another context, with the cluster", "Declarative"),
    "plan": Noun("klamm.cli.declarative", "Show what applying a file would change", "Declarative"),
    "apply": Noun(
        "klamm.cli.declarative", "Make the cluster as a file says; deletes nothing without --prune", "Declarative"
    ),
    "ui": Noun("klamm.cli.ui", "The terminal interface", "You"),
    "web": Noun("klamm.cli.web", "The terminal interface in a browser, read-only unless --write", "You"),
    "demo": Noun("klamm.cli.demo", "A live cluster to look at, in ten seconds", "You"),
    "context": Noun("klamm.cli.context", "Contexts: list use show add edit test import", "You", ("contexts",)),
    "doctor": Noun("klamm.cli.doctor", "Find out why a cluster does not answer", "You"),
    "undo": Noun("klamm.cli.undo", "Take back a change made with klamm", "You"),
    "completion": Noun("klamm.cli.completion", "Completion for bash, zsh and fish: klamm completion bash", "You"),
}
_ALIASES = {alias: name for name, noun in NOUNS.items() for alias in noun.aliases}
_JSON_FORMS = ("-o json", "-ojson", "-o=json", "--output json", "--output=json")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command line and exit with its code."""
    if None in {sys.stdin, sys.stdout, sys.stderr}:
        from klamm.cli.usage import open_streams

        open_streams()
    try:
        code = _code(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()  # here it can still be said that there is no room
    except OSError as error:
        from klamm.cli.usage import end_unwritten, unwritable

        if not unwritable(error):
            raise
        code = end_unwritten(error)
    sys.exit(code)


def _code(words: list[str]) -> int:
    """Run one command line; return its exit code."""
    place = _noun_place(words)
    if place is None:
        return _without_noun(words)
    word = words[place]
    noun = _ALIASES.get(word, word)
    if noun not in NOUNS:
        return _usage(f"klamm has no {word!r}.{_near(word)} See: klamm --help", words)
    rest = words[:place] + words[place + 1 :]
    try:
        module = import_module(NOUNS[noun].module)
    except ModuleNotFoundError as error:
        if error.name != NOUNS[noun].module:
            raise
        return _usage(f"this build of klamm has no {noun!r}", words)
    quick = getattr(module, "quick", None)
    code = None if quick is None else quick(rest)
    if code is not None:
        return int(code)
    app = getattr(module, "app", None)
    if app is not None:
        app(args=rest, prog_name=f"klamm {noun}")  # which exits
        return 0
    commands = [command for command in module.COMMANDS if command.path.split(" ", 1)[0] == noun]
    return _run(noun, commands, rest, plural=word in _ALIASES)


def _run(noun: str, commands: Sequence[Command], words: list[str], *, plural: bool) -> int:
    from klamm.cli import parser

    try:
        command, rest = _found(noun, commands, words, plural=plural)
        # `klamm topics` lists, `klamm lag` shows
        bare = commands[0] if plural else next((each for each in commands if each.path == noun), None)
        if command is None and (bare is None or _asks_for_help(words)):
            from klamm.cli.help import command_help, noun_help
            from klamm.cli.usage import EXIT_USAGE

            asked = _asks_for_help(words)
            text = noun_help(noun, NOUNS[noun].summary, commands)
            if bare is not None and not plural:
                text += "\n" + command_help(bare)
            (sys.stdout if asked else sys.stderr).write(text)
            return 0 if asked else EXIT_USAGE
        line = parser.parse(command or bare or commands[0], rest)
    except parser.UsageError as error:
        return _usage(str(error), words)
    from klamm.cli.run import run_line

    return run_line(line)


def _found(
    noun: str, commands: Sequence[Command], words: list[str], *, plural: bool
) -> tuple[Command | None, list[str]]:
    """Return the command of a line; what follows a plural and is no verb are names: ``klamm topics 'ord*'``."""
    from klamm.cli import parser

    try:
        return parser.find_command(noun, commands, words)
    except parser.UsageError:
        if plural and commands[0].arguments:
            return commands[0], words
        raise


def _noun_place(words: Sequence[str]) -> int | None:
    """Return the place of the first word that is neither an option nor its value."""
    if not words or not words[0].startswith("-"):
        return 0 if words else None
    from klamm.cli.parser import split_words
    from klamm.cli.spec import CHANGE_OPTIONS, SHARED_OPTIONS

    positional, _ = split_words(words, (*SHARED_OPTIONS, *CHANGE_OPTIONS))
    return positional[0] if positional else None


def _without_noun(words: Sequence[str]) -> int:
    if "--version" in words:
        from klamm.model.version import VERSION

        sys.stdout.write(f"klamm {VERSION}\n")
        return 0
    if "--help-json" in words:
        sys.stdout.write(_help_json())
        return 0
    if not words or _asks_for_help(words):
        sys.stdout.write(overview())
        return 0
    from klamm.cli.spec import CHANGE_OPTIONS, SHARED_OPTIONS

    if any(words[0].startswith(name) for option in (*SHARED_OPTIONS, *CHANGE_OPTIONS) for name in option.names):
        return _usage(f"{words[0]} of what? For example: klamm topics {words[0]} … See: klamm --help", words)
    return _usage(f"klamm has no option {words[0]}. See: klamm --help", words)


def overview() -> str:
    """Return what ``klamm --help`` prints."""
    lines = ["klamm: a Kafka-compatible broker, and the terminal to run any Kafka cluster from", ""]
    lines += ["Usage: klamm NOUN VERB [NAME…] [OPTIONS]     options stand anywhere"]
    width = max(len(name) for name in NOUNS) + 2
    for section in dict.fromkeys(noun.section for noun in NOUNS.values()):
        lines += ["", f"{section}:"]
        lines += [f"  {name:<{width}} {noun.summary}" for name, noun in NOUNS.items() if noun.section == section]
    lines += ["", "Start:"]
    lines += ["  klamm serve                       a broker on localhost:9092"]
    lines += ["  klamm topics -b localhost:9092    list topics of any Kafka cluster"]
    lines += ["  klamm context add prod -b b1:9093 remember a cluster"]
    lines += ["", "`klamm NOUN --help` and `klamm NOUN VERB --help` have options and examples."]
    return "\n".join(lines) + "\n"


def load_commands() -> list[Command]:
    """Return every declared command of every noun: for docs, completion and tests."""
    found: list[Command] = []
    for name in dict.fromkeys(noun.module for noun in NOUNS.values()):
        try:
            module = import_module(name)
        except ModuleNotFoundError:
            continue
        found.extend(getattr(module, "COMMANDS", ()))
    return found


def _help_json() -> str:
    import json

    from klamm.cli.help import command_json

    return json.dumps({"kind": "Help", "version": 1, "items": [command_json(each) for each in load_commands()]}) + "\n"


def _asks_for_help(words: Sequence[str]) -> bool:
    return "--help" in words or "-h" in words


def _near(word: str) -> str:
    from klamm.cli.parser import suggestion

    return suggestion(word, [*NOUNS, *_ALIASES])


def _usage(message: str, words: Sequence[str]) -> int:
    """Say what is wrong with the line; with ``-o json`` also as an envelope. Return the exit code."""
    from klamm.cli.usage import report

    joined = " ".join(words)
    return report(message, in_json=any(form in joined for form in _JSON_FORMS))


if __name__ == "__main__":
    main()
