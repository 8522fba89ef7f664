"""Charts over time: of the size that was asked for, and true to their values."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from klamm.client.state import Round, quantile_ms
from klamm.records.state_schema import BrokerState, RequestState
from klamm.tui.chart import AXIS, chart_lines, levels, round_figures, time_axis
from klamm.tui.columns import Cell, TextLine

series = st.lists(st.tuples(st.integers(0, 10_000_000), st.floats(0, 1e12)), min_size=1, max_size=40).map(
    lambda found: sorted(dict(found).items())
)


def text(line: TextLine) -> str:
    return "".join(cell.text for cell in line if isinstance(cell, Cell))


@given(series, st.integers(20, 120), st.integers(2, 20), st.booleans())
def test_a_chart_is_as_large_as_it_may_be(
    found: list[tuple[int, float]],
    width: int,
    height: int,
    ascii_only: bool,  # noqa: FBT001
) -> None:
    lines = chart_lines(found, width, height, lambda value: f"{value:.3g}", ascii_only=ascii_only)
    assert len(lines) == height
    assert {cell_len(text(line)) for line in lines} == {width}
    assert not ascii_only or all(text(line).isascii() for line in lines)


@pytest.mark.parametrize(("height", "rows"), [(9, 7), (4, 3)])
def test_the_greatest_value_is_at_the_top_and_nothing_stays_empty(height: int, rows: int) -> None:
    found = [(second * 1000, 100.0 if second == 30 else 0.0) for second in range(61)]
    lines = [text(line)[AXIS + 1 :] for line in chart_lines(found, 72, height, str, ascii_only=True)]
    assert all(line.count("#") == 1 for line in lines[:rows])
    assert lines[rows].startswith("-1m") is (height == 4), "how long ago it began, where there is no room for an axis"
    assert lines[-1].endswith("now")


@pytest.mark.parametrize(
    ("most", "rows", "figures"),
    [
        (98_412, 8, [50_000, 100_000]),
        (98_412, 16, [20_000, 40_000, 60_000, 80_000, 100_000]),
        (7, 12, [2, 4, 6, 8]),
        (100, 3, [100]),
        (0.3, 6, [0.2, 0.4]),
        (0, 8, [1]),
        (5e-324, 8, [1]),
    ],
)
def test_figures_beside_a_chart_are_round_and_reach_its_top(most: float, rows: int, figures: list[float]) -> None:
    assert round_figures(most, rows) == pytest.approx(figures)


@given(st.floats(0, 1e12), st.integers(1, 60))
def test_no_figure_is_far_above_what_there_is(most: float, rows: int) -> None:
    figures = round_figures(most, rows)
    assert len(figures) <= max(1, rows // 3)
    assert figures[-1] >= most * (1 - 1e-6)
    assert most < 1e-9 or figures[-1] <= 10 * most


def test_times_below_a_chart_are_round_and_where_they_were() -> None:
    noon = 1_790_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000
    rule, times = (text(line)[AXIS + 1 :] for line in time_axis(noon - 65_000, noon + 25_000, 91, ascii_only=True))
    assert [place for place, sign in enumerate(rule) if sign == "+"] == [5, 20, 35, 50, 65, 80]
    assert times.split() == ["11:59:00", "11:59:15", "11:59:30", "11:59:45", "12:00:00", "12:00:15", "now"]
    for place, label in zip([5, 20, 35], times.split(), strict=False):
        assert abs(times.index(label) + 4 - place) <= 1, "each below its mark"
    _, hours = (text(line) for line in time_axis(noon - 7_200_000, noon, 61, ascii_only=False))
    assert hours.split() == ["10:30", "11:00", "11:30", "now"]


def test_a_time_before_all_samples_has_no_level() -> None:
    assert levels([(60_000, 5.0), (90_000, 7.0)], 30_000, 90_000, 3) == [None, 5.0, 7.0]


def test_what_loads_from_the_cluster_loads_no_textual() -> None:
    """Loaders run on a thread of their own while Textual is being imported: both at once broke the import."""
    script = (
        "import sys, pkgutil, importlib, klamm.tui.data as data\n"
        "[importlib.import_module(f'klamm.tui.data.{each.name}') for each in pkgutil.iter_modules(data.__path__)]\n"
        "print([name for name in sys.modules if name.split('.')[0] == 'textual'])"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "[]\n"


def looked(*buckets: int) -> Round:
    broker = BrokerState(requests=(RequestState("Produce", buckets=buckets),) if buckets else ())
    return Round(1, 1, 0, broker, {}, {}, {})


@pytest.mark.parametrize(
    ("before", "now", "took"),
    [
        (looked(0, 0, 0, 0), looked(0, 100, 0, 0), 2**15 / 1e6 * 0.995),  # all between 2**14 and 2**15 ns
        (looked(50, 0, 0, 0), looked(50, 0, 100, 0), 2**16 / 1e6 * 0.995),  # what was before does not count
        (looked(0, 0, 0, 0), looked(990, 10, 0, 0), 2**14 / 1e6),
        (looked(5, 5, 5, 5), looked(5, 5, 5, 5), None),
        (looked(), looked(0, 0, 8, 0), 2**16 / 1e6 * 0.995),
        (looked(1), looked(), None),
    ],
)
def test_a_quantile_is_of_what_came_between_two_looks(before: Round, now: Round, took: float | None) -> None:
    assert quantile_ms(before, now, "Produce", 0.99) == (None if took is None else pytest.approx(took))
    assert quantile_ms(before, now, "Fetch", 0.99) is None
