"""What a row of the table is: how one sample is taken, what is compared, and what it must reach."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bench.brokers import Broker
    from bench.measures import Bench

Sample = dict[str, float]
# Takes one sample; the last argument is how many records to move, 0 where the row is not calibrated.
Measure = Callable[["Bench", "Broker", int], Sample]
Durability = Literal["written", "flushed"]


@dataclass(frozen=True)
class Metric:
    """One compared number of a sample: ``key`` in the sample, ``scale`` from the sample's unit to the shown one."""

    key: str
    title: str
    more_is_better: bool
    scale: float = 1.0


@dataclass(frozen=True)
class Floor:
    """What klamm must reach in one metric.

    ``of`` says what ``limit`` is held against: klamm ÷ Kafka, or klamm's own number as shown. The limit is a least for
    metrics where more is better, else a most. With ``or_metric`` it is enough that this other metric of klamm's keeps
    ``or_limit``.
    """

    metric: str
    limit: float
    of: Literal["ratio", "klamm"] = "ratio"
    or_metric: str | None = None
    or_limit: float = 0.0


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: Unique, of the form group/detail/detail.
        measure: Takes one sample from one broker.
        metrics: What is compared.
        floors: What klamm must reach.
        durability: Which klamm the row runs against.
        calibrated: How many records a run moves is found by a first, unrecorded run on each broker.
        fresh: The measure starts brokers of its own: the warm ones are not needed.
        only_klamm: Apache Kafka has nothing to compare.
        pairs_max: At most so many pairs, where one takes long.
    """

    name: str
    measure: Measure
    metrics: tuple[Metric, ...]
    floors: tuple[Floor, ...] = ()
    durability: Durability = "written"
    calibrated: bool = False
    fresh: bool = False
    only_klamm: bool = False
    pairs_max: int = 1000


RATE = Metric("records_per_s", "records/s", more_is_better=True)
CPU_PER_GB = Metric("broker_cpu_s_per_gb", "broker CPU s/GB", more_is_better=False)
P50 = Metric("p50_us", "p50 ms", more_is_better=False, scale=1e-3)
P99 = Metric("p99_us", "p99 ms", more_is_better=False, scale=1e-3)
READY = Metric("start_s", "ready s", more_is_better=False)
READY_IN_PYTHONS = Metric("start_in_pythons", "ready, in `python -c pass`", more_is_better=False)
RESIDENT_IDLE = Metric("idle_bytes", "idle MB", more_is_better=False, scale=1e-6)
RESIDENT_PEAK = Metric("peak_bytes", "peak under load MB", more_is_better=False, scale=1e-6)
MEGABYTES = Metric("megabytes_per_s", "MB/s", more_is_better=True)
SECONDS = Metric("elapsed_s", "seconds", more_is_better=False)
P99_BESIDE = Metric("p99_beside_us", "p99 ms beside them", more_is_better=False, scale=1e-3)
P99_GROWTH = Metric("p99_growth", "p99 growth", more_is_better=False)
OFFSETS_RATE = Metric("offsets_per_s", "offsets/s", more_is_better=True)
US_PER_REQUEST = Metric("us_per_request", "broker CPU µs a request", more_is_better=False)
CORE_PERCENT = Metric("core_percent", "% of a core", more_is_better=False)
OVER_SESSION = Metric("over_session_s", "s after the session's end", more_is_better=False)
