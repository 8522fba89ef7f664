"""Sending records through librdkafka: batches, compression, retries and idempotence are its work.

Keys go to partitions by murmur2, as with Kafka's own clients (librdkafka's own default is CRC-32, which would put a
key's records into two places). What librdkafka cannot carry is refused and never changed on the way: a header's name
that is not UTF-8 or holds a zero byte, and a timestamp of 0, which it takes for "now".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.librdkafka import as_error, configuration, construct
from klamm.client.messages.record import Headers

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
        queued: How many records were handed to librdkafka.
        failed: How many of them were not written, as far as that is known.
        errors: The first of their errors.
    """

    def __init__(self, cluster: Cluster, properties: dict[str, Any] | None = None) -> None:
        self._cluster = cluster
        self._properties = properties or {}
        self._producer: Any = None
        self.queued = 0
        self.failed = 0
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
            partitioner="murmur2_random",
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
        self._producer = construct(Producer, config)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until every record is acknowledged or has failed; after an interruption, for a moment only."""
        if self._producer is None:
            return
        if kind is not None and issubclass(kind, (asyncio.CancelledError, KeyboardInterrupt)):
            self._producer.flush(1.0)
            self.failed += len(self._producer)
            self._producer.purge()
        else:
            await self.flush()
        self._producer = None

    @property
    def sent(self) -> int:
        """How many records are written, once everything was flushed."""
        return self.queued - self.failed

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
            ClientError: librdkafka refuses one; those before it are on their way.
        """
        produce = self._producer.produce
        for draft in drafts:
            named = draft.topic or topic
            fields: dict[str, Any] = {}
            if draft.partition is not None:
                fields["partition"] = draft.partition
            if draft.timestamp_ms is not None:
                fields["timestamp"] = _timestamp(draft.timestamp_ms)
            if draft.headers:
                fields["headers"] = headers_to_send(draft.headers)
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
    """Return headers as librdkafka takes them.

    Raises:
        ClientError: It cannot carry a name.
    """
    for name, _ in headers:
        try:
            name.encode()
        except UnicodeEncodeError:
            msg = f"the header name {name!a} is not UTF-8, which librdkafka cannot send"
            raise ClientError(INVALID_RECORD, msg) from None
        if "\x00" in name:
            msg = f"the header name {name!a} holds a zero byte, which librdkafka cannot send"
            raise ClientError(INVALID_RECORD, msg)
    return list(headers)


def _timestamp(timestamp_ms: int) -> int:
    if timestamp_ms == 0:
        msg = "a timestamp of 0 (1970) cannot be sent: librdkafka takes it for the time of sending"
        raise ClientError(INVALID_RECORD, msg, "leave the timestamp out, or give another")
    return timestamp_ms
