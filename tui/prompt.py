"""The line at the bottom that one types in: commands after ``:``, filters after ``/``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, Final, cast

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, Static

from klamm.client.text import printable
from klamm.tui import commands
from klamm.tui.styles import forget_lines

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp
    from klamm.tui.table import TableView
    from klamm.tui.text_pane import TextPane

LINES_KEPT: Final = 50
"""Command lines that Up finds again."""


class PromptInput(Input):
    """The input: Enter sends, Esc leaves, Tab completes, Up finds older lines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        # Looked at first, and done before the next key is: what follows Enter at once is meant for the panel.
        Binding("enter", "send", "Send", show=False, priority=True, id="prompt.send"),
        Binding("escape", "leave", "Leave", priority=True, id="prompt.leave"),
        Binding("tab", "complete(1)", "Complete", id="prompt.complete"),
        Binding("shift+tab", "complete(-1)", "Complete", show=False, id="prompt.complete-back"),
        Binding("up", "older(1)", "Older line", show=False, id="prompt.older"),
        Binding("down", "older(-1)", "Newer line", show=False, id="prompt.newer"),
    ]

    def on_unmount(self) -> None:
        """Let the screen forget this: Textual's input subscribes to a signal of it, and never takes that back."""
        self.screen.text_selection_started_signal.unsubscribe(self)

    @property
    def prompt(self) -> Prompt:
        """The prompt this is in."""
        return next(each for each in self.ancestors if isinstance(each, Prompt))

    async def action_send(self) -> None:
        """Send the line once all keys before Enter are in it."""
        await self._typed()
        self.prompt.send(self.value)

    async def _typed(self) -> None:
        """Wait until all keys that were pressed are in the line."""
        typed = asyncio.Event()
        self.call_later(typed.set)  # behind those keys in the same queue
        await typed.wait()

    async def action_leave(self) -> None:
        """Leave without doing anything."""
        await self._typed()
        self.prompt.cancel()
        self.prompt.leave()

    def action_complete(self, step: int) -> None:
        """Take the next completion."""
        self.prompt.complete(step)

    def action_older(self, step: int) -> None:
        """Take an older line, or a newer one."""
        self.prompt.older(step)


class Prompt(Vertical):
    """A sign and an input, with a line of candidates above."""

    SIGN: ClassVar[str] = ":"
    HINT: ClassVar[str] = ""
    """What stands in the empty input."""
    DEFAULT_CSS = """
    Prompt { dock: bottom; height: auto; width: 1fr; background: $surface; }
    Prompt Horizontal { height: 1; }
    Prompt #sign { width: auto; color: $text-accent; text-style: bold; }
    Prompt Input { border: none; height: 1; width: 1fr; padding: 0; background: $surface; }
    Prompt Input:focus { border: none; }
    Prompt #candidates { height: 1; color: $text-muted; background: $panel; width: 1fr; }
    """
    lines: ClassVar[list[str]] = []

    def __init__(self) -> None:
        super().__init__(id="prompt")
        self._candidates: list[str] = []
        self._at = -1
        self._completing = False
        self._older = 0
        self.came_from: Widget | None = None
        self.is_open = True

    @property
    def klamm(self) -> KlammApp:
        """The application."""
        return cast("KlammApp", self.app)

    def compose(self) -> ComposeResult:
        """Yield the candidates' line and the input."""
        yield Static("", id="candidates", markup=False)
        with Horizontal():
            yield Static(f" {self.SIGN}", id="sign", markup=False)
            yield PromptInput(self.initial(), placeholder=self.HINT, select_on_focus=False)

    def initial(self) -> str:
        """Return what stands in the input at first."""
        return ""

    def candidates(self, text: str) -> list[str]:
        """Return whole lines that a text can become."""
        del text
        return []

    def changed(self, text: str) -> None:
        """Do something while somebody types."""

    def submitted(self, text: str) -> None:
        """Do what was typed."""

    def cancel(self) -> None:
        """Take back what typing did."""

    def leave(self) -> None:
        """Close, and give the focus back."""
        self.is_open = False
        forget_lines(self)
        before = self.came_from
        if before is not None and before.is_attached and before.display:
            self.screen.set_focus(before)  # at once: the next key is meant for it
            self.remove()
            return
        view = self.klamm.view
        self.remove()
        if view is not None:
            view.call_after_refresh(view.focus_pane)

    def complete(self, step: int) -> None:
        """Put the next candidate into the input."""
        if self._candidates:
            self._at = (self._at + step) % len(self._candidates)
            self._put(self._candidates[self._at])
            self._show_candidates()

    def older(self, step: int) -> None:
        """Put an older line into the input."""
        if self.lines:
            self._older = max(0, min(len(self.lines), self._older + step))
            self._put(self.lines[-self._older] if self._older else "")

    def on_mount(self) -> None:
        """Show candidates from the start."""
        self._look(self.initial())

    def on_input_changed(self, event: Input.Changed) -> None:
        """Look for candidates anew, unless one was just put there."""
        if not self.is_open:
            return
        if self._completing:
            self._completing = False
            self.changed(event.value)
            return
        self._look(event.value)
        self.changed(event.value)

    def send(self, line: str) -> None:
        """Do what was typed."""
        text = line.strip()
        if text and text not in self.lines[-1:]:
            self.lines.append(text)
            del self.lines[:-LINES_KEPT]
        self.leave()
        self.submitted(text)

    def _put(self, text: str) -> None:
        self._completing = True
        field = self.query_one(Input)
        field.value = text
        field.cursor_position = len(text)

    def _look(self, text: str) -> None:
        self._candidates = self.candidates(text)
        self._at = -1
        self._show_candidates()

    def _show_candidates(self) -> None:
        line = self.query_one("#candidates", Static)
        line.display = bool(self._candidates)
        start = max(0, self._at)
        words: list[str] = []
        for place, each in enumerate(self._candidates[start:], start):
            word = printable(each.split(" ", 1)[1] if " " in each else each)
            words.append(f"[{word}]" if place == self._at else f" {word} ")
            if cell_len("".join(words)) > self.app.size.width:
                break
        line.update("".join(words))


class CommandPrompt(Prompt):
    """``:``."""

    HINT: ClassVar[str] = "a screen or a command; Tab completes"
    lines: ClassVar[list[str]] = []

    def look_again(self) -> None:
        """Take names that have become known into the candidates."""
        if self.is_open and self._at < 0:
            self._look(self.query_one(Input).value)

    def candidates(self, text: str) -> list[str]:
        """Return commands, or names of what the command takes."""
        return commands.complete(text.lstrip(), commands.completion_names(self.klamm))

    def submitted(self, text: str) -> None:
        """Carry out the line; a beginning that only one command has is that command."""
        commands.run(self.klamm, commands.expand(text))


class FilterPrompt(Prompt):
    """``/``: the table follows while one types; Enter keeps the filter, Esc brings back the one before."""

    SIGN: ClassVar[str] = "/"
    HINT: ClassVar[str] = "a word, !word, -f its letters, COLUMN>1k COLUMN=text"
    lines: ClassVar[list[str]] = []

    def __init__(self, table: TableView) -> None:
        super().__init__()
        self.table = table
        self._before = table.rows.filter.text

    def initial(self) -> str:
        """Return the filter there is."""
        return self._before

    def candidates(self, text: str) -> list[str]:
        """Return columns that the last word may begin to compare."""
        head, _, last = text.rpartition(" ")
        if not last or any(sign in last for sign in "=<>!"):
            return []
        prefix = f"{head} " if head else ""
        return [f"{prefix}{c.key}=" for c in self.table.rows.columns if c.title and c.key.startswith(last)]

    def changed(self, text: str) -> None:
        """Filter at once."""
        self.table.set_filter(text)

    def submitted(self, text: str) -> None:
        """Keep the filter."""
        self.table.set_filter(text)
        self.klamm.focus_on(self.table)

    def cancel(self) -> None:
        """Bring back the filter there was."""
        self.table.set_filter(self._before)


class FindPrompt(Prompt):
    """``/`` in a text: it follows while one types; n and N go on from there."""

    SIGN: ClassVar[str] = "/"
    HINT: ClassVar[str] = "a text; n and N go to the next one and the one before"
    lines: ClassVar[list[str]] = []

    def __init__(self, pane: TextPane) -> None:
        super().__init__()
        self.pane = pane

    def changed(self, text: str) -> None:
        """Look at once."""
        self.pane.seek(text)

    def submitted(self, text: str) -> None:
        """Stay there."""
        if not self.pane.seek(text):
            self.klamm.say(f"{text!r} is not there", "warn")
        self.klamm.focus_on(self.pane)

    def cancel(self) -> None:
        """Mark nothing."""
        self.pane.seek("")
