"""``klamm txn``: list, describe, find-hanging, abort."""

from __future__ import annotations

import time

from klamm.cli.checks import known_words
from klamm.cli.guard import SEVERE, Plan, guard, record
from klamm.cli.names import names_or_all, unknown_name
from klamm.cli.output import Column, Result, count_text, state_style, time_text
from klamm.cli.parser import UsageError
from klamm.cli.run import Run, parse_seconds
from klamm.cli.spec import Argument, Command, Example, Option
from klamm.client.errors import ClientError, ResponseError

_MAX_TIMEOUT = "15m"
"""transaction.max.timeout.ms of Kafka's brokers unless configured: no transaction may be older."""
LIST_COLUMNS = (
    Column("NAME", "name"),
    Column("STATE", "state", style=state_style),
    Column("PRODUCER ID", "producer_id", right=True),
    Column("COORDINATOR", "coordinator", right=True),
)
PRODUCER_COLUMNS = (
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("PRODUCER ID", "producer_id", right=True),
    Column("EPOCH", "producer_epoch", right=True),
    Column("FIRST OFFSET", "txn_start_offset", right=True, show=count_text),
    Column("LAST WRITE", "last_timestamp_ms", show=time_text),
)


async def list_transactions(run: Run) -> Result:
    """List transactional ids of all coordinators."""
    from klamm.client import transactions
    from klamm.records.transactions_schema import STATES

    states = known_words("--state", run.values.texts("state"), STATES)
    found, errors = await transactions.list_transactions(run.cluster, states)
    items = [{"name": each.transactional_id, **each._asdict()} for each in found]
    return Result(items, LIST_COLUMNS, errors, empty="no transactional ids")


async def describe(run: Run) -> Result:
    """Describe transactional ids."""
    from klamm.client import transactions

    listed, errors = await transactions.list_transactions(run.cluster)
    known = [each.transactional_id for each in listed]
    names, missing = names_or_all(run.values.texts("names"), known)
    found, failed = await transactions.describe_transactions(run.cluster, names)
    items = [
        {
            "name": each.transactional_id,
            **each._asdict(),
            "partitions": [f"{topic}:{index}" for topic, index in each.partitions],
            "age_ms": None if each.start_ms is None else int(time.time() * 1000) - each.start_ms,
        }
        for each in found
    ]
    lost = [unknown_name("transactional id", name, known) for name in missing]
    columns = (
        *LIST_COLUMNS,
        Column("EPOCH", "producer_epoch", right=True),
        Column("TIMEOUT MS", "timeout_ms", right=True, show=count_text),
        Column("AGE MS", "age_ms", right=True, show=count_text),
        Column("PARTITIONS", "partitions"),
    )
    return Result(items, columns, [*errors, *lost, *failed.values()])


async def find_hanging(run: Run) -> Result:
    """Find transactions that no coordinator will ever end; exit code 3 if there are any."""
    from klamm.client import transactions

    limit_ms = int(parse_seconds(run.values.text("older_than") or _MAX_TIMEOUT, "--older-than") * 1000)
    topics = run.values.texts("topics")
    metadata = await run.cluster.metadata(topics or None)
    unknown: list[ClientError] = [
        ResponseError(t.error_code, None, name=t.name) for t in metadata.topics if t.error_code
    ]
    found, errors = await transactions.find_hanging(run.cluster, metadata, int(time.time() * 1000), limit_ms)
    items = [{"name": f"{each.topic}:{each.partition}", **each._asdict()} for each in found]
    return Result(
        items, PRODUCER_COLUMNS, [*unknown, *errors], empty="no hanging transactions", exit_code=3 if items else 0
    )


async def abort(run: Run) -> Result:
    """Abort the open transaction of one producer on one partition."""
    from klamm.client import transactions
    from klamm.client.topics import require_topics

    topic, producer = run.values.required("topic"), run.values.number("producer_id")
    partition = run.values.number("partition")
    if producer is None or partition is None:
        msg = "klamm txn abort needs --partition N and --producer-id N, as find-hanging shows them"
        raise UsageError(msg)
    metadata, _ = await require_topics(run.cluster, [topic])
    found, errors = await transactions.active_producers(run.cluster, metadata.topics)
    here = next((each for each in found if each.partition == partition and each.producer_id == producer), None)
    if here is None or here.txn_start_offset is None:
        msg = f"producer {producer} has no open transaction on {topic}:{partition}"
        error = ClientError("TRANSACTION_NOT_FOUND", msg, "klamm txn find-hanging")
        return Result((), (), errors or [error])
    line = f"producer {producer} epoch {here.producer_epoch}, open since offset {here.txn_start_offset:,}"
    cannot = "its records will never be read by read_committed consumers"
    go = await guard(run, Plan(f"abort a transaction on {topic}:{partition}", SEVERE, topic, [line], cannot))
    if go:
        await transactions.abort_transaction(run.cluster, metadata, here)
        await record(run, f"aborted producer {producer} on {topic}:{partition}", [], cannot)
    columns = (*PRODUCER_COLUMNS, Column("ABORTED", "aborted"))
    return Result([{"name": f"{topic}:{partition}", **here._asdict(), "aborted": go}], columns, errors)


COMMANDS = (
    Command(
        "txn list",
        "List transactional ids",
        list_transactions,
        "TransactionList",
        (),
        (Option(("--state",), "only in this state (Ongoing, CompleteCommit, …)", "STATE", repeat=True),),
        (Example("klamm txn list --state Ongoing", "open transactions"),),
        ("Metadata", "ListTransactions"),
        ("DESCRIBE on each transactional id",),
    ),
    Command(
        "txn describe",
        "Describe transactional ids",
        describe,
        "TransactionDescription",
        (Argument("names", "transactional ids, by name or glob; all if none", required=False, repeat=True),),
        (),
        (Example("klamm txn describe ledger-1", "state, age, partitions"),),
        ("Metadata", "ListTransactions", "FindCoordinator", "DescribeTransactions"),
        ("DESCRIBE on the transactional id",),
    ),
    Command(
        "txn find-hanging",
        "Find transactions that will never end (exit code 3 if there are any)",
        find_hanging,
        "HangingTransactionList",
        (Argument("topics", "only in these; all if none", required=False, repeat=True, completes="topic"),),
        (
            Option(
                ("--older-than",),
                "longest a transaction may be open (the brokers' transaction.max.timeout.ms)",
                "TIME",
                default=_MAX_TIMEOUT,
            ),
        ),
        (Example("klamm txn find-hanging", "what holds read_committed consumers"),),
        ("Metadata", "DescribeProducers", "ListTransactions", "DescribeTransactions"),
        ("READ on the topics",),
    ),
    Command(
        "txn abort",
        "Abort a hanging transaction on a partition",
        abort,
        "TransactionAbort",
        (Argument("topic", "topic", completes="topic"),),
        (
            Option(("--partition",), "partition", "N"),
            Option(("--producer-id",), "producer, as find-hanging shows it", "N"),
        ),
        (Example("klamm txn abort ledger --partition 0 --producer-id 4021 --confirm ledger", "in a script"),),
        ("Metadata", "DescribeProducers", "WriteTxnMarkers"),
        ("CLUSTER_ACTION on the cluster, READ on the topic",),
        level=3,
    ),
)
