"""The application: its keys, the lines around the screens, and what opens over them."""

from __future__ import annotations

import asyncio
import difflib
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Final

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from klamm.client.text import size_text
from klamm.tui import registry
from klamm.tui.chrome import Banner, Footer, Header, TimeBar
from klamm.tui.opening import OpeningApp
from klamm.tui.place import Place
from klamm.tui.preferences import INTERVALS_S, Preferences
from klamm.tui.replay import ReplaySession
from klamm.tui.session import Session
from klamm.tui.signs import Signs, signs_of_terminal
from klamm.tui.table import TableView

if TYPE_CHECKING:
    from textual.driver import Driver
    from textual.screen import Screen


THEME: Final = "textual-dark"
THEME_OF_16_COLOURS: Final = "ansi-dark"
"""The terminal's own colours: the nearest ones to another theme's cannot be told apart."""
COPIED_BYTES_MAX: Final = 1 << 20
"""Terminals take from 100 KB to some megabytes by OSC 52, and drop what is longer without a word."""


class KlammApp(OpeningApp, inherit_bindings=False):
    """``klamm ui``.

    Attributes:
        preferences: What is remembered.
        signs: What the terminal can show.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "klamm"
    CSS = """
    Screen { layers: base; }
    #body { width: 1fr; height: 1fr; }
    .prod #header, .prod #footer { background: $error 40%; }
    .prod #body { border-left: outer $error; border-right: outer $error; }
    #prompt { dock: bottom; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True, id="app.quit"),
        Binding("escape", "step_back", "Back", show=False, priority=True, id="app.step-back"),
        Binding("q", "close_view", "Back, or quit", show=False, id="app.close-view"),
        # Looked at first, so that what follows them at once is typed into what they open.
        Binding("slash", "filter", "Filter", priority=True, id="table.filter"),
        Binding("colon", "command_line", "Command", priority=True, id="app.command-line"),
        Binding("ctrl+p", "palette", "Palette", priority=True, id="app.palette"),
        Binding("ctrl+o", "jump", "Jump to a panel", show=False, priority=True, id="app.jump"),
        Binding("question_mark", "help", "Help", priority=True, id="app.help"),
        Binding("f1", "help", "Help", show=False, id="app.help-too"),
        Binding("left_square_bracket", "history(-1)", "Back in history", show=False, id="app.history-back"),
        Binding("right_square_bracket", "history(1)", "Forward in history", show=False, id="app.history-forward"),
        Binding("minus", "last_view", "Last view", show=False, id="app.last-view"),
        Binding("z", "undo", "Undo the last change…", show=False, id="app.undo"),
        Binding("Z", "redo", "Do again what was undone…", show=False, id="app.redo"),
        Binding("comma", "time(-1000)", "A second back", show=False, id="replay.back"),
        Binding("full_stop", "time(1000)", "A second forward", show=False, id="replay.forward"),
        Binding("less_than_sign", "time(-60000)", "A minute back", show=False, id="replay.minute-back"),
        Binding("greater_than_sign", "time(60000)", "A minute forward", show=False, id="replay.minute-forward"),
        Binding("p", "play", "Play", show=False, id="replay.play"),
        Binding("ctrl+r", "next_interval", "Refresh interval", show=False, id="app.next-interval"),
    ]

    def __init__(
        self,
        session: Session,
        preferences: Preferences,
        place: Place,
        *,
        signs: Signs | None = None,
        make_session: Callable[[str], Session] | None = None,
    ) -> None:
        super().__init__(session, place)
        self.preferences = preferences
        self.signs = signs or signs_of_terminal()
        self._make_session = make_session
        self._bars = (Header("header"), Banner("banner"))
        self._footer_bar = Footer("footer")

    # Life

    def get_driver_class(self) -> type[Driver]:
        """Return the driver of this platform, of a Unix terminal the one that sleeps while nobody types."""
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":
            return found
        from klamm.tui.driver import QuietDriver

        return QuietDriver

    def compose(self) -> ComposeResult:
        """Yield header, banner, body and footer."""
        yield from self._bars
        yield Vertical(id="body")
        if isinstance(self.session, ReplaySession):
            yield TimeBar("time")
        yield self._footer_bar

    async def on_mount(self) -> None:
        """Show the first place."""
        usual = THEME_OF_16_COLOURS if self.console.color_system == "standard" else THEME
        self.theme = self.preferences.theme if self.preferences.theme in self.available_themes else usual
        self.set_keymap(self.preferences.keymap)
        self.screen.set_class(self.session.settings.env == "prod", "prod")
        await self._show(self.at)
        self._say_what_is_not_there()
        for bar in self.query(TimeBar):
            bar.update_from(self)
        self.set_interval(1.0, self._tick)
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember_theme(theme.name))
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_updated)
        self.screen_change_signal.subscribe(self, self._screen_changed)

    def _say_what_is_not_there(self) -> None:
        """Say what the configuration file names that there is not: a theme, an action."""
        theme, wrong = self.preferences.theme, []
        if theme is not None and theme not in self.available_themes:
            near = difflib.get_close_matches(theme, self.available_themes, 1)
            wrong.append(
                f"there is no theme {theme!r}" + (f"; did you mean {near[0]}?" if near else "; :theme lists them")
            )
        if self.preferences.keymap:
            from klamm.tui.keymap import unknown_actions

            wrong += unknown_actions(self.preferences.keymap)
        if wrong:
            self.say("  ".join(wrong), "warn")

    def _screen_changed(self, screen: Screen[object]) -> None:
        """Have the footer show the keys of what is on top: of a menu, a dialog, or again of the screen."""
        screen.bindings_updated_signal.unsubscribe(self)  # it may have been on top before: once is enough
        screen.bindings_updated_signal.subscribe(self, self._bindings_updated)
        self.call_after_refresh(self._bindings_updated, screen)

    def _bindings_updated(self, _screen: object) -> None:
        if self._footer_bar.is_attached:  # it is no more where the application is ending
            self._footer_bar.update_keys()

    def _remember_theme(self, name: str) -> None:
        self.preferences.theme = name

    @property
    def main_table(self) -> TableView | None:
        """The table that a filter or a sort means: the focused one, or the first."""
        if isinstance(self.focused, TableView):
            return self.focused
        tables = [pane for pane in self.view.panes if isinstance(pane, TableView)] if self.view is not None else []
        return tables[0] if tables else None

    @property
    def is_read_only(self) -> bool:
        """Whether changes are refused here."""
        settings = self.session.settings
        return settings.read_only or not self.session.live or (settings.env == "prod" and not settings.write)

    @property
    def why_read_only(self) -> str:
        """Why changes are refused, and what would allow them."""
        settings = self.session.settings
        if not self.session.live:
            return "read-only: this is a recording"
        if settings.read_only:
            return "read-only: so says the context, KLAMM_READ_ONLY or klamm web"
        return f"read-only, as env is prod: klamm ui -c {settings.context} --write allows changes"

    @property
    def interval_s(self) -> float:
        """Seconds between refreshes."""
        return self.preferences.interval_s

    def copy(self, text: str) -> None:
        """Copy to the clipboard of the terminal, through SSH as well (OSC 52)."""
        size_bytes = len(text.encode("utf-8", "replace"))
        if size_bytes > COPIED_BYTES_MAX:
            self.say(
                f"{size_text(size_bytes)} are too much for a terminal's clipboard; w writes records to a file", "warn"
            )
            return
        self.copy_to_clipboard(text)
        first = text.split("\n", 1)[0]
        self.say(f"copied: {first}" + (f" and {text.count(chr(10))} more" if "\n" in text else ""), "good")

    def copy_to_clipboard(self, text: str) -> None:
        """Send it to the terminal; within tmux, which drops what its programs send so, have tmux send it."""
        super().copy_to_clipboard(text)
        if os.environ.get("TMUX"):
            from klamm.tui.outside import copy_by_tmux

            self.run_worker(lambda: copy_by_tmux(text), thread=True, group="clipboard")

    # Around the screens

    async def on_event(self, event: events.Event) -> None:
        """Take what the terminal says; a key or the mouse tells that somebody is there."""
        if isinstance(event, events.InputEvent) and self.view is not None:
            self.view.attend()
        await super().on_event(event)

    def _tick(self) -> None:
        """Draw what changes with time alone: ages, the banner, the footer's message; play a recording on."""
        if isinstance(self.session, ReplaySession) and self.session.playing:
            self.action_time(1000)
        self._footer_bar.tick()
        if self.view is None or self.view.is_fresh:
            return  # the refresh has drawn all of it
        self.view_refreshed()
        for pane in self.view.panes:
            pane.tick()

    def view_refreshed(self) -> None:
        """Show that figures are new. The lines are gone already where the application is ending."""
        for bar in self._bars:
            if bar.is_attached:
                bar.update_from(self)

    # Actions

    async def action_quit(self) -> None:
        """End, without a question."""
        self.exit(0)

    def action_time(self, milliseconds: int) -> None:
        """Go forward or back in a recording."""
        if isinstance(self.session, ReplaySession):
            self.session.move(milliseconds)
            self._time_moved()

    def action_play(self) -> None:
        """Play a recording, or stop."""
        if isinstance(self.session, ReplaySession):
            self.session.playing = not self.session.playing
            self._time_moved()

    def go_to_time(self, text: str) -> None:
        """Go to a time of a recording."""
        if not isinstance(self.session, ReplaySession):
            self.say(":at is for recordings: klamm ui --replay FILE", "warn")
            return
        from klamm.client.errors import ClientError
        from klamm.client.recording.reading import parse_at

        try:
            self.session.move_to(parse_at(text, self.session.times))
        except ClientError as error:
            self.say(error.message, "bad")
            return
        self._time_moved()

    def _time_moved(self) -> None:
        self.query_one("#time", TimeBar).update_from(self)
        if self.view is not None:
            self.view.refresh_now()

    def action_next_interval(self) -> None:
        """Refresh more seldom, or after the most seldom as often as can be."""
        later = [each for each in INTERVALS_S if each > self.interval_s]
        self.preferences.interval_s = later[0] if later else INTERVALS_S[0]
        self.say(f"refresh every {self.interval_s:g} s")
        self._header.update_from(self)

    def refresh_view(self) -> None:
        """Load what is shown at once, all of it: something was changed."""
        if self.view is not None:
            self.view.refresh_all()

    async def run_chosen(self, action: str) -> None:
        """Do an action as if its key had been pressed where the focus is."""
        node = self.focused or self.screen
        for each in (node, *node.ancestors, self):
            if hasattr(each, f"action_{action.partition('(')[0]}"):
                await self.run_action(action, each)
                return

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave keys that are text to whoever is typing, and to dialogs."""
        if action in {"time", "play"}:
            return isinstance(self.session, ReplaySession)
        if action in {"command_line", "filter", "help", "jump", "palette", "step_back"}:
            return not self.is_typing and len(self.screen_stack) == 1
        return True

    def switch_context(self, name: str) -> None:
        """Change to another context."""
        if self._make_session is None:
            self.say("there are no contexts here", "warn")
            return
        self.run_worker(self._switch(name) if name else self._choose_context(), group="navigation")

    async def _choose_context(self) -> None:
        from klamm.tui.contexts import ContextsScreen

        await self._open_over(ContextsScreen(self), "TableView")

    async def _switch(self, name: str) -> None:
        assert self._make_session is not None, "checked by switch_context"
        from klamm.client.errors import ClientError

        try:
            session = await asyncio.to_thread(self._make_session, name)
        except ClientError as error:
            self.say(f"{error.message}", "bad")
            return
        await self.use_session(session, Place(registry.START))


def object_places(names: dict[str, list[str]]) -> Iterable[tuple[str, Place]]:
    """Return every object the session has seen, with its place: (screen, place)."""
    for spec in registry.SCREENS.values():
        for name in names.get(spec.names, ()) if spec.names else ():
            yield spec.kind, Place(spec.kind, name)
