"""Actors, clients and segments of klamm brokers."""

from __future__ import annotations

from textual.app import ComposeResult

from klamm.client.text import count_text, duration_text, short_count, size_text
from klamm.tui.columns import Cell, Column
from klamm.tui.data.state import ActorRow, ClientRow, SegmentRow
from klamm.tui.place import Place
from klamm.tui.signs import Signs
from klamm.tui.table import TableView
from klamm.tui.view import View

BUSY = 0.5
"""An actor that runs half of the time or more holds others up."""
IDLE = 0.01
SLOW_MS = 100
"""A message that has waited this long in a mailbox is late."""
_BAR = 10


def actor_columns(signs: Signs) -> list[Column]:
    """Return the columns of actors."""

    def busy(row: ActorRow) -> Cell:
        if row.busy_share is None:
            return Cell("", "dim")
        full = "#" if signs.ascii else "▮"
        text = f"{full * min(_BAR, round(row.busy_share * _BAR))} {row.busy_share:.1%}"
        return Cell(text, "bad" if row.busy_share >= BUSY else "strong" if row.busy_share >= IDLE else "dim")

    def depth(row: ActorRow) -> Cell:
        return Cell(count_text(row.state.depth), "warn" if row.state.oldest_ms >= SLOW_MS else "")

    def oldest(row: ActorRow) -> Cell:
        late = row.state.oldest_ms >= SLOW_MS
        text = f"{row.state.oldest_ms:.1f}ms" if row.state.oldest_ms else "0"
        return Cell(f"{signs.warn} {text}" if late else text, "warn" if late else "dim")

    def rate(row: ActorRow) -> Cell:
        return Cell("" if row.handled_per_s is None else short_count(row.handled_per_s))

    def failure(row: ActorRow) -> Cell:
        found = row.state.last_failure
        return Cell(f"{signs.bad} {found}" if found else "", "bad")

    return [
        Column("actor", "ACTOR", lambda r: r.name, None, 24, flex=True, search=True),
        Column.figure("busy", "BUSY", lambda r: r.busy_share, busy, 17),
        Column.figure("rate", "HANDLED/s", lambda r: r.handled_per_s, rate, 10),
        Column.figure("depth", "DEPTH", lambda r: r.state.depth, depth, 7),
        Column.figure("oldest", "OLDEST", lambda r: r.state.oldest_ms, oldest, 10),
        Column.figure("handled", "HANDLED", lambda r: r.state.handled,
                      lambda r: short_count(r.state.handled), 9, drop=2),
        Column.figure("restarts", "RESTARTS", lambda r: r.state.restarts, None, 9, drop=3),
        Column("thread", "RUNS ON", lambda r: r.state.dispatcher, None, 8, drop=4, search=True),
        Column("failure", "LAST FAILURE", lambda r: r.state.last_failure, failure, 12, flex=True, drop=1, search=True),
    ]  # fmt: skip


class ActorsView(View):
    """Mailboxes of klamm brokers, like top."""

    HELP = (
        "The actors of a klamm broker, the busiest first. DEPTH counts the messages that wait in a mailbox, OLDEST for "
        "how long it has waited to be emptied. Other brokers have no actors to tell about."
    )

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView(
            "actors", actor_columns(self.signs), title="Actors", sort="-busy",
            key=lambda row: (row.broker, row.name), empty="No actor runs.",
        )  # fmt: skip

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return "klamm actor top"


def client_columns(signs: Signs) -> list[Column]:
    """Return the columns of clients."""

    def rate(value: float | None) -> Cell:
        return Cell("" if value is None else f"{size_text(value)}/s", "" if value else "dim")

    def software(row: ClientRow) -> Cell:
        return Cell(f"{row.state.software_name} {row.state.software_version}".strip(), "dim")

    def errors(row: ClientRow) -> Cell:
        return Cell(f"{signs.warn} {row.state.errors:,}", "warn") if row.state.errors else Cell("0", "dim")

    return [
        Column("client", "CLIENT", lambda r: r.state.client_id, None, 18, flex=True, search=True),
        Column("address", "ADDRESS", lambda r: r.address, lambda r: Cell(r.address, "dim"), 21, search=True),
        Column.figure("in", "IN", lambda r: r.in_per_s, lambda r: rate(r.in_per_s), 12),
        Column.figure("out", "OUT", lambda r: r.out_per_s, lambda r: rate(r.out_per_s), 12),
        Column.figure("requests", "REQ/s", lambda r: r.requests_per_s,
                      lambda r: "" if r.requests_per_s is None else short_count(r.requests_per_s), 7),
        Column.figure("errors", "ERRORS", lambda r: r.state.errors, errors, 8),
        Column("api", "LAST", lambda r: r.state.last_api, None, 16, drop=3, search=True),
        Column("groups", "GROUPS", lambda r: ",".join(r.state.groups), None, 12, flex=True, drop=2, search=True),
        Column.figure("since", "FOR", lambda r: r.connected_for_ms,
                      lambda r: duration_text(r.connected_for_ms), 7, drop=4),
        Column("software", "SOFTWARE", lambda r: r.state.software_name, software, 20, drop=5, search=True),
    ]  # fmt: skip


class ClientsView(View):
    """Who is connected."""

    HELP = (
        "Every connection to a klamm broker: who, with which software, how much comes and goes, what was refused. "
        "Other brokers do not tell; klamm group members shows their clients that are in groups."
    )

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView(
            "clients", client_columns(self.signs), title="Clients", sort="-in",
            key=lambda row: (row.broker, row.address), empty="Nobody is connected.",
        )  # fmt: skip

    def copy_text(self, row: ClientRow) -> str:
        """Return the client's name for itself."""
        return row.state.client_id or row.address

    def open_row(self, table: TableView, row: ClientRow) -> None:
        """Open the group it is in."""
        if row.state.groups:
            self.klamm.go(Place("group", row.state.groups[0]))
        else:
            self.klamm.say(row.state.last_error or "it is in no group, and nothing was refused", "dim")

    def command_line(self) -> str:
        """Return the command that lists the same."""
        return "klamm client list"


def segment_columns(signs: Signs) -> list[Column]:
    """Return the columns of segments."""

    def state(row: SegmentRow) -> Cell:
        if row.of.damage:
            return Cell(f"{signs.bad} {row.of.damage}", "bad")
        if not row.of.online:
            return Cell(f"{signs.bad} offline", "bad")
        return Cell("written to", "accent") if row.newest else Cell("closed", "dim")

    return [
        Column("topic", "TOPIC", lambda r: r.topic, None, 20, flex=True, search=True),
        Column("partition", "P", lambda r: r.partition, None, 4, right=True),
        Column("base", "FROM OFFSET", lambda r: r.base_offset, lambda r: count_text(r.base_offset), 14, right=True),
        Column("end", "TO", lambda r: r.end_offset, lambda r: count_text(r.end_offset), 14, right=True),
        Column.figure("span", "SPAN", lambda r: r.end_offset - r.base_offset,
                      lambda r: count_text(r.end_offset - r.base_offset), 12, drop=2),
        Column.figure("size", "SIZE", lambda r: r.size, lambda r: size_text(r.size), 11),
        Column("state", "STATE", state_of, state, 24, search=True),
        Column("broker", "BROKER", lambda r: r.broker, None, 7, right=True, drop=3),
    ]  # fmt: skip


def state_of(row: SegmentRow) -> str:
    """Return a segment's state in a word, to sort and filter by."""
    return "damaged" if row.of.damage else "offline" if not row.of.online else "open" if row.newest else "closed"


class SegmentsView(View):
    """The Arrow files of klamm brokers."""

    FILTERED = False
    HELP = (
        "The segment files of a klamm broker: a closed one is an Arrow IPC file that pyarrow and Polars open as it is. "
        "klamm segment dump DIR shows what is in one. :segments TOPIC shows one topic's."
    )

    def compose(self) -> ComposeResult:
        """Yield the table."""
        yield TableView(
            "segments", segment_columns(self.signs), title="Segments", sort="-size",
            key=lambda row: (row.broker, row.topic, row.partition, row.base_offset),
            empty="No partition holds a segment.",
        )  # fmt: skip

    def copy_text(self, row: SegmentRow) -> str:
        """Return the file's name below the data directory."""
        return f"{row.topic}-{row.partition}/{row.base_offset:020}.arrow"

    def open_row(self, table: TableView, row: SegmentRow) -> None:
        """Open the topic."""
        self.klamm.go(Place("topic", row.topic))

    def command_line(self) -> str:
        """Return the command that lists the same, where the data is."""
        return "klamm segment list"
