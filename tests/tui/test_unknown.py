"""What is only known in part is never shown as if it were all: a broker is away, a partition has no leader."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from klamm.client.cluster import Cluster
from klamm.client.errors import ResponseError
from klamm.client.groups import DescribedGroup, Member
from klamm.client.settings import Settings
from klamm.client.wire import BrokerNode, ClusterMetadata, PartitionMetadata, TopicMetadata
from klamm.tui.data.group import members_of
from klamm.tui.data.groups import PartitionRow
from klamm.tui.data.home import Figures
from klamm.tui.data.topic import ConsumerRow
from klamm.tui.data.topics import Known, row_of
from klamm.tui.part import Loaded
from klamm.tui.place import Place
from klamm.tui.screens import group, groups, home, topic, topics
from klamm.tui.session import Memory, Session
from klamm.tui.signs import ASCII, Signs

PARTITIONS = [PartitionMetadata(0, index, index % 3, 0, (index % 3,), (index % 3,), ()) for index in range(3)]
TOPIC = TopicMetadata(0, "orders", b"", internal=False, partitions=PARTITIONS)


@pytest.mark.parametrize(
    ("ends", "sized", "span", "size"),
    [
        ({0: 10, 1: 10, 2: 10}, {0, 1, 2}, "30", "2.0 KiB"),
        ({0: 10, 2: 10}, {0, 1, 2}, "≥20", "2.0 KiB"),
        ({0: 10, 1: 10, 2: 10}, {0, 2}, "30", "≥2.0 KiB"),
    ],
)
def test_a_topic_of_which_a_part_is_unknown_has_at_least_so_much(
    ends: dict[int, int], sized: set[int], span: str, size: str
) -> None:
    row = row_of(TOPIC, Known(ends={"orders": ends}, sizes={"orders": 2048}, sized=frozenset(sized)))
    cells = {column.key: column.cell(row).text for column in topics.columns(Signs(), lambda: 0)}
    assert (cells["span"], cells["size"]) == (span, size)


def test_of_a_topic_that_nobody_has_told_of_nothing_is_said() -> None:
    cells = {column.key: column.cell(row_of(TOPIC, Known())).text for column in topics.columns(Signs(), lambda: 0)}
    assert (cells["span"], cells["size"]) == ("", "")


def _partition(index: int, lag: int | None, problem: str = "") -> PartitionRow:
    return PartitionRow("orders", index, 5, None, lag, None, None, None, None, None, False, "a@b", problem)  # noqa: FBT003 (a row)


def test_the_lag_of_a_member_names_the_partitions_that_it_is_without() -> None:
    rows = [_partition(0, 7), _partition(1, None), _partition(2, None, "orders:2 has no leader now")]
    owned = [("orders", index) for index in range(3)]
    member = Member("m", None, "a", "/b", owned, ["orders"])
    (found,) = members_of(DescribedGroup("g", "Stable", "classic", "consumer", "range", None, 1, [member]), rows)
    lag = next(column for column in group.member_columns(Signs()) if column.key == "lag")
    assert lag.cell(found).text == "7 ∅1 ?1"


def test_the_lag_of_a_consumer_names_the_partitions_that_it_is_without() -> None:
    lag = next(column for column in topic.consumer_columns(Signs()) if column.key == "lag")
    assert lag.cell(ConsumerRow("g", "Stable", 3, 7, unavailable=2)).text == "7 ?2"
    assert lag.cell(ConsumerRow("g", "Stable", 2, None, unavailable=2)).text == "?2"
    assert lag.cell(ConsumerRow("g", "Stable", 3, 0)).text == "0"


def test_why_a_lag_is_not_known_stands_before_who_has_the_partition() -> None:
    columns = {column.key: column for column in groups.partition_columns(Signs())}
    row = _partition(2, None, "orders:2 has no leader now")
    assert (columns["lag"].cell(row).text, columns["owner"].cell(row).text) == ("?", "▲ has no leader now  a@b")


def test_home_counts_at_least_what_it_was_told() -> None:
    figures = Figures(7, 69, 5, 3, 10.0, 9.0, (1.0,), (1.0,), 77, ((1, 69),))

    def said(figures: Figures, signs: Signs) -> str:
        return "\n".join(
            "".join(getattr(cell, "text", "") for cell in line) for line in home.figure_lines(figures, signs, 100)
        )

    assert "≥" not in said(figures, Signs())
    assert "≥77" in said(figures._replace(lag_is_least=True), Signs())
    assert "groups >=5" in said(figures._replace(groups_are_least=True, lag_is_least=True), ASCII)


class Returning(Cluster):
    """A cluster whose broker 2 is gone from its metadata, and connects again once somebody has asked for them."""

    def __init__(self) -> None:
        super().__init__(Settings((), {}))
        self.there = {1: BrokerNode(1, "b1", 9092, None)}
        self.is_back = False

    def lost(self) -> list[int]:
        return [2]

    async def brokers(self) -> dict[int, BrokerNode]:
        return self.there

    async def metadata(self, topics: Iterable[str] | None = None) -> ClusterMetadata:
        assert topics == [], "no topics are asked for"
        if self.is_back:
            self.there[2] = BrokerNode(2, "b2", 9092, None)
        return ClusterMetadata([*self.there.values()], "c", 1, [])

    async def broker(self, broker_id: int) -> Any:
        if broker_id not in self.there:
            raise ResponseError(102, "no such broker")
        return None


async def test_a_broker_that_is_back_is_found_on_a_screen_that_asks_for_no_metadata() -> None:
    async def load(session: Session, _place: Place, _memory: Memory) -> Loaded:
        return Loaded(session.now_ms, {})

    session = Session(Settings((), {}), lambda _kind: load)
    session.cluster = cluster = Returning()
    session.start()
    try:
        await session.load(Place("cluster"), {})
        assert list(session.away) == [2]
        cluster.is_back = True
        await session.load(Place("cluster"), {})
        assert session.away == {}
        assert session.returned is not None
        assert session.returned[0] == 2
    finally:
        await asyncio.to_thread(session.close)
