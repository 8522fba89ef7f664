"""The panels of a screen: which there are, how they share the room, which one is in.

A screen lays its panels out itself, or is ``STACKED``: then each has as many lines as it has to show, one below the
other or, on a large terminal, two side by side; what finds no room folds to its title, but for the one that one is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual.containers import Vertical
from textual.events import DescendantFocus

from klamm.tui.part import Loaded, Part
from klamm.tui.room import beside, share, split
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.text_pane import TextPane

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

Pane = TableView | TextPane
WIDE: Final = 150
HIGH: Final = 30
"""From this size on panels stand side by side."""


class Panels(Vertical):
    """Panels, of which one may be zoomed: it has the whole screen then."""

    STACKED: ClassVar[bool] = False
    """Whether panels have as many lines as they need, and fold to their titles where there is no room."""
    DEFAULT_CSS = """
    Panels { width: 1fr; height: 1fr; }
    Panels .pane-hidden { display: none; }
    Panels .-folded { scrollbar-size-vertical: 0; }
    Panels.-grid { layout: grid; grid-size: 2; }
    """

    def __init__(self) -> None:
        super().__init__(id=None)
        self._zoomed = False
        self._focused_last: Pane | None = None
        self._panes: list[Pane] | None = None  # once all are mounted: none comes later
        self._heights: list[int] = []

    @property
    def klamm(self) -> KlammApp:
        """The application."""
        return cast("KlammApp", self.app)

    @property
    def signs(self) -> Signs:
        """The characters this terminal can show."""
        return self.klamm.signs

    @property
    def panes(self) -> list[Pane]:
        """The panels in order."""
        if self._panes is not None:
            return self._panes
        return [each for each in self.walk_children() if isinstance(each, TableView | TextPane)]

    def table(self, name: str) -> TableView:
        """Return the table that shows a part."""
        found = next(pane for pane in self.panes if pane.name == name)
        assert isinstance(found, TableView), f"{name} is no table"
        return found

    def show_parts(self, loaded: Loaded) -> None:
        """Give each panel its part."""
        for pane in self.panes:
            part = loaded.parts.get(pane.name or "")
            if part is None and loaded.error is not None:
                part = Part(None, loaded.error, 0)
            if part is not None:
                pane.show_part(part)
        self._arrange()

    # How they share the room

    def on_resize(self) -> None:
        """Share the room anew."""
        self._arrange()

    def _arrange(self) -> None:
        """Give each panel the lines it needs, as far as there are so many; nothing is laid out anew for the same."""
        if not self.STACKED or not self.size.height:
            return
        panes = self.panes
        in_pairs = self.size.width >= WIDE and self.size.height >= HIGH and not self._zoomed
        shown = [pane for pane in panes if not pane.has_class("pane-hidden")]
        columns = 2 if in_pairs else 1
        rows = [shown[place : place + columns] for place in range(0, len(shown), columns)]
        focused = self._focused_last if self._focused_last in shown else shown[0]
        first = next(place for place, row in enumerate(rows) if focused in row)
        heights = share(self.size.height, [beside([pane.need for pane in row]) for row in rows], first)
        if (arranged := [self.size.width, int(in_pairs), *heights]) == self._heights:
            return
        self._heights = arranged
        self.set_class(in_pairs, "-grid")
        if in_pairs:
            self.styles.grid_rows = " ".join(map(str, heights))
            left = split(self.size.width, [row[0].need for row in rows if len(row) > 1])
            self.styles.grid_columns = f"{left} 1fr"
        for height, row in zip(heights, rows, strict=True):
            for pane in row:
                pane.styles.height = height
                pane.styles.column_span = columns // len(row)
                pane.set_class(height == 1, "-folded")

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Unfold the panel that is focused, and remember it."""
        if isinstance(event.widget, TableView | TextPane):
            self._focused_last = event.widget
            self._arrange()

    # Which one is in

    def focus_pane(self) -> None:
        """Focus the panel that had the focus, or the first."""
        panes = [pane for pane in self.panes if pane.display]
        if panes and not any(pane.has_focus for pane in panes):
            self.klamm.focus_on(next((pane for pane in panes if pane is self._focused_last), panes[0]))

    def action_pane(self, step: int) -> None:
        """Focus the next panel; the zoomed one changes places with it."""
        panes = self.panes if self._zoomed else [pane for pane in self.panes if pane.display]
        focused = next((place for place, pane in enumerate(panes) if pane.has_focus), -1)
        if not panes:
            return
        target = panes[(focused + step) % len(panes)]
        if self._zoomed:
            self._zoom(target)
        self.klamm.focus_on(target)

    def action_zoom(self) -> None:
        """Let the focused panel have the whole screen, or take it back."""
        if self._zoomed:
            self.action_unzoom()
            return
        target = next((pane for pane in self.panes if pane.has_focus), None)
        if target is not None and len(self.panes) > 1:
            self._zoomed = True
            self._zoom(target)

    def action_unzoom(self) -> bool:
        """Show all panels; return whether one was zoomed."""
        was, self._zoomed = self._zoomed, False
        for each in self.walk_children():
            each.remove_class("pane-hidden")
        self._arrange()
        return was

    def _zoom(self, target: Pane) -> None:
        keep = {target, *target.ancestors}
        for each in self.walk_children():
            each.set_class(each not in keep, "pane-hidden")
        self._arrange()
