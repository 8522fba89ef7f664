"""Which names a line means. One that the cluster does not have is a mistake of the line (exit code 2).

A command that has the names at hand makes the error with ``unknown_name``. Where only a broker's answer says that there
is no such topic or group, ``explain`` asks for the names once the command is over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from klamm.cli.parser import suggestion
from klamm.client.errors import ClientError, ResponseError

if TYPE_CHECKING:
    from klamm.cli.output import Result
    from klamm.cli.run import Run


class _Kind(NamedTuple):
    number: int
    next_step: str


_KINDS = {
    "topic": _Kind(3, "klamm topic list"),
    "member": _Kind(25, "klamm group members"),
    "group": _Kind(69, "klamm group list"),
    "group or topic": _Kind(69, "klamm group list"),
    "user": _Kind(91, "klamm user list"),
    "transactional id": _Kind(105, "klamm txn list"),
}
"""Kafka's error codes: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_MEMBER_ID, GROUP_ID_NOT_FOUND, RESOURCE_NOT_FOUND,
TRANSACTIONAL_ID_NOT_FOUND. A broker's id is none of them: whose broker is down is not in the list either."""
_BY_CODE = {"UNKNOWN_TOPIC_OR_PARTITION": "topic", "GROUP_ID_NOT_FOUND": "group", "RESOURCE_NOT_FOUND": "user"}
_FEW = 5
"""So many names are named where none is near."""


def is_glob(name: str) -> bool:
    """Return whether a name may select several."""
    return any(sign in name for sign in "*?[")


def names_or_all(names: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return (names of ``known`` that ``names`` select, names that select none); globs select several, none all."""
    from fnmatch import fnmatchcase

    if not names:
        return list(known), []
    chosen: dict[str, None] = {}
    missing: list[str] = []
    for name in names:
        if is_glob(name):
            found = [each for each in known if fnmatchcase(each, name)]
        else:
            found = [name] if name in known else []
        if not found:
            missing.append(name)
        chosen.update(dict.fromkeys(found))
    return list(chosen), missing


def unknown_name(what: str, name: str, known: Iterable[str], next_step: str = "") -> ClientError:
    """Return the error of a name without a ``what``, with those of ``known`` that are near."""
    kind = _KINDS[what]
    return mistaken(ResponseError(kind.number, _text(what, name, known), next_step or kind.next_step, name=name))


def mistaken(error: ClientError) -> ClientError:
    """Return the error, marked as one of a name on the line that the cluster does not have."""
    error.names_nothing = True
    return error


def all_mistaken(run: Run, result: Result) -> bool:
    """Return whether all that is wrong is names that the cluster does not have, and none of the line is another."""
    if not result.errors or result.items or result.text or result.streamed:
        return False
    unknown = {error.name for error in result.errors if error.names_nothing}
    names = [name for each in run.command.arguments if each.repeat and each.completes
             for name in run.values.texts(each.name)]  # fmt: skip
    return all(error.names_nothing for error in result.errors) and unknown.issuperset(names)


async def explain(run: Run, errors: Sequence[ClientError]) -> None:
    """Tell which names are near, where a broker only said that there is no topic or group of a name on the line."""
    known: dict[str, list[str]] = {}
    for error in errors:
        if error.code == "SUBJECT_NOT_FOUND":  # of the registry: only lines name subjects
            mistaken(error)
        what, name = _BY_CODE.get(error.code), error.name
        if what is None or name is None or error.names_nothing or not _on_line(run, name):
            continue
        with contextlib.suppress(ClientError):  # The answer that is at hand says enough.
            if what not in known:
                known[what] = await _names(run, what)
            if name not in known[what]:  # Otherwise a broker that has not heard of it yet.
                error.message = _text(what, name, known[what])
                error.next_step = error.next_step or _KINDS[what].next_step
                mistaken(error)


def _text(what: str, name: str, known: Iterable[str]) -> str:
    """Say that there is none, and which are near; where none is and there are few, what there is."""
    names = [each for each in known if name.startswith("__") or not each.startswith("__")]
    hint = suggestion(name, names)
    if not hint and 0 < len(names) <= _FEW:
        hint = f" There is: {', '.join(sorted(names))}"
    return f"there is no {what} {name!r}.{hint}"


def _on_line(run: Run, name: str) -> bool:
    """Return whether a word of the line is the name, or a partition or record of it."""
    return any(name in {word, word.partition(":")[0], word.partition("@")[0]} for word in run.values.words())


async def _names(run: Run, what: str) -> list[str]:
    if what == "topic":
        return [topic.name for topic in (await run.cluster.metadata()).topics]
    if what == "user":
        from klamm.client.users import list_users

        return [user.name for user in (await list_users(run.cluster, []))[0]]
    from klamm.client.groups import list_groups

    return [group.group_id for group in (await list_groups(run.cluster))[0]]
