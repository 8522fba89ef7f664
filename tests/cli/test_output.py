"""Forms: tables that fit, data that stays data, and nothing that commands a terminal."""

import csv
import io
import json

import pytest
import yaml

from klamm.cli.output import Column, Format, Result, render, state_style
from klamm.cli.parser import UsageError

COLUMNS = (Column("NAME", "name"), Column("SIZE", "size", right=True), Column("NOTE", "note"))
ITEMS = [
    {"name": "orders", "size": 1200, "note": None, "isr": [1, 2]},
    {"name": "zürich-注文", "size": 7, "note": "x" * 300, "isr": []},
    {"name": "evil\x1b[31m\nname", "size": 99, "note": "", "isr": [3]},
]
RESULT = Result(ITEMS, COLUMNS)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_of_a_table_is_wider_than_the_terminal(width: int) -> None:
    text = render("Example", None, RESULT, Format(width=width))
    assert all(len(line) <= width for line in text.splitlines())
    assert "…" in text


def test_the_first_column_is_cut_last() -> None:
    items = [{"name": f"message.timestamp.{which}.max.ms", "size": 2**63 - 1, "note": str(2**63)} for which in "ab"]
    text = render("Example", None, Result(items, COLUMNS), Format(width=60))
    assert "message.timestamp.a" in text
    assert "message.timestamp.b" in text


def test_csv_has_booleans_as_json_has_them() -> None:
    text = render("Example", None, Result([{"name": "a", "size": True}], COLUMNS[:2]), Format("csv"))
    assert text.splitlines()[1] == "a,true"


def test_a_pipe_gets_values_whole() -> None:
    assert "x" * 300 in render("Example", None, RESULT, Format())


def test_control_characters_of_names_never_reach_the_terminal() -> None:
    text = render("Example", None, RESULT, Format())
    assert "\x1b" not in text
    assert len(text.splitlines()) == 1 + len(ITEMS)


def test_json_yaml_jsonl_and_csv_hold_the_same_items() -> None:
    assert json.loads(render("Example", "prod", RESULT, Format("json")))["items"] == ITEMS
    assert yaml.safe_load(render("Example", "prod", RESULT, Format("yaml")))["items"] == ITEMS
    assert [json.loads(line) for line in render("Example", None, RESULT, Format("jsonl")).splitlines()] == ITEMS
    rows = list(csv.DictReader(io.StringIO(render("Example", None, RESULT, Format("csv")), newline="")))
    assert [row["name"] for row in rows] == [item["name"] for item in ITEMS]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".items[*].name", "orders\nzürich-注文\nevil\x1b[31m\nname\n"),
        ("{.items[0].isr}", "[1, 2]\n"),
        ("$.items[?(@.size>100)].name", "orders\n"),
        (".items[?(@.name=='orders')].size", "1200\n"),
        (".items[-1].size", "99\n"),
        (".nothing", ""),
    ],
)
def test_jsonpath_finds_values(path: str, expected: str) -> None:
    assert render("Example", None, RESULT, Format("jsonpath", path)) == expected


def test_a_jsonpath_that_is_none_says_from_where_on() -> None:
    with pytest.raises(UsageError, match=r"not understood from '\[\[x'"):
        render("Example", None, RESULT, Format("jsonpath", ".items[[x"))


@pytest.mark.parametrize(
    ("form", "names"),
    [
        (Format("name", sort="size"), ["zürich-注文", "evil\x1b[31m\nname", "orders"]),
        (Format("name", sort="-size", filters=("size>50",)), ["orders", "evil\x1b[31m\nname"]),
        (Format("name", filters=("name=o*",)), ["orders"]),
        (Format("name", filters=("name!=o*", "size<=7")), ["zürich-注文"]),
    ],
)
def test_sort_and_filter_choose_items(form: Format, names: list[str]) -> None:
    assert render("Example", None, RESULT, form) == "".join(f"{name}\n" for name in names)


def test_an_unknown_column_names_the_near_one() -> None:
    with pytest.raises(UsageError, match="Did you mean 'size'"):
        render("Example", None, RESULT, Format(sort="siz"))


def test_columns_may_name_fields_that_the_table_does_not_show() -> None:
    text = render("Example", None, RESULT, Format(columns=("name", "isr")))
    assert text.splitlines()[0].split() == ["NAME", "ISR"]


def test_a_style_is_shown_only_where_colour_is_wanted() -> None:
    columns = (Column("NAME", "name"), Column("STATE", "state", style=state_style))
    items = [{"name": "a", "state": "Stable"}, {"name": "b", "state": "Empty"}, {"name": "c", "state": "Dead\x1b[0m"}]
    plain = render("Example", None, Result(items, columns), Format())
    coloured = render("Example", None, Result(items, columns), Format(color=True))
    assert "\x1b" not in plain
    assert "\x1b[32mStable\x1b[0m" in coloured
    assert "\x1b[2mEmpty\x1b[0m" in coloured
    assert "Dead\\x1b[0m" in coloured, "what a broker says is never obeyed"
