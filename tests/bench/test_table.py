"""Medians, ratios, spreads and floors."""

import pytest
from bench import table
from bench.matrix import full_rows, quick_rows
from bench.rows import CPU_PER_GB, RATE, READY, READY_IN_PYTHONS, Floor, Row, Sample
from bench.table import Pair


def nothing(*_: object) -> Sample:
    return {}


def rates(klamm: float, kafka: float) -> Pair:
    return {"klamm": {"records_per_s": klamm}, "kafka": {"records_per_s": kafka}}


def test_the_ratio_is_that_of_the_medians_and_the_spread_that_of_the_pairs() -> None:
    row = Row("row", nothing, (RATE,))
    (line,) = table.row_lines(row, [rates(100, 100), rates(300, 100), rates(200, 50)])
    assert (line.klamm, line.kafka, line.ratio) == (200, 100, 2)
    assert (line.low, line.high) == (1, 4)


@pytest.mark.parametrize(("klamm", "kept"), [(180, True), (179, False)])
def test_a_rate_keeps_its_floor_from_the_limit_upwards(klamm: float, kept: bool) -> None:  # noqa: FBT001  # a table
    row = Row("row", nothing, (RATE,), (Floor(RATE.key, 1.8),))
    (line,) = table.row_lines(row, [rates(klamm, 100)])
    assert line.verdicts[0].endswith("kept") is kept


def test_a_cost_keeps_its_floor_up_to_the_limit() -> None:
    row = Row("row", nothing, (CPU_PER_GB,), (Floor(CPU_PER_GB.key, 0.6),))
    verdicts = [
        table.row_lines(row, [{"klamm": {CPU_PER_GB.key: cost}, "kafka": {CPU_PER_GB.key: 10.0}}])[0].verdicts[0]
        for cost in (6.0, 6.1)
    ]
    assert [verdict.endswith("kept") for verdict in verdicts] == [True, False]


def test_on_a_slow_machine_the_multiple_of_a_bare_python_counts() -> None:
    floor = Floor(READY.key, 0.5, "klamm", READY_IN_PYTHONS.key, 12)
    row = Row("row", nothing, (READY, READY_IN_PYTHONS), (floor,))
    verdicts = [
        table.row_lines(row, [{"klamm": {"start_s": 0.9, "start_in_pythons": pythons}}])[0].verdicts[0]
        for pythons in (11.0, 13.0)
    ]
    assert [verdict.endswith("kept") for verdict in verdicts] == [True, False]


def test_a_row_whose_client_takes_most_of_a_core_only_orients() -> None:
    row = Row("row", nothing, (RATE,))
    busy, calm = rates(1, 1), rates(1, 1)
    for pair, cores in ((busy, 0.81), (calm, 0.8)):
        for sample in pair.values():
            sample["client_cores"] = cores
    assert ["†" in " ".join(table.cells(table.row_lines(row, [pair])[0])) for pair in (busy, calm)] == [True, False]


def test_every_row_has_a_name_of_its_own_and_full_holds_all_of_quick() -> None:
    quick, full = [row.name for row in quick_rows()], [row.name for row in full_rows()]
    assert len(set(full)) == len(full)
    assert set(quick) <= set(full)


def test_every_floor_is_on_a_metric_of_its_row() -> None:
    for row in full_rows():
        assert {floor.metric for floor in row.floors} <= {metric.key for metric in row.metrics}, row.name
