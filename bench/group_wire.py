"""Members of groups over bare sockets: what a heartbeat or a commit costs is the broker's, not a client library's.

What is sent again and again (heartbeats, commits) is encoded once; only joins are read. One connection a member, all on
one event loop.
"""

import asyncio
import struct
import uuid
from collections import deque
from collections.abc import Coroutine, Iterable
from datetime import timedelta
from typing import Any, TypeVar, cast

import uvloop

from klamm.client.requests import shapes
from klamm.core.groups.embedded import Subscription, write_subscription
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import decode_response, encode_request

CLIENT_ID = "bench"
JOIN, SYNC, HEARTBEAT, COMMIT, FETCH_OFFSETS, FIND, CONSUMER_HEARTBEAT = 9, 5, 4, 9, 8, 4, 1  # versions
REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 27, 79
NOT_YET = {14, 15, 16}  # the coordinator loads, or the client must look for it again
RETRY_S = 0.05
COORDINATOR_TIMEOUT_S = 60.0
SESSION_TIMEOUT_MS = 45_000  # the Java consumer's default
REBALANCE_TIMEOUT_MS = 300_000  # max.poll.interval.ms
CONNECT_AT_ONCE = 50
LENGTH = struct.Struct(">i")

Result = TypeVar("Result")


class Wire(asyncio.Protocol):
    """One connection; answers come in the order of the requests."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(exc or ConnectionError("the broker closed the connection"))
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(received)
            if len(received) < LENGTH.size + size:
                return
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(bytes(received[LENGTH.size : LENGTH.size + size]))
            del received[: LENGTH.size + size]

    def send(self, frame: bytes) -> asyncio.Future[bytes]:
        """Send a request that is encoded already; the answer is not decoded either."""
        assert self._transport is not None
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._transport.write(frame)
        return future

    async def ask(self, key: ApiKey, version: int, request: Any) -> Any:  # noqa: ANN401 (kio's messages)
        """Send a request and return the response to it."""
        answer = await self.send(bytes(encode_request(key, version, request, 1, CLIENT_ID)))
        return decode_response(key, version, answer)[1]

    def close(self) -> None:
        """Close the connection without a word: how a crash looks."""
        if self._transport is not None:
            self._transport.abort()


async def connect(port: int) -> Wire:
    """Open a connection to the broker."""
    _, wire = await asyncio.get_running_loop().create_connection(Wire, "127.0.0.1", port)
    return wire


async def connect_all(port: int, count: int) -> list[Wire]:
    """Open many connections, some at a time: a listening socket's backlog is short."""
    wires: list[Wire] = []
    while len(wires) < count:
        wires += await asyncio.gather(*(connect(port) for _ in range(min(CONNECT_AT_ONCE, count - len(wires)))))
    return wires


class ClassicMember:
    """A member of a classic group, subscribed to one topic; it assigns nothing when it leads."""

    def __init__(self, wire: Wire, group: str, topic: str, session_timeout_ms: int = SESSION_TIMEOUT_MS) -> None:
        self.wire, self.group = wire, group
        self.member_id = ""
        self.generation = -1
        self._session_timeout_ms = session_timeout_ms
        self._metadata = write_subscription(Subscription((topic,)))
        self._types: Any = shapes(ApiKey.JOIN_GROUP)

    async def join(self) -> None:
        """Join, and sync; returns when this member has its assignment."""
        while True:
            joined = await self._join_once()
            code = joined.error_code.value
            if code in NOT_YET:
                await asyncio.sleep(RETRY_S)
                continue
            self.member_id = joined.member_id
            if code == MEMBER_ID_REQUIRED:
                continue
            check(code, f"JoinGroup of {self.group}")
            self.generation = joined.generation_id
            leads = joined.leader == joined.member_id
            code = await self._sync([one.member_id for one in joined.members] if leads else [])
            if code != REBALANCE_IN_PROGRESS:
                check(code, f"SyncGroup of {self.group}")
                return

    async def heartbeats_until_rebalance(self, every_s: float) -> None:
        """Heartbeat until the group rebalances."""
        while True:
            answer = await self.wire.send(self.heartbeat_frame())
            code = decode_response(ApiKey.HEARTBEAT, HEARTBEAT, answer)[1].error_code.value
            if code == REBALANCE_IN_PROGRESS:
                return
            check(code, f"Heartbeat of {self.group}")
            await asyncio.sleep(every_s)

    def heartbeat_frame(self) -> bytes:
        """Return the request that says this member is alive."""
        request = shapes(ApiKey.HEARTBEAT).HeartbeatRequest(
            group_id=self.group, generation_id=self.generation, member_id=self.member_id
        )
        return bytes(encode_request(ApiKey.HEARTBEAT, HEARTBEAT, request, 1, CLIENT_ID))

    def commit_frame(self, topic: str, partitions: Iterable[int]) -> bytes:
        """Return a commit of this member."""
        return commit_frame(self.group, topic, partitions, self.generation, self.member_id)

    async def _join_once(self) -> Any:  # noqa: ANN401 (kio's message)
        types = self._types
        request = types.JoinGroupRequest(
            group_id=self.group,
            session_timeout=timedelta(milliseconds=self._session_timeout_ms),
            rebalance_timeout=timedelta(milliseconds=REBALANCE_TIMEOUT_MS),
            member_id=self.member_id,
            protocol_type="consumer",
            protocols=(types.JoinGroupRequestProtocol(name="range", metadata=self._metadata),),
        )
        return await self.wire.ask(ApiKey.JOIN_GROUP, JOIN, request)

    async def _sync(self, members: list[str]) -> int:
        types: Any = shapes(ApiKey.SYNC_GROUP)
        request = types.SyncGroupRequest(
            group_id=self.group,
            generation_id=self.generation,
            member_id=self.member_id,
            protocol_type="consumer",
            protocol_name="range",
            assignments=tuple(types.SyncGroupRequestAssignment(member_id=one, assignment=b"a" * 32) for one in members),
        )
        return int((await self.wire.ask(ApiKey.SYNC_GROUP, SYNC, request)).error_code.value)


class ConsumerMember:
    """A member of the consumer protocol (KIP-848), subscribed to one topic."""

    def __init__(self, wire: Wire, group: str, topic: str) -> None:
        self.wire, self.group = wire, group
        self.member_id = str(uuid.uuid4())
        self.epoch = 0
        self.owned: tuple[Any, ...] = ()
        self.interval_s = 0.0
        self._topic = topic
        self._types: Any = shapes(ApiKey.CONSUMER_GROUP_HEARTBEAT)

    async def heartbeat(self) -> bool:
        """Join, or heartbeat in full; return whether an assignment came, which a client acknowledges at once."""
        types = self._types
        request = types.ConsumerGroupHeartbeatRequest(
            group_id=self.group,
            member_id=self.member_id,
            member_epoch=self.epoch,
            rebalance_timeout=timedelta(milliseconds=REBALANCE_TIMEOUT_MS),
            subscribed_topic_names=(self._topic,),
            topic_partitions=self.owned,
        )
        answer = await self.wire.ask(ApiKey.CONSUMER_GROUP_HEARTBEAT, CONSUMER_HEARTBEAT, request)
        check(answer.error_code.value, f"ConsumerGroupHeartbeat of {self.group}")
        self.epoch = answer.member_epoch
        self.interval_s = answer.heartbeat_interval.total_seconds()
        if answer.assignment is None:
            return False
        self.owned = tuple(
            types.TopicPartitions(topic_id=one.topic_id, partitions=one.partitions)
            for one in answer.assignment.topic_partitions
        )
        return True

    async def settle(self) -> None:
        """Heartbeat as a client does: at once after a new assignment, else when the interval is over; for ever."""
        while True:
            if not await self.heartbeat():
                await asyncio.sleep(self.interval_s)

    def heartbeat_frame(self) -> bytes:
        """Return the request that says this member is alive and nothing else."""
        request = self._types.ConsumerGroupHeartbeatRequest(
            group_id=self.group, member_id=self.member_id, member_epoch=self.epoch, topic_partitions=None
        )
        return bytes(encode_request(ApiKey.CONSUMER_GROUP_HEARTBEAT, CONSUMER_HEARTBEAT, request, 1, CLIENT_ID))


def commit_frame(
    group: str, topic: str, partitions: Iterable[int], generation: int = -1, member_id: str = "", offset: int = 42
) -> bytes:
    """Return an OffsetCommit; by default one of a group that only commits."""
    types: Any = shapes(ApiKey.OFFSET_COMMIT)
    parts = tuple(
        types.OffsetCommitRequestPartition(partition_index=one, committed_offset=offset, committed_metadata="")
        for one in partitions
    )
    request = types.OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=generation,
        member_id=member_id,
        topics=(types.OffsetCommitRequestTopic(name=topic, partitions=parts),),
    )
    return bytes(encode_request(ApiKey.OFFSET_COMMIT, COMMIT, request, 1, CLIENT_ID))


async def commit(wire: Wire, group: str, topic: str, partitions: Iterable[int]) -> None:
    """Commit for a group, again while its coordinator is not ready.

    Apache Kafka names a coordinator as soon as the partition's leader is known, and answers NOT_COORDINATOR or
    COORDINATOR_LOAD_IN_PROGRESS until that leader has loaded it.
    """
    frame = commit_frame(group, topic, partitions)
    async with asyncio.timeout(COORDINATOR_TIMEOUT_S):
        while True:
            answer = decode_response(ApiKey.OFFSET_COMMIT, COMMIT, await wire.send(frame))[1]
            codes: set[int] = {int(one.error_code.value) for each in answer.topics for one in each.partitions}
            if not codes & NOT_YET:
                break
            await asyncio.sleep(RETRY_S)
    for code in codes:
        check(code, f"OffsetCommit of {group}")


async def find_coordinator(wire: Wire, group: str) -> None:
    """Ask for a group's coordinator until there is one: it has loaded its partition by then, or will."""
    request = shapes(ApiKey.FIND_COORDINATOR).FindCoordinatorRequest(coordinator_keys=(group,))
    async with asyncio.timeout(COORDINATOR_TIMEOUT_S):
        while True:
            answer = await wire.ask(ApiKey.FIND_COORDINATOR, FIND, request)
            if all(one.error_code.value == 0 for one in answer.coordinators):
                return
            await asyncio.sleep(RETRY_S)


async def committed_count(wire: Wire, group: str) -> int | None:
    """Return how many offsets a group has committed; None while its coordinator cannot say."""
    types: Any = shapes(ApiKey.OFFSET_FETCH)
    request = types.OffsetFetchRequest(groups=(types.OffsetFetchRequestGroup(group_id=group, topics=None),))
    (answer,) = (await wire.ask(ApiKey.OFFSET_FETCH, FETCH_OFFSETS, request)).groups
    if answer.error_code.value:
        return None
    return sum(len(topic.partitions) for topic in answer.topics)


def check(code: int, what: str) -> None:
    """Fail if a response holds an error."""
    if code:
        message = f"{what}: error code {code}"
        raise RuntimeError(message)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine on a loop that costs little."""
    return uvloop.run(work)
