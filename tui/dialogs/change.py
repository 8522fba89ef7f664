"""A change as a dialog has it: what is asked, what it would do, the same as a command line, and how it is made.

Nothing here draws. ``prepare`` and ``apply`` run on the session's thread.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from klamm.client.errors import ClientError
from klamm.client.guard import SEVERE, Made, Plan, journal_change, level_of
from klamm.client.settings import Settings
from klamm.tui.place import Place
from klamm.tui.session import Session

Values = Mapping[str, str]


class Field(NamedTuple):
    """One thing a dialog asks for; a ``secret`` one is not shown."""

    key: str
    label: str
    default: str = ""
    hint: str = ""
    secret: bool = False


class Done(NamedTuple):
    """What came of it: what happened in a few words, what failed, what takes it back, and where it can be watched.

    ``then`` is what is left to do and may take long, once the change is in the journal: it returns what came of both.
    """

    summary: str
    errors: Sequence[ClientError] = ()
    inverse: Sequence[Mapping[str, Any]] = ()
    cannot_undo: str = ""
    changed: bool = True
    place: Place | None = None
    then: Callable[[], Awaitable[Done]] | None = None

    @classmethod
    def of(cls, made: Made) -> Done:
        """Return what a change of ``client/`` says came of it."""
        return cls(made.summary, made.errors, made.inverse, made.cannot_undo, bool(made.names))


class Prepared(NamedTuple):
    """What would happen with the values as they are. With a ``problem`` it cannot be applied.

    ``words`` are the command's; ``then`` are those of a second one, which reads what the first writes; ``also`` are
    further commands of the same kind, and ``names`` what each command wants typed where that is not the plan's name.
    It is ``idle`` where the problem is only that it is so already.
    """

    plan: Plan
    words: Sequence[str]
    apply: Callable[[], Awaitable[Done]] | None = None
    undo: str = ""
    problem: str = ""
    then: Sequence[str] = ()
    also: Sequence[Sequence[str]] = ()
    names: Sequence[str] = ()
    idle: bool = False

    def line(self, settings: Settings) -> str:
        """Return the command line that does the same: in production it says more to be let through."""
        if self.then:
            return f"{command_line(self.words, settings)} | {self._line(self.then, self.plan.name, settings)}"
        commands = [self.words, *self.also]
        names = self.names or [self.plan.name] * len(commands)
        return " && ".join(self._line(words, name, settings) for words, name in zip(commands, names, strict=True))

    def _line(self, words: Sequence[str], name: str, settings: Settings) -> str:
        confirmed = list(words)
        if level_of(self.plan, settings) >= SEVERE and "--yes" in words:
            confirmed[confirmed.index("--yes") :] = ["--confirm", name]
        return command_line([*confirmed, *(["--write"] if settings.env == "prod" else [])], settings)


class Change:
    """One kind of change about some objects. Subclasses fill in what it is."""

    title = ""
    past: ClassVar[str] = ""
    """What was done, before the names of several objects it was done to: ``moved the offsets of``."""
    fields: Sequence[Field] = ()
    asks: bool = True
    """Whether the first empty field waits to be filled in; Cancel has the focus otherwise."""
    starts_at: str = ""
    """The field that people come to change, whatever it says."""
    progress: tuple[int, int] | None = None
    """How much is done of how much, while one that takes long is made."""
    stopped: bool = False
    """Somebody wants no more of it: what takes several steps leaves out those that are left."""

    async def prepare(self, session: Session, values: Values) -> Prepared:
        """Look at what the change would do.

        Raises:
            ClientError: That cannot be found out.
        """
        raise NotImplementedError

    def where(self) -> str:
        """Return a few words on what it is about, for the title."""
        return ""


class MenuItem(NamedTuple):
    """One line of a menu of changes; a destructive one that people look for under ``a`` as well is ``in_both``."""

    label: str
    make: Callable[[], Change]
    destructive: bool = False
    in_both: bool = False


def command_line(words: Sequence[str], settings: Settings) -> str:
    """Return the command line that makes the same change on the same cluster."""
    where = ["-c", settings.context] if settings.context else ["-b", ",".join(str(each) for each in settings.bootstrap)]
    return shlex.join(["klamm", *words, *where])


_being_made: Final[set[asyncio.Task[tuple[Done, int | None]]]] = set()
"""Changes on their way, so that those go on that nobody waits for any more."""


async def make(session: Session, prepared: Prepared) -> tuple[Done, int | None]:
    """Make a change and write it to the undo journal; return what came of it and the journal's number.

    Whoever stops waiting stops what comes after (``Done.then``), not the change: what a broker has been asked for may
    be so already, and then the journal has to say it.

    Raises:
        ClientError: It was refused: read-only, another cluster than the context names, or by the broker.
    """
    await session.cluster.ensure_writable(prepared.plan.what)
    making = asyncio.create_task(_make(session, prepared))
    _being_made.add(making)
    making.add_done_callback(_being_made.discard)
    done, number = await asyncio.shield(making)
    return (done if done.then is None else await done.then()), number


async def _make(session: Session, prepared: Prepared) -> tuple[Done, int | None]:
    assert prepared.apply is not None, f"{prepared.plan.what}: nothing to apply"
    done = await prepared.apply()
    if not done.changed:
        return done, None
    line = prepared.line(session.settings)
    inverse = [dict(each) for each in done.inverse]
    try:
        entry = await journal_change(session.cluster, line, done.summary, inverse, done.cannot_undo)
    except OSError:
        return done, None
    return done, entry.number if inverse else None
