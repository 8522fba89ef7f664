"""The life of one message: who wrote it, when it could be read, who has read it and who has not."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from klamm.client.tracing.model import Trace
from klamm.tui.data.trace import drawn
from klamm.tui.place import Place
from klamm.tui.text_pane import TextPane
from klamm.tui.view import View

_MARGIN = 3


class TraceView(View):
    """One message."""

    HELP = (
        "One message's life. Each line says what it is known from: a span of somebody's tracing, a commit of a group, "
        "or inferred from timestamps. Groups that have not passed it say how far behind they are. It is asked for "
        "again at each refresh: commits appear as they come. D compares it with the median of messages "
        "of its route before it: the same partition, groups and topics that it is sent on to."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "group", "The slowest group", show=False, id="trace.group"),
        Binding("d,D", "diff", "Compare with the median", id="trace.diff"),
    ]

    def compose(self) -> ComposeResult:
        """Yield the picture."""
        yield TextPane("trace", title=f"Trace of {self.place.name}")

    def on_mount(self) -> None:
        """Have it drawn as wide as the screen."""
        self.memory["width"] = self.app.size.width - _MARGIN
        super().on_mount()

    def on_resize(self) -> None:
        """Draw it again as wide as it may be now; nothing is asked for."""
        super().on_resize()
        self.memory["width"] = width = self.size.width - _MARGIN
        trace: Trace | None = self.memory.get("trace")
        if trace is not None and self.loaded is not None:
            others = self.memory.get("others") if self.memory.get("diff") else None
            self.query_one(TextPane).show_lines(drawn(trace, width, ascii_only=self.signs.ascii, others=others))

    def action_group(self) -> None:
        """Open the group that is behind most, or the first that passed it."""
        trace: Trace | None = self.memory.get("trace")
        groups = [] if trace is None else [hop for hop in trace.hops if hop.group]
        if not groups:
            self.klamm.say("no group reads this partition", "dim")
            return
        slowest = max(groups, key=lambda hop: (hop.lag or 0, hop.duration_ms or 0))
        self.klamm.go(Place("group", slowest.group or ""))

    def action_diff(self) -> None:
        """Compare it with the median of messages before it, or no longer; those are looked for once."""
        self.memory["diff"] = not self.memory.get("diff")
        self.klamm.say("comparing with messages before it" if self.memory["diff"] else "compared no longer", "dim")
        self.action_refresh_now()

    def command_line(self) -> str:
        """Return the command that shows the same."""
        return f"klamm trace {self.place.name}" + (" --diff" if self.memory.get("diff") else "")
