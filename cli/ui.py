"""``klamm ui``: the terminal interface."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from klamm.cli.output import Result
from klamm.cli.parser import UsageError, suggestion
from klamm.cli.run import Run
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import RefusedError, SettingsError

if TYPE_CHECKING:
    from klamm.client.settings import Settings
    from klamm.tui.place import Place
    from klamm.tui.session import Session


async def show_ui(run: Run) -> Result:
    """Run the interface until it is left."""
    in_browser = "TEXTUAL_DRIVER" in os.environ  # textual-serve runs this and carries the screen
    if not in_browser and not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        msg = "klamm ui needs a terminal, and standard input, output or error is none"
        raise RefusedError(msg, "for data in a pipe: klamm topic list -o json")
    place = _place(run)
    with run.without_deadline():
        replay = run.values.text("replay")
        if replay is not None:
            code = await _show(run, _replay_session(run, replay), place)
        else:
            code = await show(run, run.resolved.settings, place)
    return Result((), (), exit_code=code)


async def show(run: Run, settings: Settings, place: Place) -> int:
    """Run the interface over a cluster until it is left; return 0, or 1 if it ended by a mistake of its own."""
    from klamm.tui.registry import loader_of
    from klamm.tui.session import Session

    settings.check()
    return await _show(run, Session(settings, loader_of), place)


async def _show(run: Run, session: Session, place: Place) -> int:
    session.start()
    session.prefetch(place)  # the cluster answers while Textual loads
    from klamm.tui.app import KlammApp
    from klamm.tui.interpreter import share_interpreter
    from klamm.tui.preferences import read_preferences

    share_interpreter()
    app = KlammApp(session, read_preferences(), place, make_session=lambda name: _context_session(run, name))
    try:
        await app.run_async(mouse=run.values.flag("mouse"))
    finally:
        app.session.close()
    return app.return_code or 0


def _replay_session(run: Run, path: str) -> Session:
    from klamm.client.recording.reading import Recording, parse_at
    from klamm.tui.replay import ReplaySession

    recording = Recording(path)
    at = run.values.text("at")
    return ReplaySession(recording, None if at is None else parse_at(at, recording.times))


def _place(run: Run) -> Place:
    from klamm.tui import registry
    from klamm.tui.place import Place

    word, names = run.values.text("screen") or registry.START, run.values.texts("names")
    spec = registry.find(word)
    if spec is None:
        msg = f"klamm ui has no screen {word!r}.{suggestion(word, list(registry.SCREENS))}"
        raise UsageError(msg)
    if spec.names and not names:
        msg = f"klamm ui {word} needs the name of a {spec.names}"
        raise UsageError(msg)
    return Place(spec.kind, names[0], " ".join(names[1:])) if spec.names else Place(spec.kind, "", " ".join(names))


def _context_session(run: Run, name: str) -> Session:
    """Return a started session with another context.

    Raises:
        ClientError: There is none of that name.
    """
    from klamm.client.contexts import Layers, context_names, resolve
    from klamm.tui.registry import loader_of
    from klamm.tui.session import Session

    if not name:
        known = ", ".join(context_names())
        msg = f"which context? there is {known}" if known else "there are no contexts; klamm context add"
        raise SettingsError(msg)
    settings = resolve(Layers(name, None, (), write=run.values.flag("write"))).settings
    settings.check()
    session = Session(settings, loader_of)
    session.start()
    return session


COMMANDS = (
    Command(
        "ui",
        "The terminal interface: what is wrong now, and the way down to one message",
        show_ui,
        "Ui",
        (
            Argument("screen", "screen to open first", required=False),
            Argument("names", "what the screen is about: a topic, a group", required=False, repeat=True),
        ),
        (
            Option(("--mouse",), "take the mouse; the terminal's own selection then needs Shift"),
            Option(("--write",), "allow changes in a context that is read-only because its env is prod"),
        ),
        (
            Example("klamm ui", "begin with what is wrong now"),
            Example("klamm ui topic orders", "open one topic"),
            Example("klamm ui groups 'lag-t>10s'", "open the lag board, filtered"),
        ),
        ("Metadata", "ListOffsets", "ListGroups", "OffsetFetch"),
        ("DESCRIBE on what is to be seen",),
        details="Keys: ? help, : command, / filter, Ctrl-P palette, Esc back, Ctrl-C quit.",
    ),
)
