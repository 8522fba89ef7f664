"""The lines around a screen: header, banner, footer, and the line one types in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final, cast

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.keys import format_key
from textual.strip import Strip
from textual.widget import Widget

from klamm.client.text import duration_text, printable
from klamm.tui.columns import Cell
from klamm.tui.replay import ReplaySession
from klamm.tui.styles import component_style, legible
from klamm.tui.text_pane import TextPane

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

JUST_S: Final = 0.5
SAID_FOR_S: Final = 6.0
"""How long a message stands in the footer."""
RETURN_SAID_MS: Final = 15_000
"""How long it is said that a broker is back."""
_SHORT_KEYS: Final = {
    "enter": "⏎", "space": "␣", "escape": "Esc", "ctrl+@": "^␣", "pagedown": "PgDn", "pageup": "PgUp", "delete": "Del",
    "up": "Up", "down": "Down", "left": "Left", "right": "Right",
}  # fmt: skip


class Bar(Widget):
    """One line: cells from the left, cells at the right. It is drawn only when it changes."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "bar--dim", "bar--good", "bar--warn", "bar--bad", "bar--accent", "bar--strong", "bar--key",
    }  # fmt: skip
    DEFAULT_CSS = """
    Bar { height: 1; width: 1fr; background: $panel; color: $foreground; }
    Bar > .bar--dim { color: $text-muted; }
    Bar > .bar--good { color: $text-success; }
    Bar > .bar--warn { color: $text-warning; text-style: bold; }
    Bar > .bar--bad { color: $text-error; text-style: bold; }
    Bar > .bar--accent { color: $text-accent; text-style: bold; }
    Bar > .bar--strong { text-style: bold; }
    Bar > .bar--key { color: $text-accent; text-style: bold; }
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name, id=name)
        self._left: tuple[Cell, ...] = ()
        self._right: tuple[Cell, ...] = ()
        self._styles: dict[str, Style] = {}

    @property
    def text(self) -> str:
        """What stands there, left and right."""
        return "".join(cell.text for cell in (*self._left, *self._right))

    def show(self, left: Sequence[Cell], right: Sequence[Cell] = ()) -> None:
        """Show these cells. Where both do not fit the right ones win."""
        before_left, before_right = self._left, self._right
        self._left, self._right = tuple(left), tuple(right)
        if self._left != before_left or _width(self._right) != _width(before_right):
            self.refresh()
        elif self._right != before_right:  # that is the clock, each second
            width = _width(self._right)
            self.refresh(Region(self.size.width - width, 0, width, 1))

    def render_line(self, y: int) -> Strip:
        """Return the line."""
        width, base = self.size.width, self.rich_style
        right = [Segment(cell.text, base + self._style(cell.style)) for cell in self._right]
        used = sum(cell_len(segment.text) for segment in right)
        room = max(0, width - used)
        left = Strip([Segment(cell.text, base + self._style(cell.style)) for cell in self._left])
        whole = Strip.join([left.crop(0, room).adjust_cell_length(room, base), Strip(right)])
        return whole.adjust_cell_length(width, base)

    def notify_style_update(self) -> None:
        """Forget colours: the theme changed."""
        super().notify_style_update()
        self._styles.clear()

    def _style(self, name: str) -> Style:
        if not name:
            return Style.null()
        found = self._styles.get(name)
        if found is None:
            found = self._styles[name] = legible(component_style(self, f"bar--{name}"), self.rich_style)
        return found


class Header(Bar):
    """Which cluster, what may be done, where one is, how old the figures are."""

    def update_from(self, app: KlammApp) -> None:
        """Show what holds now."""
        session, settings, signs = app.session, app.session.settings, app.signs
        left = [Cell(" klamm ", "strong"), Cell(f"{signs.cursor} "), Cell(printable(session.name), "accent")]
        if settings.env:
            left.append(Cell(f"  {settings.env.upper()}", "bad" if settings.env == "prod" else "warn"))
        if app.is_read_only:
            left.append(Cell("  read-only", "warn"))
        right: list[Cell] = []
        health = session.health
        if not session.live:
            right.append(Cell("recording, , . < > p ", "warn"))
        view = app.view
        if view is not None and view.loaded is not None:
            at = health.answered_at_ms or view.loaded.at_ms
            right.append(Cell(f" {clock_text(at)}", ""))
        pause_s = app.interval_s if view is None else view.pause_s
        right.append(Cell(f" {'@' if signs.ascii else '⟳'}{round(pause_s, 1):g}s ", "dim"))
        room = self.size.width - _width(left) - _width(right) - 2
        left.append(Cell("  " + self._trail(app.trail, room, " > " if signs.ascii else " › ", signs.cut), "strong"))
        self.show(left, right)

    @staticmethod
    def _trail(places: Sequence[str], room: int, between: str, cut: str) -> str:
        """Return how one came here: where one is always, before it as many of the last places as there is room for."""
        kept = list(places[-1:])
        for place in reversed(places[:-1]):
            if cell_len(between.join([place, *kept])) > room:
                break
            kept.insert(0, place)
        text = between.join(kept)
        return text if room <= 0 or cell_len(text) <= room else set_cell_size(text, max(0, room - 1)) + cut

    def on_resize(self) -> None:
        """Show as many places as there is room for."""
        self.update_from(cast("KlammApp", self.app))


class Banner(Bar):
    """A line that is there only while the cluster is not."""

    DEFAULT_CSS = (
        "Banner { background: $error 30%; color: $foreground; display: none; } Banner.-shown {display: block;}"
    )

    def update_from(self, app: KlammApp) -> None:
        """Say since when nothing answers, or for whose answer one waits."""
        session, signs = app.session, app.signs
        health = session.health
        now = session.now_ms
        silence = session.silence()
        text = ""
        if health.unreachable_since_ms is not None:
            lasting = duration_text((now - health.unreachable_since_ms) // 1000 * 1000)
            cause = health.error.message if health.error is not None else ""
            refused = health.error is not None and health.error.code == "UNREACHABLE_SASL"
            what = "credentials refused" if refused else "unreachable"
            text = f" {signs.bad} {what} since {clock_text(health.unreachable_since_ms)} ({lasting})"
            if health.answered_at_ms is not None:  # before the cause, which may be longer than the line
                text += f", figures are from {clock_text(health.answered_at_ms)}"
            text += f": {cause}"
        elif silence is not None:
            since = clock_text(now - int(silence[0] * 1000))
            text = f" {signs.warn} no answer since {since}, waiting for {silence[1] or 'the cluster'}"
        elif session.away:
            first_ms = min(session.away.values())
            lasting = duration_text((now - first_ms) // 1000 * 1000)
            who = f"broker{'s' if len(session.away) > 1 else ''} {', '.join(map(str, sorted(session.away)))}"
            text = f" {signs.bad} {who} unreachable since {clock_text(first_ms)} ({lasting})"
        elif session.returned is not None and now - session.returned[1] < RETURN_SAID_MS:
            broker_id, at_ms, away_ms = session.returned
            lasting = duration_text(away_ms // 1000 * 1000)
            text = f" {signs.good} broker {broker_id} is back since {clock_text(at_ms)}, after {lasting}"
        self.set_class(bool(text), "-shown")
        self.show([Cell(printable(text), "strong")])


class TimeBar(Bar):
    """Where in a recording one is."""

    def update_from(self, app: KlammApp) -> None:
        """Show the time between the first and the last sample."""
        session, signs = app.session, app.signs
        assert isinstance(session, ReplaySession), "a time bar over a live cluster"
        first, last = clock_text(session.times[0]), clock_text(session.times[-1])
        width = max(4, self.size.width - 48)
        place = round(session.position * (width - 1))
        bar = signs.rule * place + signs.mark + signs.rule * (width - 1 - place)
        state = "playing" if session.playing else "stopped"
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(session.at_ms / 1000))
        cells = [Cell(f" {now} ", "accent"), Cell(f"{first} ", "dim"), Cell(bar), Cell(f" {last}", "dim")]
        self.show(cells, [Cell(f" {state} ", "warn" if session.playing else "dim")])

    def on_resize(self) -> None:
        """Draw the slider as wide as there is room."""
        self.update_from(cast("KlammApp", self.app))


class Footer(Bar):
    """The keys that work here and now, or what has just been said."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._said: Cell | None = None
        self._said_at = 0.0

    def say(self, text: str, style: str = "") -> None:
        """Show a message for some seconds."""
        self._said, self._said_at = Cell(" " + printable(text), style), time.monotonic()
        self.update_keys()

    def tick(self) -> None:
        """Show the keys again once the message has stood long enough."""
        if self._said is not None and time.monotonic() - self._said_at >= SAID_FOR_S:
            self.update_keys()

    def update_keys(self) -> None:
        """Show the message, or the keys."""
        if self._said is not None and time.monotonic() - self._said_at < SAID_FOR_S:
            self.show([self._said])
            return
        self._said = None
        keys: dict[str, tuple[Cell, Cell]] = {}
        for key, active in self.app.screen.active_bindings.items():  # of what is on top
            binding = active.binding
            if binding.show and active.enabled:
                label = self._filter_label() if binding.action == "filter" else binding.description
                keys.setdefault(binding.action, (Cell(f" {key_text(key)}", "key"), Cell(f" {label} ")))
        last = keys.pop("help", ())  # which names all the others: it has room wherever any has
        if "filter" in keys:  # how anything is found comes before what else a screen can do
            keys = {"filter": keys.pop("filter"), **keys}
        cells: list[Cell] = []
        room = self.size.width - sum(cell_len(cell.text) for cell in last)
        for pair in keys.values():
            room -= sum(cell_len(cell.text) for cell in pair)
            if room < 0:
                break
            cells += pair
        self.show([*cells, *last])

    def _filter_label(self) -> str:
        view = cast("KlammApp", self.app).view
        return "Filter" if view is None else "Find" if isinstance(self.app.focused, TextPane) else view.FILTER_LABEL

    def settle(self) -> None:
        """Let go what was said about another place, unless it was just said."""
        if time.monotonic() - self._said_at > JUST_S:
            self._said = None

    def on_resize(self) -> None:
        """Show as many keys as there is room for."""
        self.update_keys()


def _width(cells: Sequence[Cell]) -> int:
    return sum(cell_len(cell.text) for cell in cells)


def key_text(key: str) -> str:
    """Return a key as it stands on the keyboard."""
    if key in _SHORT_KEYS:
        return _SHORT_KEYS[key]
    *modifiers, name = key.split("+")
    shown = name if len(name) == 1 else _SHORT_KEYS.get(name) or format_key(name).title()
    if modifiers == ["ctrl"]:
        return f"^{shown.upper()}"
    return "-".join([*map(str.title, modifiers), shown])


def clock_text(at_ms: int) -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at_ms / 1000))
