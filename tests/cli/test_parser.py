"""Lines: where options may stand, and what a mistyped word gets."""

import shlex

import pytest

from klamm.cli.main import NOUNS, load_commands
from klamm.cli.parser import UsageError, find_command, parse
from klamm.cli.run import parse_seconds
from tests.cli.conftest import Klamm

COMMANDS = load_commands()
TOPIC = [command for command in COMMANDS if command.path.startswith("topic ")]


@pytest.mark.parametrize(
    "line",
    [
        "list -o json orders",
        "-o json list orders",
        "-ojson list orders",
        "--output=json list orders",
        "list orders --output json",
    ],
)
def test_options_stand_before_or_after_the_verb(line: str) -> None:
    command, rest = find_command("topic", TOPIC, line.split())
    assert command is not None
    values = parse(command, rest).values
    assert command.path == "topic list"
    assert values.text("output") == "json"
    assert values.texts("names") == ["orders"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("topc", "list"), "Did you mean 'topic'"),
        (("-b", "localhost:1"), "-b of what? For example: klamm topics -b"),
        (("--bogus",), "klamm has no option --bogus"),
        (("completion", "powershell"), "SHELL cannot be 'powershell'. There is: bash, zsh, fish"),
        (("completion",), "needs SHELL"),
        (("topic", "lst"), "Did you mean 'list'"),
        (("topic", "list", "--interal"), "'--internal'"),
        (("topic", "list", "-o", "jsn"), "'json'"),
        (("topic", "cp", "a", "b", "--to", "x"), "Did you mean '--to-bootstrap' or '--to-context' or '--at'"),
        (("topic", "create"), "needs NAMES"),
        (("topic", "list", "--yes"), "changes nothing, so it has no --yes"),
        (("broker", "config", "1", "2"), "one word too many"),
        (("group", "offsets", "exprt"), "'export'"),
        (("topic", "create", "x", "-p", "many"), "takes a number"),
        (("topics", "--timeout", "soon"), "takes a time"),
        (("topics", "-X", "novalue"), "is no KEY=VALUE"),
        (("topics", "-b", "host:99999"), "not between 1 and 65535"),
        (("topics", "--sort"), "needs a value"),
    ],
)
def test_a_mistyped_line_says_what_may_be_meant_and_ends_with_2(
    klamm: Klamm, words: tuple[str, ...], said: str
) -> None:
    ran = klamm(*words)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


def test_a_usage_error_with_json_output_is_json_too(klamm: Klamm) -> None:
    ran = klamm("topic", "lst", "-o", "json")
    assert ran.code == 2
    assert ran.codes == ["USAGE"]


def test_every_example_is_a_line_that_parses() -> None:
    for command in COMMANDS:
        for example in command.examples:
            words = shlex.split(
                example.line.split(" > ")[0].split(" < ")[0].removeprefix('eval "$(').removesuffix(')"')
            )
            words = words[words.index("klamm") + 1 :]
            noun = next((name for name, each in NOUNS.items() if words[0] in {name, *each.aliases}), words[0])
            mine = [each for each in COMMANDS if each.path.split()[0] == noun]
            found, rest = find_command(noun, mine, words[1:])
            assert found is None or parse(found, rest).command in mine, example.line


def test_every_command_has_examples_a_kind_and_a_summary() -> None:
    for command in COMMANDS:
        assert command.examples, command.path
        assert command.kind, command.path
        assert command.summary, command.path
        assert command.local or command.level == 0 or command.acls, command.path


def test_every_noun_that_declares_commands_is_in_the_overview(klamm: Klamm) -> None:
    ran = klamm("--help")
    assert ran.code == 0
    for noun in {command.path.split()[0] for command in COMMANDS}:
        assert f"\n  {noun} " in ran.out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.path)
def test_help_and_explain_of_every_command_connect_to_nothing(klamm: Klamm, command: object) -> None:
    path = command.path.split()  # type: ignore[attr-defined] # a Command; parametrize knows only object
    helped = klamm(*path, "--help", "-b", "localhost:1")
    assert helped.code == 0
    assert "Examples:" in helped.out
    assert klamm(*path, "--explain", "-b", "localhost:1").code == 0
    assert klamm(*path, "--help-json", "-b", "localhost:1").code == 0


def test_a_list_that_is_given_twice_is_one_list() -> None:
    command, rest = find_command(
        "topic", TOPIC, ["list", "--columns", "name", "--columns=size", "--sort", "a", "--sort", "b"]
    )
    assert command is not None
    values = parse(command, rest).values
    assert values.text("columns") == "name,size"
    assert values.text("sort") == "b"


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("5s", 5), ("1m", 60), ("2", 2), ("1.5s", 1.5)])
def test_times_have_units(text: str, seconds: float) -> None:
    assert parse_seconds(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "5 years", "nan"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_seconds(text, "--timeout")
