"""How a follower reaches its leader: the Fetch API over a client connection, as the replica that it is (KIP-903)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from klamm.client.connection import BrokerConnection
from klamm.client.errors import ClientError
from klamm.client.settings import Address as ClientAddress
from klamm.client.settings import Settings
from klamm.core.replica_fetcher import FetchAnswer, FetchFrom
from klamm.model.configs_broker import BrokerConfig
from klamm.model.errors import ErrorCode, KafkaError
from klamm.protocol.apis import ApiKey
from klamm.protocol.errors import ProtocolError
from klamm.protocol.messages import encode_request, error_of, request_class
from klamm.protocol.replica_fetch import VERSIONS, decode_replica_fetch
from klamm.server.message_types import request_types
from klamm.server.options import Address

logger = logging.getLogger(__name__)

EARLIEST: Final = -2

ANSWER_TIMEOUT_S: Final = 30.0
"""Kafka's replica.socket.timeout.ms: a leader that says nothing for so long is connected to anew."""


class LeaderFetchPort:
    """Reaches the leader of one partition (FetchPort). Runs on the node's loop; one request is under way at a time.

    Args:
        loop: The node's loop.
        leader: Where the leader listens.
        partition: (topic, its id, partition) to copy.
        broker_id: Who we are.
        config: Sizes and waits of ``replica.fetch.*``.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        leader: Address,
        partition: tuple[str, UUID, int],
        broker_id: int,
        config: BrokerConfig,
    ) -> None:
        self._loop = loop
        self._address = ClientAddress(leader.host, leader.port)
        self._topic, self._topic_id, self._partition = partition
        self._broker_id = broker_id
        self._config = config
        self._connection: BrokerConnection | None = None
        self._task: asyncio.Task[None] | None = None

    def fetch(self, fetch: FetchFrom, answer: Callable[[FetchAnswer | None], None]) -> None:
        """Ask the leader for records (FetchPort)."""
        self._run(self._fetch(fetch), answer)

    def earliest(self, leader_epoch: int, answer: Callable[[int | None], None]) -> None:
        """Ask the leader for its earliest offset (FetchPort)."""
        self._run(self._earliest(leader_epoch), answer)

    def close(self) -> None:
        """Give up what is under way."""
        if self._task is not None:
            self._task.cancel()
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _run(self, question: Coroutine[Any, Any, Any], answer: Callable[[Any], None]) -> None:
        async def ask() -> None:
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    found = await question
            except (ClientError, KafkaError, ProtocolError, TimeoutError) as error:
                logger.warning("a leader does not answer", extra={"leader": str(self._address), "reason": repr(error)})
                self._disconnect()
                found = None
            except Exception:
                logger.exception("a leader could not be asked", extra={"leader": str(self._address)})
                self._disconnect()
                found = None
            answer(found)

        self._task = self._loop.create_task(ask())

    async def _open(self) -> BrokerConnection:
        if self._connection is None or not self._connection.is_open:
            connection = BrokerConnection(self._address, Settings((self._address,), {}))
            await connection.open()
            self._connection = connection
        return self._connection

    async def _fetch(self, fetch: FetchFrom) -> FetchAnswer:
        types = request_types(ApiKey.FETCH)
        config = self._config
        partition = types.FetchPartition(
            partition=self._partition,
            current_leader_epoch=fetch.leader_epoch,
            fetch_offset=fetch.offset,
            last_fetched_epoch=fetch.last_fetched_epoch,
            partition_max_bytes=config.replica_fetch_max_bytes,
        )
        request = request_class(ApiKey.FETCH)(
            replica_state=types.ReplicaState(replica_id=self._broker_id),
            max_wait=timedelta(milliseconds=config.replica_fetch_wait_max_ms),
            min_bytes=config.replica_fetch_min_bytes,
            max_bytes=config.replica_fetch_response_max_bytes,
            topics=(types.FetchTopic(topic_id=self._topic_id, partitions=(partition,)),),
            forgotten_topics_data=(),
        )

        def encode(version: int, correlation_id: int, client_id: str) -> bytearray:
            return encode_request(ApiKey.FETCH, version, request, correlation_id, client_id)

        version, frame = await (await self._open()).request_encoded(ApiKey.FETCH, VERSIONS, encode)
        error_code, found = decode_replica_fetch(version, frame)
        if found is None:
            msg = f"{self._address} answered a Fetch without its partition"
            raise KafkaError(msg, code=_error(error_code) or ErrorCode.UNKNOWN_SERVER_ERROR)
        return FetchAnswer(
            _error(found.error_code),
            found.records,
            found.high_watermark,
            found.log_start_offset,
            found.diverging_epoch,
            tuple(client_id for _, client_id in found.provenance),
            tuple(append_time_us for append_time_us, _ in found.provenance),
        )

    async def _earliest(self, leader_epoch: int) -> int | None:
        types = request_types(ApiKey.LIST_OFFSETS)
        partition = types.ListOffsetsPartition(
            partition_index=self._partition, current_leader_epoch=leader_epoch, timestamp=EARLIEST
        )
        request = request_class(ApiKey.LIST_OFFSETS)(
            replica_id=self._broker_id,
            isolation_level=0,
            topics=(types.ListOffsetsTopic(name=self._topic, partitions=(partition,)),),
            timeout=timedelta(seconds=ANSWER_TIMEOUT_S),
        )
        response = await (await self._open()).request(ApiKey.LIST_OFFSETS, request)
        found = response.topics[0].partitions[0]
        return None if error_of(found.error_code) else int(found.offset)


def _error(code: int) -> ErrorCode:
    try:
        return ErrorCode(code)
    except ValueError:  # of a newer leader
        return ErrorCode.UNKNOWN_SERVER_ERROR
