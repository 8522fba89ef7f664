"""Values held against what their option's metavar says, when the line is parsed: a mistake never costs a connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from klamm.cli.parser import UsageError, number_of, suggestion

_SINGLE = ("--to", "--before")
_FROM_ZERO = ("--exact", "--max")
"""Options that take one position for all partitions, and no range."""


def known_words(option: str, texts: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the words of lists like ``Stable,Empty`` as ``known`` spells them.

    Raises:
        UsageError: One is not known; says which are near.
    """
    spelled = {word.lower(): word for word in known}
    words = [part.strip() for text in texts for part in text.split(",")]
    for word in words:
        if word.lower() not in spelled:
            hint = suggestion(word.lower(), spelled) or f" There is: {', '.join(known)}"
            msg = f"{option} cannot be {word!r}.{hint}"
            raise UsageError(msg)
    return [spelled[word.lower()] for word in words]


def numbers_of(option: str, text: str) -> list[int]:
    """Return the numbers of a list like ``0,2``.

    Raises:
        UsageError: It is none.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        msg = f"{option} takes numbers like 0,2, not {text!r}"
        raise UsageError(msg) from None


def pair_of(option: str, text: str) -> tuple[str, str]:
    """Return key and value of ``KEY=VALUE``.

    Raises:
        UsageError: It is no pair.
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        msg = f"{option} {text!r} is no KEY=VALUE"
        raise UsageError(msg)
    return key, value


def _count(option: str, text: str) -> None:
    least = 0 if option in _FROM_ZERO else 1
    if number_of(option, text) < least:
        msg = f"{option} takes a number from {least} on, not {text}"
        raise UsageError(msg)


def _position(option: str, text: str) -> None:
    from klamm.client.errors import SettingsError
    from klamm.client.positions import check_position, checked

    try:
        (checked if option in _SINGLE else check_position)(text)
    except SettingsError as error:
        msg = f"{option}: {error.message}; there is {error.next_step}"
        raise UsageError(msg) from None


def _condition(option: str, text: str) -> None:
    from klamm.client.messages.conditions import FilterError, parse

    try:
        parse(text)
    except FilterError as error:
        msg = f"{option}: {error.message}"
        raise UsageError(msg) from None


BY_METAVAR: dict[str, Callable[[str, str], object]] = {
    "N": number_of,
    "COUNT": _count,
    "N,…": numbers_of,
    "ID,…": numbers_of,
    "KEY=VALUE": pair_of,
    "POSITION": _position,
    "FILTER": _condition,
}
"""What is checked, by metavar: each takes the option's name and a text, and raises :class:`UsageError`."""
