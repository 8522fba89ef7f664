"""From words to a command and its values. Options may stand before or after the noun and the verb."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from klamm.cli.spec import CHANGE_OPTIONS, SHARED_OPTIONS, Argument, Command, Option, options_of

_NUMBER_OR_TIME = re.compile(r"\d+(\.\d+)?(ms|s|m|h|d)?")


class UsageError(Exception):
    """A line that is no command: exit code 2. ``command`` is whose help would help."""

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command


class Values:
    """The values of one line, by option and argument name. A name that the command does not declare is our own bug."""

    def __init__(self, values: Mapping[str, str | bool | list[str] | None]) -> None:
        self._values = dict(values)

    def has(self, name: str) -> bool:
        """Return whether the command declares a name: for what several commands share that not all of them take."""
        return name in self._values

    def text(self, name: str) -> str | None:
        """Return an option's or argument's text, None if it was not given."""
        value = self._values[name]
        assert value is None or isinstance(value, str), f"{name}={value!r} is no text"
        return value

    def required(self, name: str) -> str:
        """Return the text of an argument that the parser has made sure of."""
        value = self.text(name)
        assert value is not None, f"{name} is missing"
        return value

    def texts(self, name: str) -> list[str]:
        """Return every text of a repeatable option or argument."""
        value = self._values[name]
        assert isinstance(value, list), f"{name}={value!r} is no list"
        return value

    def words(self) -> list[str]:
        """Return every text of the line: arguments, and values of options."""
        lists = [value if isinstance(value, list) else [value] for value in self._values.values()]
        return [each for texts in lists for each in texts if isinstance(each, str)]

    def flag(self, name: str) -> bool:
        """Return whether a flag was given."""
        value = self._values.get(name)
        return value is True

    def number(self, name: str) -> int | None:
        """Return an option's number.

        Raises:
            UsageError: The text is none.
        """
        text = self.text(name)
        if text is None:
            return None
        return number_of(f"--{name.replace('_', '-')}", text)


def number_of(option: str, text: str) -> int:
    """Return the number of an option's text.

    Raises:
        UsageError: It is none.
    """
    try:
        return int(text.replace("_", ""))
    except ValueError:
        msg = f"{option} takes a number, not {text!r}"
        raise UsageError(msg) from None


class Line(NamedTuple):
    """A parsed line."""

    command: Command
    values: Values


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return ``Did you mean …?`` with the near ones, or nothing."""
    import difflib

    names = list(known)
    # What goes on as the word does comes first: for --to that is --to-context, which looks less alike than --at.
    near = sorted(name for name in names if len(word) > 1 and name.startswith(word))
    near += [name for name in difflib.get_close_matches(word, names, n=3, cutoff=0.6) if name not in near]
    return f" Did you mean {' or '.join(repr(each) for each in near[:3])}?" if near else ""


def split_words(words: Sequence[str], options: Iterable[Option]) -> tuple[list[int], list[int]]:
    """Return the places of (positional words, option words) as far as ``options`` tell which options take a value."""
    by_name = {name: option for option in options for name in option.names}
    positional: list[int] = []
    optional: list[int] = []
    place = 0
    while place < len(words):
        word = words[place]
        if word == "--":
            positional.extend(range(place + 1, len(words)))
            break
        if len(word) > 1 and word.startswith("-") and not _is_number(word):
            optional.append(place)
            option = by_name.get(word)
            if option is not None and option.takes_value and place + 1 < len(words):
                place += 1
                optional.append(place)
        else:
            positional.append(place)
        place += 1
    return positional, optional


def find_command(noun: str, commands: Sequence[Command], words: Sequence[str]) -> tuple[Command | None, list[str]]:
    """Return the command that ``words`` (without the noun) name, and the words without its verb.

    Without a verb the noun's own command (``topics`` lists) is for the caller to choose: None.

    Raises:
        UsageError: There is no such verb.
    """
    known = [*SHARED_OPTIONS, *CHANGE_OPTIONS, *(option for command in commands for option in command.options)]
    positional, _ = split_words(words, known)
    by_path = {command.path: command for command in commands}
    if noun in by_path and len(by_path) == 1:
        return by_path[noun], list(words)
    for length in (2, 1):
        path = " ".join([noun, *(words[place] for place in positional[:length])])
        if len(positional) >= length and path in by_path:
            taken = set(positional[:length])
            return by_path[path], [word for place, word in enumerate(words) if place not in taken]
    if not positional:
        return None, list(words)
    if noun in by_path:
        return by_path[noun], list(words)
    verbs = [path.split(" ", 1)[1] for path in by_path]
    first = words[positional[0]]
    deeper = [verb for verb in verbs if verb.startswith(f"{first} ")]
    if deeper:
        second = f" {words[positional[1]]!r}" if len(positional) > 1 else ""
        given = f"no such command:{second}" if second else "one word is missing"
        msg = f"klamm {noun} {first}: {given}; there is {', '.join(repr(verb.split()[1]) for verb in deeper)}"
        raise UsageError(msg, noun)
    hint = suggestion(first, [verb.split()[0] for verb in verbs])
    msg = f"klamm {noun} has no {first!r}.{hint or ' There is: ' + ', '.join(verbs)}"
    raise UsageError(msg, noun)


def parse(command: Command, words: Sequence[str]) -> Line:
    """Parse the words of a line, without its noun and verb.

    Raises:
        UsageError: An option or argument is unknown, missing or wrong; says which are near.
    """
    options = options_of(command)
    by_name = {name: option for option in options for name in option.names}
    values: dict[str, str | bool | list[str] | None] = {
        option.key: [] if option.repeat else (False if option.metavar is None else option.default) for option in options
    }
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if word == "--":
            rest.extend(queue)
            break
        if word == "-" or not word.startswith("-") or _is_number(word):
            rest.append(word)
            continue
        _take_option(command, by_name, word, queue, values)
    _take_arguments(command, rest, values)
    return Line(command, Values(values))


def _take_option(
    command: Command,
    by_name: Mapping[str, Option],
    word: str,
    queue: list[str],
    values: dict[str, str | bool | list[str] | None],
) -> None:
    name, equals, attached = word.partition("=")
    if not word.startswith("--") and word[:2] in by_name and word not in by_name:
        name, attached = word[:2], word[2:].removeprefix("=")
        equals = "="
    option = by_name.get(name)
    if option is None:
        raise UsageError(_unknown(command, name, by_name), command.path)
    if option.metavar is None:
        if equals and not word.startswith("--"):  # -qy: several flags in one word
            queue.insert(0, f"-{attached}")
        elif equals:
            msg = f"{name} takes no value"
            raise UsageError(msg, command.path)
        values[option.key] = True
        return
    value = _value_of(command, option, name, attached if equals else None, queue)
    if option.choices and value not in option.choices:
        hint = suggestion(value, option.choices) or f" One of: {', '.join(option.choices)}"
        msg = f"{name} cannot be {value!r}.{hint}"
        raise UsageError(msg, command.path)
    if option in command.options:  # the shared ones have nothing to be checked by
        from klamm.cli.checks import BY_METAVAR

        if option.metavar in BY_METAVAR:
            BY_METAVAR[option.metavar](name, value)
    _keep(option, value, values)


def _keep(option: Option, value: str, values: dict[str, str | bool | list[str] | None]) -> None:
    present = values[option.key]
    if isinstance(present, list):
        present.append(value)
    elif isinstance(present, str) and present != option.default and str(option.metavar).endswith(",…"):
        values[option.key] = f"{present},{value}"  # --operation read --operation write
    else:
        values[option.key] = value


def _value_of(command: Command, option: Option, name: str, attached: str | None, queue: list[str]) -> str:
    if attached is not None:
        return attached
    if option.bare is not None:
        if queue and _NUMBER_OR_TIME.fullmatch(queue[0]):
            attached_form = f"{name}={queue[0]}" if name.startswith("--") else f"{name}{queue[0]}"
            msg = f"{name} {queue[0]}: write {attached_form}; if {queue[0]!r} is a name, put it before {name}"
            raise UsageError(msg, command.path)
        return option.bare
    if queue:
        return queue.pop(0)
    msg = f"{name} needs a value: {name} {option.metavar}"
    raise UsageError(msg, command.path)


def _unknown(command: Command, name: str, by_name: Mapping[str, Option]) -> str:
    if any(name in option.names for option in CHANGE_OPTIONS):
        return f"klamm {command.path} changes nothing, so it has no {name}"
    hint = suggestion(name, by_name) or f" See: klamm {command.path} --help"
    return f"klamm {command.path} has no option {name}.{hint}"


def _take_arguments(command: Command, rest: list[str], values: dict[str, str | bool | list[str] | None]) -> None:
    queue = list(rest)
    for argument in command.arguments:
        if argument.repeat:
            values[argument.name] = queue
            missing = argument.required and not queue
            queue = []
        else:
            values[argument.name] = _chosen(command, argument, queue.pop(0)) if queue else None
            missing = argument.required and values[argument.name] is None
        if missing and not (values.get("help") or values.get("help_json") or values.get("explain")):
            msg = f"klamm {command.path} needs {argument.name.upper()}: {argument.help}"
            raise UsageError(msg, command.path)
    if queue:
        taken = " ".join(shown(argument) for argument in command.arguments) or "no arguments"
        msg = f"klamm {command.path}: {queue[0]!r} is one word too many; it takes {taken}"
        raise UsageError(msg, command.path)


def _chosen(command: Command, argument: Argument, word: str) -> str:
    if not argument.choices or word in argument.choices:
        return word
    folded = word.lower()
    for each in (folded, folded.removesuffix("s")):
        if each in argument.choices:
            return each
    hint = suggestion(folded, argument.choices)
    name, known = argument.name.upper(), ", ".join(argument.choices)
    msg = f"klamm {command.path}: {name} cannot be {word!r}.{hint} There is: {known}"
    raise UsageError(msg, command.path)


def shown(argument: Argument) -> str:
    """Return an argument as usage lines have it: ``[NAME…]``."""
    name = argument.name.upper() + ("…" if argument.repeat else "")
    return name if argument.required else f"[{name}]"


def _is_number(word: str) -> bool:
    return word[1:2].isdigit()
