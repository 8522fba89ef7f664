"""The base of every screen: its poller, its keys.

The poller is one worker: it has the session load the place, hands each panel its part, and waits. A view that is not
shown does not poll. States: loading → live ⇄ failed; failed keeps what was found, with its age.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.binding import Binding, BindingType

from klamm.tui import registry
from klamm.tui.pace import Pace
from klamm.tui.panels import Panels
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.session import Memory, Session
from klamm.tui.table import TableView
from klamm.tui.text_pane import TextPane

if TYPE_CHECKING:
    from klamm.tui.data.live import Live
    from klamm.tui.dialogs.change import MenuItem
    from klamm.tui.prompt import Prompt

OPENERS: Final = frozenset({"change_menu", "danger_menu", "copy", "write", "produce", "resend", "edit"})
"""Actions that open something one types in, or may: their keys are looked at before whoever has the focus."""


class View(Panels):
    """A screen at a place. Subclasses yield panels in ``compose`` and say what Enter does in ``open_row``.

    Attributes:
        HELP: What the screen is for, one or two sentences for ``?``.
        place: Where one is.
        memory: What its loader keeps; ``in_view`` are the keys of the first table's rows on the screen.
        loaded: The last refresh.
        refreshes: How many there were.
        pace: How long it waits from one to the next.
    """

    HELP: ClassVar[str | None] = ""
    COMPARES: ClassVar[str] = ""
    """What the rows of the first table are, where they can be compared: topic, group, broker."""
    FILTERED: ClassVar[bool] = True
    """Whether what stands behind the name of a screen of all objects (``:groups lag>1k``) filters its first table."""
    FILTER_LABEL: ClassVar[str] = "Filter"
    """What ``/`` is called in the footer."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "refresh_now", "Refresh", show=False, id="view.refresh"),
        Binding("tab", "pane(1)", "Next pane", show=False, id="view.next-pane"),
        Binding("shift+tab", "pane(-1)", "Pane before", show=False, id="view.previous-pane"),
        Binding("plus", "zoom", "Zoom the pane", show=False, id="view.zoom"),
        Binding("underscore", "unzoom", "All panes", show=False, id="view.unzoom"),
        Binding("m", "messages", "Messages", show=False, id="view.messages"),
        Binding("D", "diff", "Compare what is marked", show=False, id="view.diff"),
        # Looked at first, so that what follows them at once goes to what they open.
        Binding("y", "copy", "Copy", show=False, priority=True, id="view.copy"),
        Binding("a", "change_menu", "Change…", priority=True, id="view.change-menu"),
        Binding("X", "danger_menu", "Destroy…", priority=True, id="view.danger-menu"),
    ]

    def __init__(self, place: Place, session: Session) -> None:
        super().__init__()
        self.place = place
        self.session = session
        self.memory: Memory = {}
        self.loaded: Loaded | None = None
        self.refreshes = 0
        self._taken_at_s = 0.0
        self.pace = Pace()
        self._wanted = asyncio.Event()
        self._shown = asyncio.Event()

    # What subclasses say

    def open_row(self, table: TableView, row: Any) -> None:
        """Go where Enter on a row leads."""

    def changes(self) -> list[MenuItem]:
        """Return what can be changed here: ``a`` lists it, and ``X`` what destroys."""
        return []

    def command_line(self) -> str:
        """Return the command line that shows the same; ``y`` copies it."""
        return f"klamm ui {self.place}"

    def topic_of(self, row: Any) -> str:
        """Return the topic that a row is about, "" for none: ``m`` shows its messages."""
        return str(getattr(row, "topic", "")) or (self.place.name if self.place.kind == "topic" else "")

    def make_filter_prompt(self) -> Prompt | None:
        """Return the line that ``/`` opens: a filter of the focused table, or a search of the focused text."""
        from klamm.tui.prompt import FilterPrompt, FindPrompt

        if isinstance(self.klamm.focused, TextPane):
            return FindPrompt(self.klamm.focused)
        table = self.klamm.main_table
        return None if table is None else FilterPrompt(table)

    def run_command(self, word: str, rest: str) -> bool:
        """Carry out a command that only this screen knows; return whether there is such a one."""
        del word, rest
        return False

    def copy_text(self, row: Any) -> str:
        """Return what ``y`` copies of a row: its name."""
        return str(row[0])

    def rows_moved(self, table: TableView) -> None:
        """Follow the cursor."""

    def received(self, loaded: Loaded) -> None:
        """Do more with a refresh than to show its parts."""

    # Polling

    def on_mount(self) -> None:
        """Begin to poll."""
        self._panes = self.panes
        for pane in self.panes:
            pane.signs = self.signs
            if isinstance(pane, TableView):
                pane.use_clock(lambda: self.session.now_ms)
                sort = self.klamm.preferences.sort_of(self.place.kind, pane.name or "")
                if sort is not None:
                    pane.rows.sort_by(sort)
        self._filter_as_asked()
        self._shown.set()
        self.run_worker(self._poll(), name="poll", group="poll", exit_on_error=True)

    def _filter_as_asked(self) -> None:
        """Filter the first table by what stands behind the screen's name."""
        tables = [pane for pane in self.panes if isinstance(pane, TableView)]
        if tables and self.FILTERED and self.place.detail and not registry.SCREENS[self.place.kind].names:
            tables[0].set_filter(self.place.detail)

    def appear(self) -> None:
        """Poll again, at once."""
        self.display = True
        self._shown.set()
        self._wanted.set()
        self.call_after_refresh(self.focus_pane)

    def vanish(self) -> None:
        """Stop polling."""
        self.display = False
        self._shown.clear()
        self._stop_live()

    def on_unmount(self) -> None:
        """Stop what went on while this was looked at."""
        self._stop_live()

    def _stop_live(self) -> None:
        """Stop the loader's task, if it has one (``klamm.tui.data.live``)."""
        live: Live | None = self.memory.get("live")
        if live is not None:
            self.app.run_worker(self.session.run(live.stop), group="live")

    async def _poll(self) -> None:
        while True:
            await self._shown.wait()
            self._note_rows_in_view()
            loaded = await self.session.load(self.place, self.memory)
            if not self._shown.is_set():
                self._stop_live()  # which the loader may have started again meanwhile
            self._take(loaded)
            if loaded.more:
                continue
            self._wanted.clear()
            try:
                await asyncio.wait_for(self._wanted.wait(), self.pause_s)
            except TimeoutError:
                continue

    @property
    def pause_s(self) -> float:
        """Seconds from one refresh to the next."""
        return self.pace.pause_s(self.klamm.interval_s, goes_on="live" in self.memory)

    def attend(self) -> None:
        """Note that somebody is there."""
        if self.pace.attend():
            self.refresh_now()

    @property
    def is_fresh(self) -> bool:
        """Whether the last refresh was a moment ago."""
        return time.monotonic() - self._taken_at_s < self.pace.fresh_s

    def _take(self, loaded: Loaded) -> None:
        self._taken_at_s = time.monotonic()
        self.pace.took(loaded, self.loaded)
        self.loaded = loaded.over(self.loaded)
        self.refreshes += 1
        self.show_parts(self.loaded)
        self.received(self.loaded)
        self.klamm.view_refreshed()

    def _note_rows_in_view(self) -> None:
        tables = [pane for pane in self.panes if isinstance(pane, TableView)]
        if tables:
            self.memory["in_view"] = tables[0].keys_in_view()
            current = tables[0].rows.current
            self.memory["current"] = None if current is None else tables[0].rows.key(current)

    def refresh_now(self) -> None:
        """Load again at once."""
        self._wanted.set()

    def refresh_all(self) -> None:
        """Load again at once, also what is looked at seldom: something was changed. What was found so far stays."""
        self.memory["changed"] = True
        self.refresh_now()

    # Messages and actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave keys that are text to whoever is typing; offer the menus of changes only where there are changes."""
        if action in OPENERS and self.klamm.is_typing:
            return False
        if action in {"change_menu", "danger_menu"}:
            return type(self).changes is not View.changes
        return super().check_action(action, parameters)

    def on_table_view_opened(self, event: TableView.Opened) -> None:
        """Go where the row leads."""
        event.stop()
        self.open_row(event.table, event.row)

    def on_table_view_moved(self, event: TableView.Moved) -> None:
        """Follow the cursor."""
        event.stop()
        self.rows_moved(event.table)

    def on_table_view_not_found(self, event: TableView.NotFound) -> None:
        """Say that there is no next match."""
        event.stop()
        sought = event.table.rows.sought.text
        self.klamm.say(
            f"nothing matches {sought}" if sought else "n goes to the next match of a filter: / first", "dim"
        )

    def on_text_pane_not_found(self, event: TextPane.NotFound) -> None:
        """Say that the text is not there."""
        event.stop()
        self.klamm.say(f"{event.text!r} is not there" if event.text else "n goes to the next match: / first", "dim")

    def on_table_view_arranged(self, event: TableView.Arranged) -> None:
        """Remember how the table is sorted."""
        event.stop()
        self.klamm.preferences.remember_sort(self.place.kind, event.table.name or "", event.table.rows.sort)

    def action_refresh_now(self) -> None:
        """Load again at once."""
        self.refresh_now()

    def action_messages(self) -> None:
        """Show the messages of the topic under the cursor."""
        table = self.klamm.main_table
        topic = self.topic_of(None if table is None else table.rows.current)
        if topic:
            self.klamm.go(Place("messages", topic))
        else:
            self.klamm.say("there is no topic under the cursor", "dim")

    def action_diff(self) -> None:
        """Compare the objects that are marked."""
        import shlex

        from klamm.tui.data.diff import COMPARED_MAX

        table = self.klamm.main_table
        names = [str(row[0]) for row in table.rows.chosen()] if table is not None and self.COMPARES else []
        if not self.COMPARES:
            self.klamm.say("topics, groups and brokers can be compared: mark two of them with Space, then D", "dim")
        elif not 2 <= len(names) <= COMPARED_MAX:  # noqa: PLR2004 (a comparison is of two)
            self.klamm.say(f"mark 2 to {COMPARED_MAX} {self.COMPARES}s with Space; D shows where they differ", "dim")
        else:
            self.klamm.go(Place("diff", "", shlex.join([self.COMPARES, *names])))

    async def action_change_menu(self) -> None:
        """List what can be changed."""
        await self._open_menu("Change", [item for item in self.changes() if not item.destructive or item.in_both])

    async def action_danger_menu(self) -> None:
        """List what can be destroyed. Each has a dialog of its own, with Cancel focused."""
        await self._open_menu("Destroy", [item for item in self.changes() if item.destructive])

    async def _open_menu(self, title: str, items: list[MenuItem]) -> None:
        if items:
            await self.klamm.open_menu(title, items)
        else:
            self.klamm.say(f"there is nothing to {title.lower()} here", "dim")

    async def action_copy(self) -> None:
        """Copy the row's name; with nothing under the cursor the command line of this screen."""
        focused = self.app.focused
        rows = focused.rows.chosen() if isinstance(focused, TableView) else []
        self.klamm.copy("\n".join(self.copy_text(row) for row in rows) or self.command_line())
