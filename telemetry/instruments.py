"""Every metric that a broker tells, with unit, meaning and labels. docs/observability.md is checked against this.

Names: the OpenTelemetry Collector's ``kafkametricsreceiver`` where it has one (``kafka.*``), the semantic conventions
for the process, ``klamm.*`` for the rest. All but the histogram are observed: read from counters that exist anyway,
when somebody collects. Units are UCUM, as OpenTelemetry wants them; where the Collector says ``1``, offsets say so, as
Prometheus would call them ratios.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Kind = Literal["counter", "gauge", "updown", "histogram"]


class Instrument(NamedTuple):
    """One metric. A counter only grows; an updown is a quantity that may be summed over labels; a gauge may not."""

    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...] = ()


class Point(NamedTuple):
    """One value, with the values of the labels in their order."""

    value: float
    labels: tuple[str | int, ...] = ()


class Durations(NamedTuple):
    """The points of a histogram: how many took at most each bound, and the rest; seconds."""

    labels: tuple[str | int, ...]
    counts: tuple[int, ...]
    sum_s: float


class Samples(NamedTuple):
    """Everything at one moment, by the instrument's name."""

    points: Mapping[str, Sequence[Point]]
    durations: Sequence[Durations]


BOUND_FIRST: Final = 14
BOUND_LAST: Final = 34
BOUNDS_S: Final = tuple(2**power / 1e9 for power in range(BOUND_FIRST, BOUND_LAST + 1))
"""Bounds of request durations: powers of two nanoseconds, from 16 µs to 17 s."""

_PARTITION: Final = ("topic", "partition")
_GROUP_PARTITION: Final = ("group", "topic", "partition")
_ACTOR: Final = ("actor", "dispatcher")

REQUEST_DURATION: Final = Instrument(
    "klamm.request.duration",
    "histogram",
    "s",
    "From a request's arrival to its response; a Fetch without its wait for records.",
    ("api",),
)

OBSERVED: Final = (
    # Requests
    Instrument("klamm.requests", "counter", "{request}", "Requests received.", ("api",)),
    Instrument(
        "klamm.request.errors", "counter", "{error}", "Requests and partitions answered with an error.", ("api",)
    ),
    Instrument("klamm.request.received", "counter", "By", "Bytes of requests.", ("api",)),
    Instrument("klamm.request.sent", "counter", "By", "Bytes of responses.", ("api",)),
    Instrument(
        "klamm.request.time",
        "counter",
        "s",
        "Time of requests by phase. read: a request that comes in parts, first to last. handle: from there to its "
        "response, within one turn of the loop. wait: for a flush, replicas, more to read, or another actor. write: "
        "the client is slow to take responses. In mailboxes: klamm.actor.waited.",
        ("api", "phase"),
    ),
    Instrument("klamm.connections", "updown", "{connection}", "Connections open now."),
    # Partitions
    Instrument("kafka.brokers", "updown", "{broker}", "Brokers in the cluster."),
    Instrument("kafka.topic.partitions", "updown", "{partition}", "Partitions of a topic.", ("topic",)),
    Instrument("kafka.partition.current_offset", "gauge", "{offset}", "The log end offset.", _PARTITION),
    Instrument("kafka.partition.oldest_offset", "gauge", "{offset}", "The log start offset.", _PARTITION),
    Instrument("kafka.partition.replicas", "updown", "{replica}", "Replicas.", _PARTITION),
    Instrument("kafka.partition.replicas_in_sync", "updown", "{replica}", "Replicas in sync (ISR).", _PARTITION),
    Instrument("klamm.partition.high_watermark", "gauge", "{offset}", "What consumers may read ends here.", _PARTITION),
    Instrument("klamm.partition.size", "updown", "By", "Bytes of the partition's segments.", _PARTITION),
    Instrument("klamm.partition.segments", "updown", "{segment}", "Segment files.", _PARTITION),
    Instrument("klamm.partition.online", "gauge", "{partition}", "1: served; 0: offline until recovered.", _PARTITION),
    Instrument(
        "klamm.partition.damaged", "gauge", "{partition}", "1: damaged bytes or a missing file were found.", _PARTITION
    ),
    Instrument("klamm.partition.flushes", "counter", "{flush}", "Flushes that appends waited for.", _PARTITION),
    Instrument("klamm.partition.flush_time", "counter", "s", "Time of these flushes.", _PARTITION),
    # Groups
    Instrument("kafka.consumer_group.members", "updown", "{member}", "Members.", ("group",)),
    Instrument("kafka.consumer_group.offset", "gauge", "{offset}", "The committed offset.", _GROUP_PARTITION),
    Instrument(
        "kafka.consumer_group.offset_sum", "gauge", "{offset}", "Committed offsets of a topic.", ("group", "topic")
    ),
    Instrument("kafka.consumer_group.lag", "gauge", "{offset}", "Offsets not committed yet.", _GROUP_PARTITION),
    Instrument(
        "kafka.consumer_group.lag_sum", "gauge", "{offset}", "Offsets of a topic not committed yet.", ("group", "topic")
    ),
    Instrument(
        "klamm.consumer_group.rebalances", "counter", "{rebalance}", "Generations or epochs so far.", ("group",)
    ),
    Instrument(
        "klamm.consumer_group.lag_time",
        "gauge",
        "s",
        "How long ago the first record that is not committed was appended; 0 without lag.",
        _GROUP_PARTITION,
    ),
    Instrument(
        "klamm.consumer_group.drain_rate",
        "gauge",
        "{offset}/s",
        "By how much the lag shrinks: commits less appends since the last collection; negative while it grows.",
        _GROUP_PARTITION,
    ),
    Instrument(
        "klamm.consumer_group.eta",
        "gauge",
        "s",
        "When the lag is gone at this rate; no value while it does not shrink.",
        _GROUP_PARTITION,
    ),
    Instrument(
        "klamm.consumer_group.retention_risk",
        "gauge",
        "1",
        "Age of the first record that is not committed, in parts of the topic's retention.ms: at 1 it is lost.",
        _GROUP_PARTITION,
    ),
    # Actors
    Instrument("klamm.actor.depth", "updown", "{message}", "Messages waiting.", _ACTOR),
    Instrument("klamm.actor.handled", "counter", "{message}", "Messages handled.", _ACTOR),
    Instrument(
        "klamm.actor.waited",
        "counter",
        "s",
        "Time that messages waited, by the first of each run of the actor.",
        _ACTOR,
    ),
    Instrument("klamm.actor.busy", "counter", "s", "Time spent running.", _ACTOR),
    Instrument("klamm.actor.oldest", "gauge", "s", "How long the oldest message has waited.", _ACTOR),
    Instrument("klamm.actor.restarts", "counter", "{restart}", "Restarts by a supervisor.", _ACTOR),
    Instrument("klamm.actor.failures", "counter", "{failure}", "Actors stopped by an exception.", ("dispatcher",)),
    Instrument("klamm.actor.dead_letters", "counter", "{message}", "Messages nobody handled.", ("dispatcher",)),
    # Process
    Instrument("process.cpu.time", "counter", "s", "CPU time.", ("cpu.mode",)),
    Instrument("process.memory.usage", "updown", "By", "Resident memory."),
    Instrument("process.memory.virtual", "updown", "By", "Virtual memory."),
    Instrument("process.thread.count", "updown", "{thread}", "Threads."),
    Instrument("process.unix.file_descriptor.count", "updown", "{file_descriptor}", "File descriptors in use."),
    Instrument("process.uptime", "gauge", "s", "Since the broker started."),
    # Telemetry itself
    Instrument(
        "klamm.telemetry.dropped",
        "counter",
        "{item}",
        "What was not told. journal: notes without room. exporter: notes while the exporter was behind. topic: records "
        "of the broker's own topics. otlp: exports while 16 waited already, or that failed; otlp spans: spans in them.",
        ("where",),
    ),
    Instrument(
        "klamm.telemetry.batches",
        "counter",
        "{batch}",
        "Record batches looked into for a traceparent (inspected), or not, for want of budget (skipped).",
        ("outcome",),
    ),
    Instrument(
        "klamm.telemetry.messages",
        "counter",
        "{message}",
        "Messages with a traceparent. traced: sampled and traced. limited: sampled, over the limit. malformed.",
        ("outcome",),
    ),
    Instrument("klamm.telemetry.spans", "counter", "{span}", "Spans made."),
)

INSTRUMENTS: Final = (*OBSERVED, REQUEST_DURATION)
