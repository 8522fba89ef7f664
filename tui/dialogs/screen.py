"""The dialog before a change.

The dialog shows what would happen, the same as a command line, what takes it back, and asks as much as the ladder in
``klamm.client.guard`` wants. Cancel has the focus, unless something has to be typed first; Enter in a field never
applies anything. A name that is wanted can be typed from wherever the focus is.

States: looking (what would happen is being found out) → ready or refused, again after each change of a field →
applying → closed, or refused with what went wrong.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from klamm.client.errors import ClientError, SettingsError
from klamm.client.guard import LEVELS, SEVERE, level_of
from klamm.client.text import count_text, printable
from klamm.tui.bars import bar
from klamm.tui.columns import Cell, TextLine
from klamm.tui.dialogs.change import Change, Done, Prepared, make
from klamm.tui.text_pane import TextPane

if TYPE_CHECKING:
    from klamm.tui.app import KlammApp

SETTLE_S: Final = 0.3
"""Somebody who pauses typing for this long wants to see what it would do."""

PROGRESS_S: Final = 0.25
"""How often it is shown how far a change is."""


class Choice(Widget, can_focus=True):
    """A word one can choose: Enter, Space or a click."""

    DEFAULT_CSS = """
    Choice { width: auto; height: 1; min-width: 10; margin: 0 1; background: $panel; color: $foreground; }
    Choice:focus { background: $primary; color: $foreground; text-style: bold; }
    Choice.-danger:focus { background: $error; }
    Choice.-off, Choice.-off:focus { color: $text-disabled; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "choose", "Choose", id="dialog.choose")]

    class Chosen(Message):
        """It was chosen."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    def __init__(self, label: str, name: str) -> None:
        super().__init__(name=name, id=name)
        self.label = label
        self.off = False

    def get_content_width(self, container: object, viewport: object) -> int:
        """Return the width of the label with its brackets."""
        return len(self.label) + 6

    def render_line(self, y: int) -> Strip:
        """Return the label; brackets tell focus without colour."""
        left, right = ("[ ", " ]") if self.has_focus else ("  ", "  ")
        text = f"{left}{self.label}{right}".center(self.size.width)
        return Strip([Segment(text, self.rich_style + Style.null())])

    def turn(self, *, off: bool) -> None:
        """Make it choosable, or not."""
        if off != self.off:
            self.off = off
            self.set_class(off, "-off")
            self.refresh()

    def action_choose(self) -> None:
        """Choose it; the dialog says why that cannot be where it is turned off."""
        self.post_message(self.Chosen(self))

    def on_click(self, event: events.Click) -> None:
        """Choose it."""
        self.action_choose()


class ChangeScreen(ModalScreen[Done | None]):
    """The dialog of one change."""

    DEFAULT_CSS = """
    ChangeScreen { align: center middle; background: $background 60%; }
    ChangeScreen #dialog {
        width: 96; max-width: 98%; height: auto; max-height: 96%; background: $surface; border: round $primary;
        padding: 0 1; border-title-style: bold; border-title-color: $foreground;
    }
    ChangeScreen.-prod #dialog { border: heavy $error; border-title-color: $error; }
    ChangeScreen .field { height: auto; }
    ChangeScreen .label { width: 14; color: $text-muted; }
    ChangeScreen .hint { width: auto; max-width: 50%; height: auto; color: $text-muted; padding: 0 1; }
    ChangeScreen Input { border: none; height: 1; padding: 0 1; width: 1fr; background: $panel; }
    ChangeScreen Input:focus { border: none; background: $primary 25%; }
    ChangeScreen TextPane { height: auto; min-height: 3; max-height: 16; background: $surface; margin-top: 1; }
    ChangeScreen #line { height: auto; max-height: 4; color: $text-accent; }
    ChangeScreen #problem { height: auto; color: $text-error; text-style: bold; }
    ChangeScreen #undo { height: auto; color: $text-muted; }
    ChangeScreen #choices { height: 1; margin-top: 1; }
    ChangeScreen #keys { width: 1fr; color: $text-muted; }
    ChangeScreen #confirm { display: none; }
    ChangeScreen #confirm.-wanted { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "Cancel", priority=True, id="dialog.cancel"),
        Binding("y,ctrl+y", "copy", "Copy the command line", id="dialog.copy"),
        Binding("pagedown", "scroll_plan(1)", "Plan down", show=False, id="dialog.plan-down"),
        Binding("pageup", "scroll_plan(-1)", "Plan up", show=False, id="dialog.plan-up"),
        # Looked at first, so that what is typed at once behind them goes to the next field.
        Binding("tab,down", "next_field", "Next", show=False, priority=True, id="dialog.next"),
        Binding("shift+tab,up", "previous_field", "Previous", show=False, priority=True, id="dialog.previous"),
        Binding("enter", "leave_field", "Next", show=False, priority=True, id="dialog.leave-field"),
    ]

    def __init__(self, app: KlammApp, change: Change) -> None:
        super().__init__()
        self._klamm = app
        self.change = change
        self.prepared: Prepared | None = None
        self._asked = 0
        self._looked_at: dict[str, str] = {}  # the fields that the plan on the screen is of
        self._applying = False

    # What is shown

    @property
    def _hint(self) -> str:
        copies = "^Y copies the line" if self.change.fields else "y copies the line"
        return f"Tab goes on, {copies}, Esc cancels"

    def compose(self) -> ComposeResult:
        """Yield fields, plan, command line, choices."""
        with Vertical(id="dialog"):
            for field in self.change.fields:
                with Horizontal(classes="field"):
                    yield Static(field.label, classes="label", markup=False)
                    yield Input(field.default, id=f"field-{field.key}", password=field.secret, select_on_focus=False)
                    yield Static(field.hint, classes="hint", markup=False)
            yield TextPane("plan", title="Plan")
            yield Static("", id="undo", markup=False)
            yield Static("", id="line", markup=False)
            yield Static("", id="problem", markup=False)
            with Horizontal(id="confirm", classes="field"):
                yield Static("", id="confirm-label", classes="label", markup=False)
                yield Input("", id="confirm-name", select_on_focus=False)
            with Horizontal(id="choices"):
                yield Static(self._hint, id="keys", markup=False)
                yield Choice("Cancel", "cancel")
                yield Choice("Apply", "apply")

    def on_mount(self) -> None:
        """Name the cluster, find out what would happen, focus Cancel."""
        settings = self._klamm.session.settings
        self.set_class(settings.env == "prod", "-prod")
        where = settings.context or ",".join(str(each) for each in settings.bootstrap[:1])
        env = f"  {settings.env.upper()}" if settings.env else ""
        about = self.change.where()
        title = f"{self.change.title}: {printable(about)}" if about else self.change.title
        self.query_one("#dialog").border_title = f"{title}   {printable(where)}{env}".replace("[", "\\[")
        pane = self.query_one(TextPane)
        pane.signs = self._klamm.signs
        pane.can_focus = False
        self.query_one("#apply", Choice).turn(off=True)
        empty = [field.key for field in self.change.fields if self.change.asks and not field.default]
        first = self.change.starts_at or next(iter(empty), "")
        self.query_one(f"#field-{first}" if first else "#cancel").focus()
        self._look()

    @property
    def values(self) -> dict[str, str]:
        """What the fields say."""
        return {field.key: self.query_one(f"#field-{field.key}", Input).value for field in self.change.fields}

    @property
    def level(self) -> int:
        """How much has to be confirmed."""
        return level_of(self.prepared.plan, self._klamm.session.settings) if self.prepared is not None else 0

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find out anew what would happen; a name that is typed only opens Apply."""
        if event.input.id == "confirm-name":
            self._open_apply()
        elif self.prepared is not None or self._asked:
            self.prepared = None
            self._open_apply()
            self._asked += 1
            asked = self._asked
            self.set_timer(SETTLE_S, lambda: self._look() if asked == self._asked else None)

    def on_key(self, event: events.Key) -> None:
        """Type the name that is wanted, also where Cancel or Apply has the focus."""
        confirm = self.query_one("#confirm-name", Input)
        if self._wants_name and isinstance(self.focused, Choice) and event.is_printable and event.character:
            event.stop()
            confirm.focus()
            confirm.insert_text_at_cursor(event.character)

    @property
    def _wants_name(self) -> bool:
        return self.query_one("#confirm").has_class("-wanted")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave Enter to the choices where no field has the focus."""
        return action != "leave_field" or isinstance(self.focused, Input)

    def action_next_field(self) -> None:
        """Go on to the next field, then to Cancel and Apply."""
        self.focus_next()

    def action_previous_field(self) -> None:
        """Go back to the field before."""
        self.focus_previous()

    def action_leave_field(self) -> None:
        """Go on to the next field: Enter in a field applies nothing."""
        self.focus_next()

    def _look(self) -> None:
        self._asked += 1
        self.run_worker(self._prepare(self._asked), group="prepare", exclusive=True)

    async def _prepare(self, asked: int) -> None:
        values = self.values
        session = self._klamm.session
        if self.prepared is None:
            self.query_one(TextPane).show_lines([Cell("looking …", "dim")])
        try:
            prepared = await session.run(lambda: self.change.prepare(session, values))
        except ClientError as error:
            if asked == self._asked and self.query(TextPane):
                self._refuse(error)
            return
        if asked == self._asked and self.query(TextPane):  # it may be closing, with its panels gone
            self.prepared, self._looked_at = prepared, values
            self._show_plan(prepared)

    def _show_plan(self, prepared: Prepared) -> None:
        plan, signs = prepared.plan, self._klamm.signs
        lines: list[TextLine] = [Cell(plan.what, "strong")]
        width = max(20, self.query_one(TextPane).size.width - 6)
        for line in plan.lines:
            style = "good" if line.startswith("+ ") else "bad" if line.startswith("- ") else ""
            parts = textwrap.wrap(printable(line), width, subsequent_indent="  ") or [""]
            lines += [Cell(f"  {part}", style) for part in parts]
        pane = self.query_one(TextPane)
        pane.show_lines(lines, f"Plan ({LEVELS[self.level]})")
        pane.styles.height = min(16, len(lines) + 1)
        undo = f"Undo: {prepared.undo}" if prepared.undo else ""
        if plan.cannot_undo:
            undo += ("\n" if undo else "") + f"{signs.warn} Cannot be undone: {plan.cannot_undo}"
        self.query_one("#undo", Static).update(undo)
        self.query_one("#line", Static).update(f"$ {printable(prepared.line(self._klamm.session.settings))}")
        problem = f"{signs.bad} {prepared.problem}" if prepared.problem else ""
        if self._klamm.is_read_only and not problem:
            problem = f"{signs.bad} {self._klamm.why_read_only}"
        self.query_one("#problem", Static).update(printable(problem))
        self.query_one("#confirm").set_class(self.level >= SEVERE and not problem, "-wanted")
        self.query_one("#confirm-label", Static).update("To apply type")
        self.query_one("#confirm-name", Input).placeholder = plan.name
        apply = self.query_one("#apply", Choice)
        apply.set_class(self.level > 1, "-danger")
        self._open_apply()

    def _refuse(self, error: ClientError, others: int = 0) -> None:
        code = "" if isinstance(error, SettingsError) else f"{error.code}: "  # which says nothing to who typed it
        text = f"{self._klamm.signs.bad} {code}{error.message}"
        if others:
            text += f" (and {others} more)"
        if error.next_step:
            text += f"  next: {error.next_step}"
        if self.prepared is None:
            self.query_one(TextPane).show_lines([Cell("", "dim")])
        self.query_one("#problem", Static).update(printable(text))
        self._open_apply()

    def _open_apply(self) -> None:
        prepared = self.prepared
        ready = prepared is not None and prepared.apply is not None and not prepared.problem
        if ready and prepared is not None and self.level >= SEVERE:
            ready = self.query_one("#confirm-name", Input).value == prepared.plan.name
        self.query_one("#apply", Choice).turn(off=not ready or self._applying or self._klamm.is_read_only)

    # What is done

    def on_choice_chosen(self, event: Choice.Chosen) -> None:
        """Cancel, or apply."""
        if event.choice.name == "cancel":
            self.action_cancel()
        elif event.choice.off:
            if self._wants_name:
                self.query_one("#confirm-name").focus()
        elif self.prepared is not None and not self._applying and self._looked_at == self.values:
            self._applying = True
            self._open_apply()
            self.query_one("#problem", Static).update("")
            self.query_one("#undo", Static).update("applying …")
            self.run_worker(self._apply(self.prepared), group="apply")
            self.set_interval(PROGRESS_S, self._show_progress)

    def _show_progress(self) -> None:
        """Show how far a change is that takes long."""
        found = self.change.progress
        if self._applying and found is not None:
            done, whole = found
            share = done / whole if whole else 1.0
            line = f"{bar(share, 30, self._klamm.signs)} {share:4.0%}  {count_text(done)} of {count_text(whole)}"
            self.query_one("#undo", Static).update(f"{line}  Esc stops it")

    async def _apply(self, prepared: Prepared) -> None:
        session = self._klamm.session
        try:
            done, number = await session.run(lambda: make(session, prepared))
        except ClientError as error:
            self._applying = False
            self._refuse(error)
            return
        self._applying = False
        if done.errors:
            self._refuse(done.errors[0], len(done.errors) - 1)
            self.prepared = None
            self._open_apply()
            self._klamm.refresh_view()
            return
        undo = "" if number is None else "; z takes it back"
        self._klamm.say(f"{self._klamm.signs.good} {done.summary}{undo}", "good")
        self._klamm.refresh_view()
        self.dismiss(done)
        if done.place is not None:
            self._klamm.go(done.place)

    def action_cancel(self) -> None:
        """Change nothing, or no more than has been asked for so far."""
        if self._applying:
            self.change.stopped = True
            self._klamm.say("stopped: what was asked for so far is made all the same", "warn")
            self._klamm.refresh_view()
        self.dismiss(None)

    def action_scroll_plan(self, step: int) -> None:
        """Show more of a plan that is longer than its panel."""
        self.query_one(TextPane).action_page(step)

    def action_copy(self) -> None:
        """Copy the command line."""
        if self.prepared is not None:
            line = self.prepared.line(self._klamm.session.settings)
            self._klamm.copy_to_clipboard(line)
            self.query_one("#keys", Static).update(f"{self._klamm.signs.good} copied the command line")
