"""The words of the command line (``:``): what each does, and how a line is completed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from klamm.tui import registry
from klamm.tui.place import Place

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp


class Word(NamedTuple):
    """A command that opens no screen. ``names`` says of what its argument is the name."""

    name: str
    summary: str
    names: str = ""


WORDS: Final = (
    Word("ctx", "another cluster, by its context's name", "context"),
    Word("theme", "colours, by the theme's name", "theme"),
    Word("refresh", "seconds between refreshes", "seconds"),
    Word("filter", "show only rows that match"),
    Word("sort", "sort by a column; -COLUMN for descending", "column"),
    Word("at", "another time of a recording: 03:12, -10m, a date"),
    Word("help", "the keys of the focused panel"),
    Word("q", "quit"),
)
_QUITS: Final = frozenset({"q", "q!", "quit", "exit", "qa", "wq", "x"})
CANDIDATES_MAX: Final = 200


def complete(text: str, names: Mapping[str, Sequence[str]]) -> list[str]:
    """Return whole lines that ``text`` can become, the likeliest first."""
    word, space, rest = text.partition(" ")
    if not space:
        known = [*registry.SCREENS, *(each.name for each in WORDS)]
        starts = [each for each in known if each.startswith(word)]
        within = [each for each in known if word in each and not each.startswith(word)]
        return starts + within
    spec = registry.find(word)
    kind = spec.names if spec is not None else next((each.names for each in WORDS if each.name == word), "")
    pool = names.get(kind, ()) if kind else ()
    rest = rest.lstrip()
    starts = [each for each in pool if each.startswith(rest)]
    within = [each for each in pool if rest in each and not each.startswith(rest)] if rest else []
    return [f"{word} {each}" for each in (starts + within)[:CANDIDATES_MAX]]


def completion_names(app: KlammApp) -> dict[str, Sequence[str]]:
    """Return what can be named now, by kind."""
    from klamm.client.contexts import context_names
    from klamm.client.errors import ClientError
    from klamm.tui.table import TableView

    found: dict[str, Sequence[str]] = dict(app.session.names)
    try:
        found["context"] = context_names()
    except ClientError:
        found["context"] = []
    found["theme"] = sorted(app.available_themes)
    found["seconds"] = ["1", "2", "5", "10", "30"]
    tables = [pane for pane in app.view.panes if isinstance(pane, TableView)] if app.view is not None else []
    found["column"] = [column.key for table in tables[:1] for column in table.rows.columns]
    return found


def expand(text: str) -> str:
    """Return a line whose first word, if only one command begins with it, is that command."""
    word, space, rest = text.strip().partition(" ")
    known = [*registry.SCREENS, *(each.name for each in WORDS)]
    starts = [each for each in known if each.startswith(word)]
    if not word or word in _QUITS or word in known or registry.find(word) is not None or len(starts) != 1:
        return text
    return starts[0] + space + rest


def run(app: KlammApp, text: str) -> None:
    """Carry out a line; what cannot be meant is said in the footer."""
    word, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if not word:
        return
    if word in _QUITS:
        app.exit(0)
        return
    spec = registry.find(word)
    if spec is not None:
        if spec.names and not rest:
            app.say(f":{word} needs the name of a {spec.names}", "warn")
        elif spec.names:
            name, _, detail = rest.partition(" ")
            app.go(Place(spec.kind, name, detail.strip()))
        else:
            app.go(Place(spec.kind, "", rest))
        return
    action = _ACTIONS.get(word)
    if action is not None:
        action(app, rest)
        return
    if app.view is not None and app.view.run_command(word, rest):
        return
    near = difflib.get_close_matches(word, [*registry.SCREENS, *(each.name for each in WORDS)], 1)
    app.say(f"there is no :{word}" + (f"; did you mean :{near[0]}?" if near else "; Tab shows what there is"), "warn")


def _theme(app: KlammApp, name: str) -> None:
    if name in app.available_themes:
        app.theme = name
    else:
        app.say(f"there is no theme {name!r}; there is {', '.join(sorted(app.available_themes))}", "warn")


def _refresh(app: KlammApp, text: str) -> None:
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0
    if seconds < 1:
        app.say(f"{text!r} is no number of seconds, 1 or more", "warn")
    else:
        app.preferences.interval_s = seconds
        app.say(f"refresh every {seconds:g} s")


def _filter(app: KlammApp, text: str) -> None:
    table = app.main_table
    if table is not None:
        table.set_filter(text)


def _sort(app: KlammApp, text: str) -> None:
    table = app.main_table
    if table is None:
        return
    if text.removeprefix("-") not in {column.key for column in table.rows.columns}:
        app.say(f"there is no column {text!r}; there is {', '.join(c.key for c in table.rows.columns)}", "warn")
    else:
        table.sort_by(text)


def _help(app: KlammApp, _text: str) -> None:
    app.call_later(app.action_help)


_ACTIONS: Final[Mapping[str, Callable[[KlammApp, str], None]]] = {
    "ctx": lambda app, name: app.switch_context(name),
    "theme": _theme,
    "at": lambda app, text: app.go_to_time(text),
    "refresh": _refresh,
    "filter": _filter,
    "sort": _sort,
    "help": _help,
}
