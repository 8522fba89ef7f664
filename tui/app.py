"""The application: where one is, how one gets elsewhere, and the lines around the screens.

Navigation is a history of places like a browser's. Views that were seen last stay mounted, hidden and without polling,
so that going back finds cursor, scroll and filter as they were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from klamm.tui import registry
from klamm.tui.chrome import Banner, Footer, Header, TimeBar
from klamm.tui.place import Place
from klamm.tui.preferences import INTERVALS_S, Preferences
from klamm.tui.replay import ReplaySession
from klamm.tui.session import Session
from klamm.tui.signs import Signs, signs_of_terminal
from klamm.tui.table import TableView
from klamm.tui.view import View

if TYPE_CHECKING:
    from textual.widget import Widget

    from klamm.tui.dialogs.change import Change, MenuItem
    from klamm.tui.prompt import Prompt

VIEWS_KEPT: Final = 12
"""Views that stay mounted; older ones are made anew when one goes back to them."""
HISTORY_MAX: Final = 100
THEME: Final = "textual-dark"


class Entry:
    """One step of the history."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.view: View | None = None


class KlammApp(App[int], inherit_bindings=False):
    """``klamm ui``.

    Attributes:
        session: The cluster.
        preferences: What is remembered.
        signs: What the terminal can show.
        history: Where one was; ``at`` is where one is.
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
        Binding("escape", "step_back", "Back", show=False, id="app.step-back"),
        Binding("q", "close_view", "Back, or quit", show=False, id="app.close-view"),
        # Looked at first, so that what follows them at once is typed into the line they open.
        Binding("slash", "filter", "Filter", priority=True, id="table.filter"),
        Binding("colon", "command_line", "Command", priority=True, id="app.command-line"),
        Binding("ctrl+p", "palette", "Palette", id="app.palette"),
        Binding("ctrl+o", "jump", "Jump to a panel", show=False, id="app.jump"),
        Binding("question_mark,f1", "help", "Help", id="app.help"),
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
        super().__init__()
        self.session = session
        self.preferences = preferences
        self.signs = signs or signs_of_terminal()
        self.history: list[Entry] = [Entry(place)]
        self.at = 0
        self._before = 0
        self._make_session = make_session
        self._last_tick = 0.0

    # Life

    def compose(self) -> ComposeResult:
        """Yield header, banner, body and footer."""
        yield Header("header")
        yield Banner("banner")
        yield Vertical(id="body")
        if isinstance(self.session, ReplaySession):
            yield TimeBar("time")
        yield Footer("footer")

    async def on_mount(self) -> None:
        """Show the first place."""
        self.theme = self.preferences.theme if self.preferences.theme in self.available_themes else THEME
        self.set_keymap(self.preferences.keymap)
        self.screen.set_class(self.session.settings.env == "prod", "prod")
        await self._show(self.at)
        for bar in self.query(TimeBar):
            bar.update_from(self)
        self.set_interval(1.0, self._tick)
        self.theme_changed_signal.subscribe(self, lambda theme: self._remember_theme(theme.name))
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_updated)

    def _bindings_updated(self, _screen: object) -> None:
        for footer in self.query(Footer):  # none any more where the application is ending
            footer.update_keys()

    def _remember_theme(self, name: str) -> None:
        self.preferences.theme = name

    @property
    def view(self) -> View | None:
        """The view that is shown."""
        return self.history[self.at].view

    @property
    def main_table(self) -> TableView | None:
        """The table that a filter or a sort means: the focused one, or the first."""
        if isinstance(self.focused, TableView):
            return self.focused
        tables = [pane for pane in self.view.panes if isinstance(pane, TableView)] if self.view is not None else []
        return tables[0] if tables else None

    @property
    def trail(self) -> list[str]:
        """How one came here, for the header: the last three places."""
        return [str(entry.place) for entry in self.history[max(0, self.at - 2) : self.at + 1]]

    @property
    def is_read_only(self) -> bool:
        """Whether changes are refused here."""
        settings = self.session.settings
        return settings.read_only or not self.session.live or (settings.env == "prod" and not settings.write)

    @property
    def interval_s(self) -> float:
        """Seconds between refreshes."""
        return self.preferences.interval_s

    def say(self, text: str, style: str = "") -> None:
        """Show a message in the footer for some seconds."""
        self._footer.say(text, style)

    def copy(self, text: str) -> None:
        """Copy to the clipboard of the terminal, through SSH as well (OSC 52)."""
        self.copy_to_clipboard(text)
        first = text.split("\n", 1)[0]
        self.say(f"copied: {first}" + (f" and {text.count(chr(10))} more" if "\n" in text else ""), "good")

    # Navigation

    async def open_place(self, place: Place) -> None:
        """Go to a place; what lay ahead in the history goes."""
        if self.history[self.at].place == place:
            return
        gone = self.history[self.at + 1 :]
        del self.history[self.at + 1 :]
        self.history.append(Entry(place))
        if len(self.history) > HISTORY_MAX:
            gone.append(self.history.pop(0))
            self.at -= 1
        await self._show(self.at + 1)
        for entry in gone:
            if entry.view is not None:
                await entry.view.remove()

    def go(self, place: Place) -> None:
        """Go to a place, from what cannot wait."""
        self.run_worker(self.open_place(place), group="navigation", exclusive=False)

    async def _show(self, at: int) -> None:
        before = self.view
        self._before, self.at = self.at, at
        if before is not None and before is not self.view:
            before.vanish()
        entry = self.history[at]
        if entry.view is None:
            entry.view = registry.view_of(entry.place.kind)(entry.place, self.session)
            await self.query_one("#body").mount(entry.view)
            entry.view.focus_pane()
        else:
            entry.view.appear()
        await self._unmount_old()
        self._header.update_from(self)
        self.call_after_refresh(self._footer.update_keys)

    async def _unmount_old(self) -> None:
        mounted = [entry for entry in self.history if entry.view is not None]
        mounted.sort(key=lambda entry: abs(self.history.index(entry) - self.at))
        for entry in mounted[VIEWS_KEPT:]:
            if entry.view is not None:
                await entry.view.remove()
                entry.view = None

    async def use_session(self, session: Session, place: Place) -> None:
        """Change to another cluster: every view of the old one goes."""
        old = self.session
        await self.query(TimeBar).remove()
        views = [entry.view for entry in self.history if entry.view is not None]
        for view in views:
            await view.remove()
        self.session = session
        self.history, self.at, self._before = [Entry(place)], 0, 0
        self.screen.set_class(session.settings.env == "prod", "prod")
        await self._show(0)
        await asyncio.to_thread(old.close)

    # Around the screens

    @property
    def _header(self) -> Header:
        return self.query_one("#header", Header)

    @property
    def _footer(self) -> Footer:
        return self.query_one("#footer", Footer)

    def _tick(self) -> None:
        """Draw what changes with time alone: ages, the banner, the footer's message; play a recording on."""
        if isinstance(self.session, ReplaySession) and self.session.playing:
            self.action_time(1000)
        if len(self.screen_stack) > 1:
            return
        self.on_view_refreshed()
        for footer in self.query(Footer):
            footer.update_keys()
        if self.view is not None:
            for pane in self.view.panes:
                pane.tick()

    def on_view_refreshed(self) -> None:
        """Show that figures are new. The lines are gone already where the application is ending."""
        for header in self.query(Header):
            header.update_from(self)
        for banner in self.query(Banner):
            banner.update_from(self)

    # Actions

    async def action_quit(self) -> None:
        """End, without a question."""
        self.exit(0)

    async def action_step_back(self) -> None:
        """Take one step back: marks, the filter, the zoom, then the place. Never out of the application."""
        table = self.focused
        if isinstance(table, TableView):
            if table.rows.marks:
                table.rows.marks.clear()
                table.tick()
                return
            if table.rows.filter.text:
                table.set_filter("")
                return
        if self.view is not None and self.view.action_unzoom():
            return
        await self.action_history(-1)

    async def action_close_view(self) -> None:
        """Go back; at the first place quit."""
        if self.at == 0:
            self.exit(0)
        else:
            await self.action_history(-1)

    async def action_history(self, step: int) -> None:
        """Go back or forward."""
        target = self.at + step
        if 0 <= target < len(self.history):
            await self._show(target)
        else:
            self.say("this is where you began; :q quits" if step < 0 else "there is nothing ahead", "dim")

    async def action_last_view(self) -> None:
        """Go to where one was before."""
        if self._before < len(self.history) and self._before != self.at:
            await self._show(self._before)

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

    async def action_command_line(self) -> None:
        """Type a command."""
        from klamm.tui.prompt import CommandPrompt

        prompt = CommandPrompt()
        await self.open_prompt(prompt)
        self.learn_names(prompt.look_again)

    async def action_filter(self) -> None:
        """Type a filter of the focused table."""
        prompt = None if self.view is None else self.view.make_filter_prompt()
        if prompt is not None:
            await self.open_prompt(prompt)

    def open_change(self, change: Change) -> None:
        """Open the dialog of a change."""
        from klamm.tui.dialogs.screen import ChangeScreen

        self.push_screen(ChangeScreen(self, change))

    def open_menu(self, title: str, items: Sequence[MenuItem]) -> None:
        """Open a menu of changes."""
        from klamm.tui.dialogs.screen import MenuScreen

        self.push_screen(MenuScreen(self, title, items))

    def refresh_view(self) -> None:
        """Load what is shown at once, all of it: something was changed."""
        if self.view is not None:
            self.view.refresh_all()

    def action_undo(self) -> None:
        """Open the plan that takes back the last change."""
        from klamm.tui.dialogs.undo import UndoLast

        self.open_change(UndoLast())

    def action_redo(self) -> None:
        """Open the plan that does again what was undone last."""
        from klamm.tui.dialogs.undo import RedoLast

        self.open_change(RedoLast())

    def action_help(self) -> None:
        """Show the keys of the focused panel."""
        from klamm.tui.help import HelpScreen

        self.push_screen(HelpScreen(self))

    def action_jump(self) -> None:
        """Show a letter on every panel; the next key goes there."""
        from klamm.tui.jump import JumpScreen

        self.push_screen(JumpScreen(self))

    def action_palette(self) -> None:
        """Find an action or an object."""
        from klamm.tui.palette import PaletteScreen

        palette = PaletteScreen(self)
        self.push_screen(palette)
        self.learn_names(palette.look_again)

    def learn_names(self, then: Callable[[], None]) -> None:
        """Find out what there is by name, where no screen has been that shows it, and do something then."""
        if all(kind in self.session.names for kind in ("topic", "group", "broker")):
            return

        async def learn() -> None:
            from klamm.tui.data.names import learn_names

            await self.session.run(lambda: learn_names(self.session))
            then()

        self.run_worker(learn(), group="names", exclusive=True)

    async def run_chosen(self, action: str) -> None:
        """Do an action as if its key had been pressed where the focus is."""
        node = self.focused or self.screen
        for each in (node, *node.ancestors, self):
            if hasattr(each, f"action_{action.partition('(')[0]}"):
                await self.run_action(action, each)
                return

    async def open_prompt(self, prompt: Prompt) -> None:
        """Mount a prompt and focus its input before the next key is looked at: nothing typed quickly is lost."""
        prompt.came_from = self.focused
        await self.screen.query("#prompt").remove()
        await self.screen.mount(prompt)
        self.screen.set_focus(prompt.query_one("Input"))  # Widget.focus() would wait for a turn of the loop

    def focus_on(self, widget: Widget) -> None:
        """Give a panel the keys at once; while a line is being typed, as soon as it is sent.

        ``Widget.focus()`` would do it a turn of the loop later, and take the keys from a line opened meanwhile.
        """
        open_ones = [prompt for prompt in widget.screen.query("#prompt") if getattr(prompt, "is_open", False)]
        if open_ones:
            cast("Prompt", open_ones[0]).came_from = widget
        else:
            widget.screen.set_focus(widget)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave keys that are text to whoever is typing, and to dialogs."""
        if action in {"time", "play"}:
            return isinstance(self.session, ReplaySession)
        if action in {"command_line", "filter"}:
            typing = self.focused is not None and self.focused.__class__.__name__.endswith(("Input", "TextArea"))
            return not typing and len(self.screen_stack) == 1
        return True

    def switch_context(self, name: str) -> None:
        """Change to another context."""
        if self._make_session is None:
            self.say("there are no contexts here", "warn")
            return
        self.run_worker(self._switch(name), group="navigation")

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
    """Return every object the session has seen, with its place: (kind, place)."""
    for spec in registry.SCREENS.values():
        for name in names.get(spec.names, ()) if spec.names else ():
            yield spec.names, Place(spec.kind, name)
