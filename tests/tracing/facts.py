"""Traces made by hand, for pictures and rules: message orders:3@1842, written at a fixed time."""

from collections.abc import Iterable, Mapping
from typing import Any

from klamm.client.committed import Committed
from klamm.client.groups import Member
from klamm.client.tracing.assembly import assemble
from klamm.client.tracing.bystanders import Bystanders
from klamm.client.tracing.commits import History, Pace, Passing
from klamm.client.tracing.facts import Facts
from klamm.client.tracing.model import State, Trace
from klamm.client.tracing.reading import FoundRecord, Stretch
from klamm.records.batch import read_header
from klamm.records.record import Record, build_batch

WRITTEN = 1_795_700_000_000
OFFSET = 1842
TRACEPARENT = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def found(
    headers: Iterable[tuple[bytes, bytes | None]] = (), written: int = WRITTEN, offset: int = OFFSET, **batch: Any
) -> FoundRecord:
    """Return the record as a fetch gives it."""
    record = Record(offset, written, b"7711", b"x" * 100, tuple(headers))
    header = read_header(build_batch([record], **batch))
    return FoundRecord(record, header, Stretch(memoryview(b""), 2000, 2000, 0, ()))


def trace(
    record: FoundRecord | None = None,
    passings: Iterable[Passing] = (),
    committed: Mapping[str, int] | None = None,
    paces: Mapping[str, Pace] | None = None,
    states: Mapping[str, str] | None = None,
    uncommitted: Iterable[str] = (),
    state: State = "stored",
    now: float = WRITTEN + 7_000,
    **changed: Any,
) -> Trace:
    """Return the trace of what was found; groups that passed have committed 1,843 unless said otherwise."""
    by_group = {each.group: each for each in passings}
    offsets = dict.fromkeys(by_group, OFFSET + 1) | dict(committed or {})
    reader = Member("id", None, "worker-1", "/10.0.0.1", [("orders", 3)], [])
    bystanders = Bystanders(
        {**dict.fromkeys([*offsets, *uncommitted], "Stable"), **(states or {})},
        {name: Committed(offset, -1, "") for name, offset in offsets.items()},
        dict.fromkeys([*uncommitted, *(name for name, offset in offsets.items() if offset <= OFFSET)], reader),
        tuple(uncommitted),
        0,
        (),
    )
    facts = Facts(
        "orders", 3, OFFSET, state, (0, 2000), 2, record, bystanders,
        History(by_group, (), {}, 0), paces or {}, (), now,
    )  # fmt: skip
    return assemble(facts._replace(**changed))
