"""Where one is and was: a history of places like a browser's, and the views of those seen last.

Such views stay mounted, hidden and without polling, so that going back finds cursor, scroll and filter as they were.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from textual.app import App

from klamm.tui import registry
from klamm.tui.chrome import Footer, Header, TimeBar
from klamm.tui.place import Place
from klamm.tui.session import Session
from klamm.tui.styles import forget_lines
from klamm.tui.table import TableView
from klamm.tui.view import View

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

VIEWS_KEPT: Final = 12
"""Views that stay mounted; older ones are made anew when one goes back to them."""
HISTORY_MAX: Final = 100


class Entry:
    """One step of the history."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.view: View | None = None


class NavigatingApp(App[int], inherit_bindings=False):
    """An application with a history.

    Attributes:
        session: The cluster.
        history: Where one was; ``at`` is where one is.
    """

    def __init__(self, session: Session, place: Place) -> None:
        super().__init__()
        self.session = session
        self.history: list[Entry] = [Entry(place)]
        self.at = 0
        self._before = 0

    @property
    def view(self) -> View | None:
        """The view that is shown."""
        return self.history[self.at].view

    @property
    def trail(self) -> list[str]:
        """How one came here, for the header: the last three places."""
        return [str(entry.place) for entry in self.history[max(0, self.at - 2) : self.at + 1]]

    @property
    def _header(self) -> Header:
        return self.query_one("#header", Header)

    @property
    def _footer(self) -> Footer:
        return self.query_one("#footer", Footer)

    def say(self, text: str, style: str = "") -> None:
        """Show a message in the footer for some seconds."""
        self._footer.say(text, style)

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
                await _let_go(entry.view)

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
        self._header.update_from(cast("KlammApp", self))
        self._footer.settle()
        self.call_after_refresh(self._footer.update_keys)

    async def _unmount_old(self) -> None:
        mounted = [entry for entry in self.history if entry.view is not None]
        mounted.sort(key=lambda entry: abs(self.history.index(entry) - self.at))
        for entry in mounted[VIEWS_KEPT:]:
            if entry.view is not None:
                await _let_go(entry.view)
                entry.view = None

    async def use_session(self, session: Session, place: Place) -> None:
        """Change to another cluster: every view of the old one goes."""
        old = self.session
        await self.query(TimeBar).remove()
        views = [entry.view for entry in self.history if entry.view is not None]
        for view in views:
            await _let_go(view)
        self.session = session
        self.history, self.at, self._before = [Entry(place)], 0, 0
        self.screen.set_class(session.settings.env == "prod", "prod")
        await self._show(0)
        await asyncio.to_thread(old.close)

    async def action_step_back(self) -> None:
        """Take one step back: marks, the filter, the zoom, then the place. Never out of the application."""
        table = self.focused
        if isinstance(table, TableView):
            if table.rows.marks:
                table.rows.marks.clear()
                table.redraw()
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


async def _let_go(view: View) -> None:
    """Remove a view and the lines it drew."""
    forget_lines(view)
    await view.remove()
