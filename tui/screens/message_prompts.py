"""The lines that one types in over messages: what to look for, what to copy, where to write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from klamm.client.messages import jsonl
from klamm.client.text import counted, reason_of
from klamm.tui.data.messages import MessageRow
from klamm.tui.prompt import Prompt

if TYPE_CHECKING:
    from klamm.tui.screens.messages import MessagesView


class SearchPrompt(Prompt):
    """``/``: a word or an expression; Enter searches from where the view begins, an empty line shows all again."""

    SIGN: ClassVar[str] = "/"
    HINT: ClassVar[str] = 'a word, or value.total > 100 and h.region == "eu"; Enter searches the whole topic'
    lines: ClassVar[list[str]] = []

    def __init__(self, view: MessagesView) -> None:
        super().__init__()
        self.view = view

    def candidates(self, text: str) -> list[str]:
        """Return what an expression may begin with."""
        head, _, last = text.rpartition(" ")
        prefix = f"{head} " if head else ""
        words = ("key", "value", "partition", "offset", "time", "size", "h.", "and", "or", "not", "contains")
        return [prefix + word for word in words if last and word.startswith(last) and word != last]

    def submitted(self, text: str) -> None:
        """Search."""
        self.view.search(text)


class CopyPrompt(Prompt):
    """What to copy: one letter is enough."""

    SIGN: ClassVar[str] = "copy "
    lines: ClassVar[list[str]] = []
    WORDS: ClassVar[tuple[str, ...]] = ("value", "key", "headers", "offset", "json", "command")

    def __init__(self, view: MessagesView, row: MessageRow) -> None:
        super().__init__()
        self.view, self.row = view, row

    def candidates(self, text: str) -> list[str]:
        """Return what can be copied."""
        return [word for word in self.WORDS if word.startswith(text)]

    def submitted(self, text: str) -> None:
        """Copy; nothing typed is the value."""
        record = self.row.record
        word = next((each for each in self.WORDS if each.startswith(text)), "")
        copied = {
            "value": _plain(record.value),
            "key": _plain(record.key),
            "headers": "\n".join(f"{name}={_plain(value)}" for name, value in record.headers),
            "offset": self.row.name,
            "json": self.view.copy_text(self.row),
            "command": f"klamm message get {self.row.name}",
        }.get(word)
        if copied is None:
            self.klamm.say(f"nothing is called {text!r}; there is {', '.join(self.WORDS)}", "warn")
        else:
            self.klamm.copy(copied)


class WritePrompt(Prompt):
    """A file for the marked records, or for all that are shown: JSON lines that ``klamm produce`` takes."""

    SIGN: ClassVar[str] = "write to "
    lines: ClassVar[list[str]] = []

    def __init__(self, view: MessagesView) -> None:
        super().__init__()
        self.view = view

    def initial(self) -> str:
        """Return a name."""
        return f"{self.view.place.name}.jsonl"

    def submitted(self, text: str) -> None:
        """Write, never over a file that is there."""
        rows = self.view.table("messages").rows
        chosen = rows.chosen() if rows.marks else list(rows.shown)
        self.view.run_worker(_write(self.view, Path(text).expanduser(), chosen), group="write")


async def _write(view: MessagesView, path: Path, rows: Sequence[MessageRow]) -> None:
    """Write on a thread: values may have megabytes."""

    def write() -> None:
        with path.open("x", encoding="utf-8") as file:
            file.writelines(jsonl.write(row.record) for row in rows)

    try:
        await asyncio.to_thread(write)
    except OSError as error:
        view.klamm.say(f"cannot write {path}: {reason_of(error)}", "bad")
    else:
        view.klamm.say(f"{counted(len(rows), 'record')} written to {path}", "good")


def _plain(data: bytes | None) -> str:
    return "" if data is None else data.decode("utf-8", "replace")
