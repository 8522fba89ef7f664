"""``klamm consume --group``: a member of a consumer group, by librdkafka. It joins, commits, and says so."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from klamm.cli.message_output import Sink, choose_sink
from klamm.cli.message_source import find_source, make_condition, open_ended
from klamm.cli.output import Result
from klamm.cli.parser import UsageError
from klamm.cli.run import Run
from klamm.client.errors import ClientError

if TYPE_CHECKING:
    from klamm.client.messages.filters import Filter
    from klamm.client.messages.record import Fields
    from klamm.records.batch import BatchHeader

POLL_S = 0.2
BATCH = 2_000
COMMIT_EVERY_S = 5.0
"""As Kafka's auto.commit.interval.ms; what was printed is committed, and never what was not."""
_RESETS = {"start": "earliest", "end": "latest"}


async def consume_in_group(run: Run) -> Result:
    """Print records as a member of a group; what was printed is committed."""
    values = run.values
    group = values.text("group") or ""
    reset = _RESETS.get(values.text("from") or "start")
    if reset is None:
        msg = "with --group the group's commits say where to begin; --from start or end is for when there is none"
        raise UsageError(msg)
    until = "end" if values.flag("exit") else values.text("until")
    if until not in {None, "end"} or values.text("partition") is not None:
        msg = "with --group there is only --until end, and the group assigns partitions: leave --partition out"
        raise UsageError(msg)
    limit = run.values.number("n")
    condition = await make_condition(run)
    sink = await choose_sink(run, values.required("topic"), people=False)
    with open_ended(run):
        await run.cluster.ensure_writable(f"consuming in group {group}")
        source = await find_source(run)
        member = _Member(run, group, source.topic, reset, stops_at_end=until == "end")
        return await _consume(run, member, sink, condition, limit)


async def _consume(run: Run, member: _Member, sink: Sink, condition: Filter | None, limit: int | None) -> Result:
    errors: list[ClientError] = []
    left = limit
    counts = run.values.flag("count")
    matched = 0
    sink.begin()
    try:
        while left != 0 and not member.is_at_end:
            kept: dict[tuple[str, int], list[tuple[BatchHeader, list[Fields]]]] = {}
            seen: dict[tuple[str, int], int] = {}
            polled = member.poll(BATCH)
            if condition is not None and condition.prepare is not None:
                await condition.prepare([fields for _, _, fields in polled])
            for where, header, fields in polled:
                seen[where] = fields[0]
                if condition is None or condition.test(where[1], fields):
                    matched += 1
                    kept.setdefault(where, []).append((header, [fields]))
                    left = None if left is None else left - 1
                    if left == 0:
                        break
            for where, rows in kept.items():
                if not counts:
                    await sink.prepare(where, rows)
                    sink.rows(where, rows)
            member.done(seen)
            await asyncio.sleep(0)
    except ClientError as error:
        errors.append(error)
    finally:
        sink.end(errors)
        member.close()
    if counts:
        sys.stdout.write(f"{matched}\n")
    return Result((), (), errors, streamed=True)


class _Member:
    """A member of a group, and what it has to commit."""

    def __init__(self, run: Run, group: str, topic: str, reset: str, *, stops_at_end: bool) -> None:
        from confluent_kafka import Consumer

        from klamm.client.messages.librdkafka import configuration, construct

        self._run, self._group, self._topic = run, group, topic
        self._stops_at_end = stops_at_end
        self._ends: set[int] = set()
        self._assigned: set[int] = set()
        self._done: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._committed_at = time.monotonic()
        self._failure: ClientError | None = None
        config = configuration(
            run.resolved.settings,
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset=reset,
            enable_partition_eof=stops_at_end,
            isolation_level=run.values.text("isolation") or "read_uncommitted",
        )
        config |= {"group.id": group, "enable.auto.commit": False, "error_cb": self._on_error}
        self._consumer: Any = construct(Consumer, config)
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    @property
    def is_at_end(self) -> bool:
        """Whether every assigned partition is read up to its end."""
        return self._stops_at_end and bool(self._assigned) and self._ends >= self._assigned

    def poll(self, most: int) -> list[tuple[tuple[str, int], BatchHeader, Fields]]:
        """Return what has come, and commit from time to time.

        Raises:
            ClientError: The group or the topic cannot be used.
        """
        found: list[tuple[tuple[str, int], BatchHeader, Fields]] = []
        for message in self._consumer.consume(most, POLL_S):
            error = message.error()
            if error is None:
                found.append(_fields(message))
            elif error.name() == "_PARTITION_EOF":
                self._ends.add(message.partition())
            elif not error.retriable() and error.name() not in {"_TRANSPORT", "_ALL_BROKERS_DOWN"}:
                raise _error(error, self._topic)
        if self._failure is not None:
            raise self._failure
        if time.monotonic() - self._committed_at > COMMIT_EVERY_S:
            self.commit()
        return found

    def done(self, seen: Mapping[tuple[str, int], int]) -> None:
        """Say up to which offsets, inclusive, records were printed or did not match."""
        for (_, partition), offset in seen.items():
            self._done[partition] = offset + 1

    def commit(self) -> None:
        """Commit what was printed."""
        from confluent_kafka import KafkaException, TopicPartition

        done, self._done = self._done, {}
        self._committed_at = time.monotonic()
        if done:
            try:
                self._consumer.commit(
                    offsets=[TopicPartition(self._topic, index, offset) for index, offset in done.items()],
                    asynchronous=False,
                )
            except KafkaException as error:
                raise _error(error.args[0], self._group) from error
            self._committed |= done

    def close(self) -> None:
        """Commit, leave the group, and say what was committed."""
        try:
            self.commit()
        except ClientError as error:
            self._run.note(f"{self._group}: nothing more was committed: {error.message}")
        self._consumer.close()
        told = " ".join(f"{index}@{offset:,}" for index, offset in sorted(self._committed.items()))
        self._run.note(f"left group {self._group}" + (f"; committed {self._topic} {told}" if told else ""))

    def _on_assign(self, _: object, partitions: list[Any]) -> None:
        self._assigned = {each.partition for each in partitions}
        self._ends.clear()
        named = ", ".join(str(each) for each in sorted(self._assigned)) or "none"
        self._run.note(f"joined group {self._group}: partitions {named} of {self._topic}; what is printed is committed")

    def _on_revoke(self, _: object, __: list[Any]) -> None:
        self.commit()
        self._assigned = set()

    def _on_error(self, error: Any) -> None:  # noqa: ANN401 (confluent-kafka has no types)
        if error.fatal() or error.name() in {"_AUTHENTICATION", "_ALL_BROKERS_DOWN"}:
            self._failure = _error(error, None)


def _fields(message: Any) -> tuple[tuple[str, int], BatchHeader, Fields]:  # noqa: ANN401 (as above)
    from klamm.records.batch import TIMESTAMP_TYPE_FLAG, BatchHeader

    kind, timestamp = message.timestamp()
    attributes = TIMESTAMP_TYPE_FLAG if kind == 2 else 0  # noqa: PLR2004 (TIMESTAMP_LOG_APPEND_TIME)
    offset = message.offset()
    header = BatchHeader(offset, 0, -1, 2, 0, attributes, 0, timestamp, timestamp, -1, -1, -1, 1)
    headers = tuple((name, value) for name, value in message.headers() or ())
    where = (message.topic(), message.partition())
    return where, header, (offset, timestamp if kind else -1, message.key(), message.value(), headers)


def _error(error: Any, name: str | None) -> ClientError:  # noqa: ANN401 (as above)
    from klamm.client.messages.librdkafka import as_error

    return as_error(error, name)
