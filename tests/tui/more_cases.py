"""What the pictures of messages, traces, access and of what klamm's brokers tell show; made up and fixed."""

from __future__ import annotations

from collections.abc import Mapping

from klamm.client.acls import Acl
from klamm.client.decoding import RecordDecoder
from klamm.client.errors import ResponseError
from klamm.client.messages.record import Record
from klamm.client.tracing.model import Hop, Trace
from klamm.client.tracing.propagation import Propagated
from klamm.records.state_schema import ActorState, ClientState, PartitionStatus
from klamm.tui.columns import Cell
from klamm.tui.data.diff import DiffRow
from klamm.tui.data.messages import MessageRow
from klamm.tui.data.security import QuotaRow, UserRow
from klamm.tui.data.state import ActorRow, ClientRow, SegmentRow
from klamm.tui.data.trace import drawn
from klamm.tui.data.transactions import TransactionRow
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from tests.tui.scripted import NOW_MS, loaded

_TRACE_ID = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
_VALUES: list[tuple[bytes | None, bytes | None]] = [
    (b"cust-9", b'{"id": 7713, "total": 412.0, "items": ["tea", "cups"], "note": "an order"}'),
    (b"cust-4", b'{"id": 7711, "total": 101.5, "coupon": "SPRING"}'),
    (b"\x1b]0;owned\x07", b"\x1b[2J\x1b[31mno command\x1b[0m"),  # shown, never carried out
    (None, bytes(range(24))),
    (b"cust-1", None),
    ("kundin-ä-日本".encode(), "plain text, 日本語".encode()),
    (b"big", b"x" * 5_000_000),
]
_DECODER = RecordDecoder()
MESSAGES = [
    MessageRow(
        Record(
            "orders", place % 3, 99_118_870 + place, NOW_MS - 400 * place, "create", key, value,
            (("traceparent", _TRACE_ID), ("region", b"eu")) if place < 2 else (("h\x1b[2J", b"\x1b[2J"),),
        ),
        _DECODER,
    )
    for place, (key, value) in enumerate(_VALUES)
]  # fmt: skip
_HOPS = (
    Hop("produce", "orders", 0, 1842, NOW_MS - 9_000, NOW_MS - 8_990, "inferred", client_id="checkout"),
    Hop("append", "orders", 0, 1842, NOW_MS - 8_990, NOW_MS - 8_988, "span", broker=1),
    Hop("commit", "orders", 0, 1842, NOW_MS - 8_988, NOW_MS - 8_100, "commit", group="billing", committed_offset=1850),
    Hop("pending", "orders", 0, 1842, None, None, "inferred", group="mailer", lag=5_107, state="empty"),
)
_TRACE = Trace(
    "orders", 0, 1842, "stored", 0, 1900, 1, NOW_MS - 9_000, "create", b"cust-9", 74, Propagated(), _HOPS, (), (),
    float(NOW_MS),
)  # fmt: skip
_STATUS = PartitionStatus("orders", 0, leader=True, log_end_offset=30)
_CLIENT = ClientState("billing\x1b[31m", "librdkafka", "2.12", errors=4, groups=("billing",))

MORE: Mapping[str, Loaded] = {
    "messages": loaded(
        messages=Part(MESSAGES, None, NOW_MS, "from -50  following"),
        coverage=[[Cell("scanned 7", "strong"), Cell("  100%   7 match  12/s 3.0 KiB/s  p0 100% p1 100% p2 100%")]],
    ),
    "trace": loaded(trace=drawn(_TRACE, 77)),
    "diff": loaded(
        diff=Part(
            [
                DiffRow("(partitions)", ("12", "6"), (False, False)),
                DiffRow("cleanup.policy", ("delete", "compact"), (False, True)),
                DiffRow("retention.ms", ("604800000", None), (True, False)),
            ],
            None, NOW_MS, "3 of 35 differ",
        )
    ),
    "acls": loaded(
        acls=[
            Acl("topic", "pay", "prefixed", "User:bob", "*", "all", "deny"),
            Acl("topic", "orders", "literal", "User:alice", "10.0.0.7", "read", "allow"),
            Acl("cluster", "kafka-cluster", "literal", "User:admin", "*", "alter", "allow"),
        ]
    ),
    "users": loaded(users=[UserRow("carol", "SCRAM-SHA-512 (8192)"), UserRow("dave", "SCRAM-SHA-256 (4096)")]),
    "quotas": loaded(
        quotas=[
            QuotaRow("user=bob", "producer_byte_rate", 1_048_576.0),
            QuotaRow("user=(default)", "request_percentage", 50.0),
        ]
    ),
    "transactions": loaded(
        transactions=[
            TransactionRow("ledger-1", "Ongoing", 4021, 1, 1_080_000, 60_000, "ledger:0 ledger:1"),
            TransactionRow("idle-1", "CompleteCommit", 7, 1, None, 60_000, ""),
        ]
    ),
    "actors": loaded(
        actors=[
            ActorRow("orders-0", 1, ActorState("data", 12, 5_000, 9, 80.0, 250.0, 2, "AssertionError: x"), 0.61, 120.0),
            ActorRow("Supervisor", 1, ActorState("data", 0, 3, 3, 0.1), None, None),
        ]
    ),
    "clients": loaded(clients=[ClientRow("10.0.0.7:50112", 1, _CLIENT, 65_000, 1_048_576.0, 0.0, 12.0)]),
    "segments": loaded(
        segments=[
            SegmentRow("orders", 0, 1, 0, 20, 4_096, newest=False, of=_STATUS),
            SegmentRow("orders", 0, 1, 20, 30, 1_024, newest=True, of=_STATUS),
            SegmentRow("ledger", 0, 1, 0, 9, 512, newest=True, of=_STATUS._replace(damage="a byte at 77")),
        ]
    ),
}  # fmt: skip
MORE_EMPTY: Mapping[str, Loaded] = {kind: loaded(**dict.fromkeys(data.parts, ())) for kind, data in MORE.items()}
MORE_DENIED: Mapping[str, Loaded] = {
    kind: loaded(**{name: ResponseError(31, None, name="kafka-cluster") for name in MORE[kind].parts})
    for kind in ("acls", "users", "quotas", "transactions", "diff")
}
MORE_PLACES = {kind: Place(kind) for kind in MORE} | {
    "messages": Place("messages", "orders"),
    "trace": Place("trace", "orders:0@1842"),
    "diff": Place("diff", "", "topic orders payments"),
}
