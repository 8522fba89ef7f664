"""Sending records through librdkafka: batches, compression, retries and idempotence are its work.

Keys go to partitions by murmur2, as with Kafka's own clients. What librdkafka cannot carry goes by
:mod:`klamm.client.messages.raw_producing`, in its place among the others: everything before it is acknowledged first,
and nothing after it is sent before it is.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.librdkafka import as_error, configuration, construct
from klamm.client.messages.raw_producing import PARTITIONER, RawProducer, needs_raw
from klamm.client.messages.record import Headers
from klamm.client.text import counted

QUEUE_MESSAGES_MAX: Final = 200_000
QUEUE_KBYTES_MAX: Final = 64 * 1024
"""What waits inside librdkafka: enough for some full requests to each broker, and the bound of our memory."""
MESSAGE_TIMEOUT_MS: Final = 60_000
MESSAGE_BYTES_MAX: Final = 104_857_600
"""As large as a request may be (Kafka's socket.request.max.bytes): the topic's own limit is the broker's to judge."""
FULL_WAIT_S: Final = 0.05
CALLBACKS_EVERY: Final = 10_000
ERRORS_KEPT: Final = 20
INVALID_RECORD: Final = "INVALID_RECORD"


class Sender:
    """Sends to one cluster; use it in ``async with``. On leaving, everything has been acknowledged or has failed.

    Attributes:
        queued: How many records were handed over to be sent.
        failed: How many of them were not written, as far as that is known.
        unknown: How many of those had no answer when sending was broken off: they may have been written.
        errors: The first of their errors.
    """

    def __init__(self, cluster: Cluster, properties: dict[str, Any] | None = None) -> None:
        self._cluster = cluster
        self._properties = properties or {}
        self._producer: Any = None
        self._config: dict[str, Any] = {}
        self._raw: RawProducer | None = None
        self.queued = 0
        self.failed = 0
        self.unknown = 0
        self.errors: list[ClientError] = []

    async def __aenter__(self) -> Self:
        """Check that the context may change the cluster, and start.

        Raises:
            RefusedError: It may not.
            SettingsError: librdkafka refuses the settings.
        """
        await self._cluster.ensure_writable("Produce")
        from confluent_kafka import Producer  # noqa: PLC0415 (50 ms that other commands need not pay)

        config = configuration(
            self._cluster.settings,
            enable_idempotence=True,
            partitioner=PARTITIONER,
            linger_ms=20,
            batch_size=1_000_000,
            batch_num_messages=100_000,
            message_max_bytes=MESSAGE_BYTES_MAX,
            message_timeout_ms=MESSAGE_TIMEOUT_MS,
            queue_buffering_max_messages=QUEUE_MESSAGES_MAX,
            queue_buffering_max_kbytes=QUEUE_KBYTES_MAX,
        )
        config |= self._properties
        if str(config.get("acks", config.get("request.required.acks", "all"))) not in {"all", "-1"}:
            config["enable.idempotence"] = False
        config |= {"delivery.report.only.error": True, "on_delivery": self._on_failure, "error_cb": self._on_error}
        self._config = config
        self._producer = construct(Producer, config)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until every record is acknowledged or has failed; after an interruption, for a moment only."""
        if self._producer is None:
            return
        try:
            if kind is not None and issubclass(kind, (asyncio.CancelledError, KeyboardInterrupt)):
                self._break_off()
            else:
                await self.flush()
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._break_off()
            raise
        finally:
            self._producer = None

    def _break_off(self) -> None:
        """Wait a moment for answers that are on their way, and give up what has none."""
        self._producer.flush(1.0)
        self.unknown = len(self._producer)
        self.failed += self.unknown
        self._producer.purge()

    @property
    def sent(self) -> int:
        """How many records are written, once everything was flushed."""
        return self.queued - self.failed

    @property
    def far(self) -> str:
        """How far it came, in words."""
        unknown = f"; {self.unknown:,} more had no answer yet and may be there as well" if self.unknown else ""
        return f"{counted(self.sent, 'record')} written{unknown}"

    async def flush(self) -> None:
        """Wait until every record is acknowledged or has failed."""
        while len(self._producer):
            self._producer.poll(FULL_WAIT_S)
            await asyncio.sleep(0)

    async def send_values(self, topic: str, values: Sequence[bytes | None], **fields: Any) -> None:  # noqa: ANN401
        """Send values that share all else: ``key``, ``partition``, ``timestamp``, ``headers`` as librdkafka has."""
        produce = self._producer.produce
        poll = self._producer.poll
        for start in range(0, len(values), CALLBACKS_EVERY):
            some = values[start : start + CALLBACKS_EVERY]
            done = 0
            while done < len(some):
                try:
                    if fields:
                        for value in some[done:]:
                            produce(topic, value, **fields)
                            done += 1
                    else:
                        for value in some[done:]:
                            produce(topic, value)
                            done += 1
                except BufferError:
                    poll(FULL_WAIT_S)
                    await asyncio.sleep(0)
                except Exception as error:
                    self.queued += done
                    raise self._refused(error, topic) from error
            self.queued += len(some)
            poll(0)

    async def send_pairs(
        self,
        topic: str,
        pairs: Sequence[tuple[bytes | None, bytes | None]],
        **fields: Any,  # noqa: ANN401 (as librdkafka has them)
    ) -> None:
        """Send (key, value) pairs that share all else: ``partition``, ``timestamp``, ``headers`` as librdkafka has."""
        produce = self._producer.produce
        done = 0
        while done < len(pairs):
            try:
                for key, value in pairs[done : done + CALLBACKS_EVERY]:
                    produce(topic, value, key, **fields)
                    done += 1
                    self.queued += 1
                self._producer.poll(0)
            except BufferError:
                self._producer.poll(FULL_WAIT_S)
                await asyncio.sleep(0)
            except Exception as error:
                raise self._refused(error, topic) from error

    async def send(self, drafts: Iterable[Draft], topic: str) -> None:
        """Send records; ``topic`` is for those that name none.

        Raises:
            ClientError: One is refused; those before it are on their way.
        """
        for is_odd, some in itertools.groupby(drafts, needs_raw):
            if is_odd:
                await self._send_raw([(draft.topic or topic, draft) for draft in some])
            else:
                await self._send_carried(some, topic)

    async def _send_carried(self, drafts: Iterable[Draft], topic: str) -> None:
        produce = self._producer.produce
        for draft in drafts:
            named = draft.topic or topic
            fields: dict[str, Any] = {}
            if draft.partition is not None:
                fields["partition"] = draft.partition
            if draft.timestamp_ms is not None:
                fields["timestamp"] = draft.timestamp_ms
            if draft.headers:
                fields["headers"] = list(draft.headers)
            while True:
                try:
                    produce(named, draft.value, draft.key, **fields)
                    break
                except BufferError:
                    self._producer.poll(FULL_WAIT_S)
                    await asyncio.sleep(0)
                except Exception as error:
                    raise self._refused(error, named) from error
            self.queued += 1
            if self.queued % CALLBACKS_EVERY == 0:
                self._producer.poll(0)
                await asyncio.sleep(0)

    async def _send_raw(self, drafts: list[tuple[str, Draft]]) -> None:
        """Send what librdkafka cannot carry, behind everything that it was given; nothing if some of that failed."""
        await self.flush()
        if self.errors:
            return
        if self._raw is None:
            self._raw = RawProducer(self._cluster, self._config)
        before = self._raw.written
        try:
            await self._raw.send(drafts)
        finally:
            self.queued += self._raw.written - before

    def poll(self) -> None:
        """Let failures be reported."""
        self._producer.poll(0)

    def _refused(self, error: Exception, topic: str) -> ClientError:
        from confluent_kafka import KafkaException  # noqa: PLC0415 (loaded already)

        if isinstance(error, KafkaException):
            return as_error(error.args[0], topic)
        if isinstance(error, ClientError):
            return error
        return ClientError(INVALID_RECORD, f"{topic}: {error}")

    def _on_failure(self, error: Any, message: Any) -> None:  # noqa: ANN401 (confluent-kafka has no types)
        self.failed += 1
        if len(self.errors) < ERRORS_KEPT:
            self.errors.append(as_error(error, f"{message.topic()}:{message.partition()}"))

    def _on_error(self, error: Any) -> None:  # noqa: ANN401 (confluent-kafka has no types)
        if error.fatal() and len(self.errors) < ERRORS_KEPT:
            self.errors.append(as_error(error))


def headers_to_send(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return headers that every record of a line shares as librdkafka takes them.

    Raises:
        ClientError: It cannot carry a name.
    """
    if needs_raw(Draft(None, None, None, None, None, headers)):
        names = ", ".join(ascii(name) for name, _ in headers)
        msg = f"librdkafka cannot send a header name that is not UTF-8 or holds a zero byte: {names}"
        raise ClientError(INVALID_RECORD, msg, "--input jsonl takes such headers")
    return list(headers)
