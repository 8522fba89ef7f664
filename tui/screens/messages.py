"""Messages of one topic: what comes, what was, what matches; one record in full below."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from klamm.client.messages import jsonl
from klamm.client.text import counted, printable
from klamm.tui.columns import Cell, Column, TextLine
from klamm.tui.data.messages import CELL_BYTES_MAX, MessageRow, Query, Tail
from klamm.tui.data.record_lines import FORMS, detail_lines, header_lines, whole_lines
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.prompt import FindPrompt, Prompt
from klamm.tui.screens.message_prompts import CopyPrompt, SearchPrompt, WritePrompt
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.text_pane import TextPane
from klamm.tui.view import View

if TYPE_CHECKING:
    from textual.worker import Worker

    from klamm.tui.dialogs.change import MenuItem

_WIDE = 400
"""What the column of values would like to have: all that is left."""


_NOTHING = "No record yet.\n:from start looks from the beginning; p produces one."


def nothing_yet(tail: Tail) -> str:
    """Return what stands in the table while it has no record."""
    query, scan = tail.query, tail.scan
    if not query.where:
        return _NOTHING
    if scan is None or not tail.is_caught_up:
        return f"Looking for {printable(query.where)}: nothing so far.\nEsc ends the search."
    return (
        f"Nothing in {counted(scan.scanned, 'record')} from {query.start} on matches {printable(query.where)}.\n"
        "What comes is looked at as well. Esc shows all records again."
    )


def columns(signs: Signs) -> list[Column]:
    """Return the columns."""

    def time(row: MessageRow) -> Cell:
        from datetime import datetime

        at_ms = row.record.timestamp_ms
        if at_ms < 0:
            return Cell("none", "dim")
        at = datetime.fromtimestamp(at_ms / 1000).astimezone()
        return Cell(f"{at:%H:%M:%S}.{at_ms % 1000:03}")

    def key(row: MessageRow) -> Cell:
        return Cell(row.key.text, "dim" if row.record.key is None else "accent")

    def value(row: MessageRow) -> Cell:
        return Cell(row.value.text, "dim" if row.record.value is None else "")

    def form(row: MessageRow) -> Cell:
        found = row.value
        return Cell(f"{signs.warn} {found.kind}", "warn") if found.note else Cell(found.kind, "dim")

    def trace(row: MessageRow) -> Cell:
        return Cell(row.trace.replace("*", signs.mark), "accent" if row.trace.startswith("*") else "dim")

    return [
        Column("partition", "P", lambda r: r.record.partition, None, 4, right=True),
        Column("offset", "OFFSET", lambda r: r.record.offset, lambda r: f"{r.record.offset:,}", 13, right=True),
        Column("time", "TIME", lambda r: (r.record.timestamp_ms, r.record.offset), time, 12, descending=True),
        Column("key", "KEY", lambda r: r.record.key or b"", key, 16, drop=2),
        Column("value", "VALUE", lambda _: None, value, 20, flex=True, wanted=_WIDE),
        Column("form", "AS", lambda r: r.value.kind, form, 13, drop=3),
        Column("trace", "TRACE", lambda r: r.trace, trace, 6, drop=4),
    ]


class MessagesView(View):
    """One topic's messages."""

    HELP = (
        "The newest records, and those that come. / searches the whole topic from where you stand: a word, or an "
        'expression like value.total > 100 and h.region == "eu". :from -1h, :from start and :from @2026-11-23T10:00 '
        "look back. The line above the table says how much was looked at: nothing is missed silently. 1 2 3 4 show "
        "the value as JSON, text, hex, and what is known of its schema; o opens it in the pager, e edits the record in "
        "$EDITOR and sends what comes of it, T follows it."
    )
    DEFAULT_CSS = """
    MessagesView #coverage { height: 2; }
    MessagesView #messages { height: 2fr; }
    MessagesView #detail { height: 1fr; }
    MessagesView #value { width: 2fr; }
    MessagesView #headers { width: 1fr; }
    """
    FILTER_LABEL = "Search"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow/pause", id="messages.follow"),
        Binding("T", "trace", "Trace", id="messages.trace"),
        Binding("R", "resend", "Resend…", priority=True, id="messages.resend"),
        Binding("e", "edit", "Edit…", id="messages.edit"),
        Binding("p", "produce", "Produce…", priority=True, id="messages.produce"),
        Binding("o", "pager", "Value in the pager", show=False, id="messages.pager"),
        Binding("w", "write", "Write to a file", priority=True, id="messages.write"),
        *(
            Binding(str(number), f"form('{form}')", f"Value as {form}", show=False, id=f"messages.as-{form}")
            for number, form in enumerate(FORMS, 1)
        ),
    ]

    form = FORMS[0]
    _held: MessageRow | None = None
    """The record that has the screen: what comes meanwhile does not change it."""

    def compose(self) -> ComposeResult:
        """Yield coverage, records, and the record under the cursor."""
        coverage = TextPane("coverage", title="Coverage")
        coverage.can_focus = False
        table = TableView(
            "messages",
            columns(self.signs),
            title=self.place.name,
            key=lambda row: (row.record.partition, row.record.offset),
            sort="-time",
            empty=_NOTHING,
        )
        value = TextPane("value", title="Value", empty="")
        headers = TextPane("headers", title="Headers", empty="")
        for pane, name in ((coverage, "coverage"), (table, "messages"), (value, "value"), (headers, "headers")):
            pane.id = name
        yield coverage
        yield table
        with Horizontal(id="detail"):
            yield value
            yield headers

    # The search

    @property
    def query_now(self) -> Query:
        """What is looked for."""
        found: Query = self.memory.get("query", Query())
        return found

    def ask(self, query: Query) -> None:
        """Look for something else."""
        self.memory["query"] = query
        table = self.table("messages")
        table.sort_by("-time" if query.follow else "time")
        self.refresh_now()

    def make_filter_prompt(self) -> Prompt:
        """Return the line that ``/`` opens: a search of the topic, or of the value where that has the focus."""
        if isinstance(self.klamm.focused, TextPane):
            return FindPrompt(self.klamm.focused)
        return SearchPrompt(self)

    def run_command(self, word: str, rest: str) -> bool:
        """``:from POSITION`` looks from there; ``:where FILTER`` searches."""
        if word == "where":
            self.search(rest)
        elif word == "from" and rest:
            self.ask(self.query_now._replace(start=rest, follow=False))
        else:
            return False
        return True

    def search(self, text: str) -> None:
        """Search the topic; a mistake in an expression is said. An empty text shows all again."""
        from klamm.client.messages.conditions import FilterError
        from klamm.tui.data.messages import condition_of

        try:
            condition_of(text)
        except FilterError as error:
            self.klamm.say(f"at {text[error.place :]!r}: {error.why}", "bad")
            return
        query = self.query_now
        start = "start" if text and query.start == Query().start else query.start
        self.ask(Query(start, text, follow=False) if text else Query())

    # The record under the cursor

    @property
    def current(self) -> MessageRow | None:
        """The record that has the screen, or the row under the cursor."""
        row = self._held or self.table("messages").rows.current
        return row if isinstance(row, MessageRow) else None

    def rows_moved(self, table: TableView) -> None:
        """Show the record under the cursor."""
        del table
        self._show_current()

    def _show_current(self) -> None:
        row = self.current
        shown = (None if row is None else row.name, self.form)
        if self.memory.get("shown") == shown:
            return
        self.memory["shown"] = shown
        value, headers = self.query_one("#value", TextPane), self.query_one("#headers", TextPane)
        if row is None:
            value.show_lines([], "Value")
            headers.show_lines([], "Headers")
            return
        headers.show_lines(header_lines(row.record, headers.size.width - 2), row.name)
        self.workers.cancel_group(self, "value")
        if len(row.record.value or b"") <= CELL_BYTES_MAX:  # laid out sooner than the other thread is asked
            self._show_lines(row, value, detail_lines(row, self.form, value.size.width - 2))
        else:
            # Not its coroutine: of two in one turn the first is cancelled before it begins, and would never be awaited.
            show = partial(self._show_large, row, value)
            _: Worker[None] = self.run_worker(show, group="value", exclusive=True)

    async def _show_large(self, row: MessageRow, pane: TextPane) -> None:
        """Lay out where it does not hold up a key press: a value may have megabytes."""
        form, width = self.form, pane.size.width - 2

        async def found() -> list[TextLine]:
            return detail_lines(row, form, width)

        self._show_lines(row, pane, await self.session.run(found))

    def _show_lines(self, row: MessageRow, pane: TextPane, lines: list[TextLine]) -> None:
        held = row.name if self._held else ""
        pane.show_lines(lines, f"Value as {self.form}  ({row.value.kind})  {held}".rstrip())

    def received(self, loaded: Loaded) -> None:
        """Say of an empty table whether anything is still looked for."""
        tail: Tail | None = self.memory.get("live")
        self.table("messages").empty = _NOTHING if tail is None else nothing_yet(tail)

    def open_row(self, table: TableView, row: Any) -> None:
        """Let the value have the screen; Esc takes it back."""
        del table, row
        pane = self.query_one("#value", TextPane)
        self._zoomed = True
        self._zoom(pane)
        self.klamm.focus_on(pane)

    def copy_text(self, row: MessageRow) -> str:
        """Return the record in the lossless form."""
        return jsonl.write(row.record).rstrip()

    def command_line(self) -> str:
        """Return the command that finds the same."""
        import shlex

        return shlex.join(["klamm", "message", "find", self.place.name, *self.query_now.words])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer no menu of what can be destroyed: nothing can."""
        return action != "danger_menu" and super().check_action(action, parameters)

    def changes(self) -> list[MenuItem]:
        """Return what can be done here."""
        from klamm.tui.dialogs.change import MenuItem
        from klamm.tui.dialogs.messages import ProduceRecord

        row = self.current
        items = [MenuItem("Produce a record", lambda: ProduceRecord(self.place.name))]
        if row is not None:
            record = row.record
            items.append(MenuItem(f"Resend {row.name}", lambda: ProduceRecord(self.place.name, record)))
        return items

    # Actions

    def action_follow(self) -> None:
        """Follow the log, or hold still."""
        tail: Tail | None = self.memory.get("live")
        if tail is None:
            return
        if tail.is_full:
            self.run_worker(self._go_on(tail), group="live")
            return
        follow = tail.is_paused or not self.query_now.follow
        self.memory["query"] = self.query_now._replace(follow=follow)
        self.run_worker(self.session.run(lambda: tail.follow(on=follow)), group="live")
        self.klamm.say("following what comes" if follow else "paused: f goes on", "good" if follow else "warn")

    async def _go_on(self, tail: Tail) -> None:
        async def more() -> None:
            tail.go_on()

        await self.session.run(more)
        self.klamm.say("going on; of what was found the first leave the screen, w writes them to a file before")
        self.refresh_now()

    def action_unzoom(self) -> bool:
        """Show all panels, or end a search; return whether there was either."""
        if super().action_unzoom():
            self._held = None
            self.call_after_refresh(self._show_again)
            return True
        searched = bool(self.query_now.where)
        if searched:
            self.search("")
        return searched

    def _zoom(self, target: TableView | TextPane) -> None:
        """Give a panel the screen; a record's stays that record's."""
        super()._zoom(target)
        self._held = None if isinstance(target, TableView) else self.current
        self.call_after_refresh(self._show_again)

    def _show_again(self) -> None:
        self.memory.pop("shown", None)
        self._show_current()

    def on_resize(self) -> None:
        """Fold the value to the new width."""
        super().on_resize()
        self.call_after_refresh(self._show_again)

    def focus_pane(self) -> None:
        """Focus the table: the line above it takes no keys."""
        if self.display and not any(pane.has_focus for pane in self.panes):
            self.klamm.focus_on(self.table("messages"))

    def action_form(self, form: str) -> None:
        """Show values in another form."""
        self.form = form
        self._show_current()

    def action_trace(self) -> None:
        """Follow the record under the cursor."""
        row = self.current
        if row is None:
            self.klamm.say("there is no record to follow", "dim")
        else:
            self.klamm.go(Place("trace", row.name))

    def action_produce(self) -> None:
        """Produce a record."""
        from klamm.tui.dialogs.messages import ProduceRecord

        self.klamm.open_change(ProduceRecord(self.place.name))

    def action_resend(self) -> None:
        """Produce the record under the cursor again, edited or as it is."""
        from klamm.tui.dialogs.messages import ProduceRecord

        row = self.current
        if row is None:
            self.klamm.say("there is no record to resend", "dim")
        else:
            self.klamm.open_change(ProduceRecord(self.place.name, row.record))

    def action_edit(self) -> None:
        """Edit the record under the cursor in the person's editor; what would be sent is shown first."""
        from klamm.client.errors import ClientError
        from klamm.client.resending import Changes, headers_again
        from klamm.tui import outside
        from klamm.tui.dialogs.messages import SendEdited
        from klamm.tui.dialogs.record_text import read_text, write_text

        row = self.current
        if row is None:
            self.klamm.say("there is no record to edit", "dim")
            return
        record = row.record._replace(headers=headers_again(row.record.headers, Changes()))
        before = write_text(record)
        after = outside.edit(self.klamm, "record.txt", before)
        if after is None:
            self.klamm.say("nothing was edited; R sends it again as it is", "dim")
            return
        try:
            draft = read_text(after, record)
        except ClientError as error:
            self.klamm.say(error.message + (f"  {error.next_step}" if error.next_step else ""), "bad")
            return
        self.klamm.open_change(SendEdited(row.record, draft, before, after))

    def action_pager(self) -> None:
        """Show the value under the cursor, all of it, in the person's pager."""
        row = self.current
        if row is None:
            self.klamm.say("there is no value to show", "dim")
        else:
            self.run_worker(self._page(row), group="pager", exclusive=True)

    async def _page(self, row: MessageRow) -> None:
        from klamm.tui import outside

        form = self.form

        async def found() -> list[str]:
            return whole_lines(row, form)

        outside.page(self.klamm, f"value.{'json' if form == 'json' else 'txt'}", await self.session.run(found))

    async def action_copy(self) -> None:
        """Ask what of the record is to be copied."""
        row = self.current
        if row is None:
            self.klamm.copy(self.command_line())
        else:
            await self.klamm.open_prompt(CopyPrompt(self, row))

    async def action_write(self) -> None:
        """Ask which file the marked records go to, or all that are shown."""
        await self.klamm.open_prompt(WritePrompt(self))
