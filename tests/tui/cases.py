"""What the pictures show: one cluster in some trouble, made up and fixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from klamm.client.acls import Acl
from klamm.client.clusters import Feature, Voter
from klamm.client.configs import ConfigEntry
from klamm.client.errors import ResponseError, UnreachableError
from klamm.tui.data.broker import DirRow, LedRow
from klamm.tui.data.brokers import BrokerRow
from klamm.tui.data.group import EventRow, MemberRow
from klamm.tui.data.groups import GroupRow, PartitionRow
from klamm.tui.data.home import Figures, group_trouble
from klamm.tui.data.home import Trouble as HomeRow
from klamm.tui.data.moving import MoveRow
from klamm.tui.data.topic import ConsumerRow
from klamm.tui.data.topic import PartitionRow as TopicPartition
from klamm.tui.data.topics import TopicRow
from klamm.tui.part import Loaded, Part
from klamm.tui.place import Place
from tests.tui.scripted import NOW_MS, loaded

_TREND = tuple(float(value) for value in (3, 4, 4, 6, 7, 9, 8, 9, 11, 12))
_WEEK_MS = 604_800_000


def _topic(name: str, partitions: int, rate: float, written_ms: int | None, **more: Any) -> TopicRow:
    last = None if written_ms is None else NOW_MS - written_ms
    fields: dict[str, Any] = {
        "replication": 3, "under_replicated": 0, "offline": 0, "records": 0, "trend": _TREND, "size_bytes": 0,
        "cleanup": "delete", "retention_ms": _WEEK_MS, "min_isr": 1,
    }  # fmt: skip
    return TopicRow(name, partitions, rate=rate, last_write_ms=last, **{**fields, **more})


TOPICS = [
    _topic("orders", 12, 910.0, 200, records=22_918_004, size_bytes=41_000_000_000, min_isr=2),
    _topic("payments", 6, 310.0, 900, under_replicated=2, records=8_120_400, size_bytes=9_000_000_000),
    _topic(
        "ledger", 3, 4.2, 4_000, under_replicated=1, below_min_isr=1, records=120_400, size_bytes=70_000_000,
        cleanup="compact", retention_ms=None,
    ),
    _topic("clicks", 24, 5_200.0, 100, replication=2, offline=1, records=90_100_200, size_bytes=120_000_000_000),
    _topic("old-imports", 1, 0.0, 90 * 86_400_000, records=17, size_bytes=1_200, retention_ms=-1, trend=(0.0,)),
    _topic("empty", 1, 0.0, None, replication=1, trend=()),
    _topic("__consumer_offsets", 50, 12.0, 50, records=51_000, size_bytes=8_000_000, cleanup="compact", internal=True),
]  # fmt: skip
GROUPS = [
    GroupRow(
        "billing-sink", "Empty", "classic", 0, 1, 98_100_000, lag_time_ms=601_000_000, rate_in=1600.0, rate_out=0.0,
        trend=_TREND, direction="growing", never=True, used=0.994, loss_in_ms=2_460_000, because="time",
    ),
    GroupRow(
        "fraud-scorer", "Stable", "consumer", 4, 2, 77_204, no_commit=1, lag_time_ms=252_000, lag_time_kind="partial",
        rate_in=910.0, rate_out=600.0, trend=_TREND, direction="growing", never=True, used=0.0004,
        loss_in_ms=604_000_000,
    ),
    GroupRow(
        "search-index", "Stable", "classic", 8, 1, 41_870, lag_time_ms=38_000, lag_time_kind="interpolated",
        rate_in=5200.0, rate_out=7900.0, trend=_TREND[::-1], direction="draining", eta_ms=15_000, used=0.00006,
        loss_in_ms=604_000_000,
    ),
    GroupRow("email", "PreparingRebalance", "classic", 2, 1, 1_020, unavailable=1, rate_in=40.0, rate_out=0.0),
    GroupRow("checkout", "Stable", "classic", 3, 1, 12, lag_time_ms=180, rate_in=910.0, rate_out=910.0),
    GroupRow("audit", "Empty", "classic", 0, 3, 0, lag_time_ms=0, rate_in=5.0, rate_out=5.0, eta_ms=0),
]  # fmt: skip


def _partition(topic: str, index: int, committed: int | None, end: int | None, **more: Any) -> PartitionRow:
    lag = None if committed is None or end is None else end - committed
    fields: dict[str, Any] = {
        "lag_time_ms": None, "lag_time_kind": None, "rate_in": None, "rate_out": None, "eta_ms": None, "never": False,
        "owner": "", "problem": "",
    }  # fmt: skip
    return PartitionRow(topic, index, committed, end, lag, **{**fields, **more})


def _config(name: str, value: str | None, source: str, documentation: str, default: str | None = None) -> ConfigEntry:
    flags = {"read_only": source == "static", "sensitive": value is None, "overridden": source == "topic"}
    return ConfigEntry(name, value, source, documentation=documentation, default=default, **flags)


PARTITIONS = [
    _partition(
        "payments", 0, 88_101_220, 88_101_233, lag_time_ms=200, rate_in=152.0, rate_out=151.0, never=True,
        direction="steady", owner="fraud-7f9c@10.2.3.4",
    ),
    _partition(
        "payments", 3, 88_010_114, 88_087_291, lag_time_ms=252_000, rate_in=310.0, rate_out=12.0, never=True,
        owner="fraud-a1b2@10.2.9.1",
    ),
    _partition("payments", 5, None, 12_004),
    _partition("orders", 7, 4_120, None, problem="orders:7 has no leader now"),
]  # fmt: skip
CONFIGS = [
    _config("cleanup.policy", "delete", "default", "How old records go.", "delete"),
    _config("retention.ms", "86400000", "topic", "How long records stay.", "604800000"),
    _config("min.insync.replicas", "2", "broker", "How many must have a record.", "1"),
]
TOPIC = loaded(
    partitions=Part(
        [
            TopicPartition(0, 1, (1, 2, 3), (1, 2, 3), 88_000, 99_118, 152.0, 4_100_000),
            TopicPartition(1, 2, (2, 3, 1), (2, 1), 0, 99_410, 151.5, 4_200_000),
            TopicPartition(2, 1, (3, 1, 2), (1, 2, 3), 12, 99_003, 0.0, 3_900_000),
            TopicPartition(3, -1, (3,), (), None, None, None, None, "LEADER_NOT_AVAILABLE"),
        ],
        None,
        NOW_MS,
        "replicated 3x  304/s in",
    ),
    configs=CONFIGS,
    consumers=[ConsumerRow("fraud-scorer", "Stable", 4, 77_204, 298.0), ConsumerRow("audit", "Empty", 4, 0)],
    acls=[
        Acl("topic", "orders", "literal", "User:checkout", "*", "write", "allow"),
        Acl("topic", "ord", "prefixed", "User:guest", "*", "read", "deny"),
    ],
    flow=Part(
        [(NOW_MS - 90_000 + second * 1000, 304.0 - second % 7 * 10) for second in range(91)],
        None,
        NOW_MS,
        "groups read 298/s",
    ),
)
GROUP = loaded(
    partitions=Part(PARTITIONS, None, NOW_MS, "Stable  coordinator 2  range"),
    members=[
        MemberRow("fraud-7f9c-0001", "fraud-7f9c", "10.2.3.4", "", 2, 13, "payments 0,1"),
        MemberRow("fraud-a1b2-0002", "fraud-a1b2", "10.2.9.1", "pod-2", 2, 77_177, "payments 3,4"),
    ],
    events=[
        EventRow(3, NOW_MS - 4_000, "assigned", "fraud-a1b2 +payments:4"),
        EventRow(2, NOW_MS - 5_000, "left", "fraud-c3d4  fraud-c3d4-0003"),
        EventRow(1, NOW_MS - 60_000, "seen", "Stable, 3 members"),
    ],
    flow=[(NOW_MS - 120_000 + second * 1000, 60_000.0 + 150 * (second - 60) ** 2 / 36) for second in range(121)],
)
BROKERS = [
    BrokerRow(1, "b1.prod:9092", "a", "controller", "up", 104, 312, 0, 57 * 10**9, 400 * 10**9, 500 * 10**9, 1),
    BrokerRow(2, "b2.prod:9092", "b", "", "gone", 0, 311, 311, None, None, None, None),
    BrokerRow(3, "b3.prod:9092", "c", "", "up", 208, 309, 0, 91 * 10**9, 40 * 10**9, 500 * 10**9, 2),
]
BROKER = loaded(
    topics=[LedRow("orders", 4, 12, 0, 13_000_000_000), LedRow("payments", 2, 6, 1, 3_000_000_000)],
    configs=[
        _config("log.dirs", "/data/1,/data/2", "static", "Where records are."),
        _config("ssl.keystore.password", None, "static", "The store's password."),
    ],
    dirs=[DirRow("/data/1", 500_000_000_000, 40_000_000_000, 160, 91_000_000_000)],
)
CLUSTER = loaded(
    quorum=Part(
        [
            Voter(1, "leader", 81_220, 0, None, None),
            Voter(2, "voter", 81_100, 120, NOW_MS - 61_000, NOW_MS - 62_000),
            Voter(3, "voter", 81_220, 0, NOW_MS - 100, NOW_MS - 400),
        ],
        None, NOW_MS, "cluster MkU3OEVBNTcwNTJENDM2Qk  controller 1  3 brokers",
    ),
    reassignments=Part(
        [
            MoveRow("orders", 3, (1, 2, 3), (3,), (2,), 1_200_000_000, 4_100_000_000, 93_000),
            MoveRow("orders", 4, (1, 3), (3,), (2,)),
        ],
        None, NOW_MS, "29%: 1.1 GiB of 3.8 GiB",
    ),
    features=[Feature("kraft.version", 1, 0, 1), Feature("metadata.version", 29, 7, 29)],
)  # fmt: skip
_PAYMENTS = Place("topic", "payments")
ATTENTION = [
    HomeRow("oclicks", 3, "clicks", "topic", "1 of 24 partitions have no leader", "p7", Place("topic", "clicks")),
    *(trouble for trouble in (group_trouble(row) for row in GROUPS[:2]) if trouble is not None),
    HomeRow("upay", 2, "payments", "topic", "2 partitions under-replicated", "broker 2 not in sync", _PAYMENTS),
]
_LEADERS = ((1, 104), (2, 0), (3, 208))
FIGURES = Figures(
    7,
    97,
    6,
    3,
    6_436.0,
    7_100.0,
    _TREND * 6,
    _TREND[::-1] * 6,
    98_220_106,
    _LEADERS,
    (3.1, 4.0, 2.9),
    (1.2, 1.1, 1.6),
)
HOME = loaded(attention=Part(ATTENTION, None, NOW_MS, "4 of 16 objects need attention"), figures=[FIGURES])

DATA: Mapping[str, Loaded] = {
    "home": HOME,
    "topics": loaded(topics=TOPICS),
    "topic": TOPIC,
    "groups": loaded(groups=GROUPS, partitions=Part(PARTITIONS, None, NOW_MS, "fraud-scorer")),
    "group": GROUP,
    "brokers": loaded(brokers=Part(BROKERS, None, NOW_MS, "cluster MkU3OEVBNTcwNTJENDM2Qk")),
    "broker": BROKER,
    "cluster": CLUSTER,
}
EMPTY: Mapping[str, Loaded] = {
    kind: loaded(**dict.fromkeys(data.parts, ())) for kind, data in DATA.items() if kind != "home"
} | {"home": loaded(attention=Part((), None, NOW_MS, "all 4 objects are well"), figures=[FIGURES])}
UNREACHABLE = UnreachableError("tcp", "kafka.example:9092", "connection refused: nothing listens there", "klamm doctor")
DENIED: Mapping[str, Loaded] = {
    "groups": loaded(groups=GROUPS, partitions=ResponseError(30, None, name="billing-sink")),
    "topic": Loaded(NOW_MS, {**TOPIC.parts, "acls": Part(None, ResponseError(31, None, name="orders"), NOW_MS)}),
}
PLACES = {
    "home": Place("home"),
    "topics": Place("topics"),
    "topic": Place("topic", "orders"),
    "groups": Place("groups"),
    "group": Place("group", "fraud-scorer"),
    "brokers": Place("brokers"),
    "broker": Place("broker", "1"),
    "cluster": Place("cluster"),
}
