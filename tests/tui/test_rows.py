"""A table without a screen: order, filter, marks, and a cursor that stays with its row."""

from __future__ import annotations

import random
from typing import NamedTuple

import pytest

from klamm.tui.columns import Column, fit
from klamm.tui.filtering import parse_filter
from klamm.tui.rows import Rows


class Thing(NamedTuple):
    name: str
    lag: int | None
    state: str = "Stable"


COLUMNS = [
    Column("name", "NAME", lambda row: row.name, width=20, flex=True, search=True),
    Column.figure("lag", "LAG", lambda row: row.lag),
    Column("state", "STATE", lambda row: row.state, width=8, drop=1),
]
THINGS = [Thing("billing", 5), Thing("audit", None), Thing("search", 1_200), Thing("email", 0, "Empty")]


def rows(sort: str = "", things: list[Thing] = THINGS) -> Rows:
    made = Rows(COLUMNS, lambda row: row.name, sort)
    made.replace(things)
    return made


def names(found: Rows) -> list[str]:
    return [row.name for row in found.shown]


def test_what_is_unknown_sorts_last_both_ways() -> None:
    assert names(rows("lag")) == ["email", "billing", "search", "audit"]
    assert names(rows("-lag")) == ["search", "billing", "email", "audit"]


def test_the_cursor_stays_with_its_row_when_rows_move() -> None:
    found = rows("-lag")
    found.move_to(1)
    found.replace([Thing("billing", 9_000), *THINGS[1:]])
    assert found.current == Thing("billing", 9_000)
    assert found.cursor == 0


def test_a_cursor_that_nobody_moved_stays_at_the_top() -> None:
    found = rows("-lag")
    found.replace([Thing("billing", 9_000), *THINGS[1:]])
    assert found.current is not None
    assert found.current.name == "billing"
    found.replace([Thing("email", 10_000), *THINGS[:3]])
    assert found.current.name == "email"


def test_a_row_that_is_gone_leaves_the_cursor_where_it_was() -> None:
    found = rows("name")
    found.move_to(3)
    found.replace(THINGS[:2])
    assert found.cursor == 1


def test_marks_stay_with_rows_and_go_with_them() -> None:
    found = rows("name")
    found.toggle_mark()
    found.toggle_mark()
    found.replace([thing for thing in THINGS if thing.name != "audit"])
    assert [row.name for row in found.chosen()] == ["billing"]


def test_a_range_is_marked_from_the_last_mark_to_the_cursor() -> None:
    found = rows("name")
    found.toggle_mark()
    found.move_to(2)
    found.mark_range()
    assert list(found.marks) == ["audit", "billing", "email"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["billing", "audit", "search", "email"]),
        ("ear", ["search"]),
        ("!ear", ["billing", "audit", "email"]),
        ("-f blg", ["billing"]),
        ("lag>1k", ["search"]),
        ("lag<=5", ["billing", "email"]),
        ("!lag>1", ["audit", "email"]),
        ("state=Empty", ["email"]),
        ("state!=Empty lag>1", ["billing", "search"]),
        ("NAME=b*", ["billing"]),
    ],
)
def test_a_filter_keeps(text: str, expected: list[str]) -> None:
    found = rows()
    found.set_filter(text)
    assert names(found) == expected
    assert found.filter.problem == ""


@pytest.mark.parametrize(("text", "problem"), [("nope>1", "no column 'nope'"), ("lag>x", "'x' is no number")])
def test_a_filter_that_cannot_be_meant_keeps_all_and_says_why(text: str, problem: str) -> None:
    found = rows()
    found.set_filter(text)
    assert len(found.shown) == len(THINGS)
    assert problem in found.filter.problem


def test_units_of_time_and_size_are_understood() -> None:
    column = [Column("age", "AGE", lambda row: row, search=True)]
    assert parse_filter("age>2m", column).keeps(121_000)
    assert not parse_filter("age>2m", column).keeps(119_000)
    assert parse_filter("age>=1KiB", column).keeps(1024)
    assert parse_filter("age<1.5M", column).keeps(1_400_000)


def test_columns_that_may_go_do_so_where_it_is_narrow() -> None:
    kept = fit(COLUMNS, [20, 8, 8], 30)
    assert [column.key for column, _ in kept] == ["name", "lag"]
    assert sum(width + 1 for _, width in kept) <= 31
    wide = fit(COLUMNS, [20, 8, 8], 100)
    assert [width for _, width in wide] == [20, 8, 8]


def test_twenty_thousand_rows_are_sorted_and_filtered() -> None:
    dice = random.Random(1)
    many = [Thing(f"topic-{number}", dice.randrange(10**9)) for number in range(20_000)]
    found = rows("-lag", many)
    assert [row.lag for row in found.shown] == sorted((row.lag for row in many if row.lag is not None), reverse=True)
    found.set_filter("topic-77")
    assert all("topic-77" in row.name for row in found.shown)


def test_the_next_match_is_found_also_once_all_rows_are_shown_again() -> None:
    rows = Rows([Column("name", "NAME", lambda row: row, search=True)], lambda row: row)
    rows.replace(["apple", "pear", "grape", "plum", "grapefruit"])
    assert not rows.find_match(1)
    rows.set_filter("grape")
    rows.set_filter("")
    assert [rows.find_match(1) and rows.current for _ in range(3)] == ["grape", "grapefruit", "grape"]
    assert rows.find_match(-1)
    assert rows.current == "grapefruit"


def test_a_column_is_as_wide_as_its_longest_text_with_control_characters_visible() -> None:
    column = COLUMNS[0]
    assert column.longest([Thing("billing", 1), Thing("ab", 1)]) == 7
    assert column.longest([Thing("billing", 1), Thing("a\x1bb\x07", 1)]) == len("a\\x1bb\\x07")
    assert column.longest([]) == 0
