"""The requests that the telemetry bench sends by itself: a client would take more than what is measured."""

import socket
import struct
import time
from datetime import timedelta
from typing import Any

from klamm.client.requests import shapes
from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import encode_request
from klamm.records.compression import Codec
from klamm.records.record import Record, build_batch

PRODUCE_VERSION, FETCH_VERSION = 9, 12
SAMPLED_ONE_IN = 100
RECORD_SIZE = 1024
FETCH_SIZE = 1 << 20


def produce_frame(records: int, number: int) -> bytes:
    """Return a Produce request with one batch, every record of which has a traceparent."""
    built = []
    for index in range(records):
        serial = number * records + index + 1
        flags = "01" if serial % SAMPLED_ONE_IN == 0 else "00"
        header = (b"traceparent", f"00-{serial:032x}-{serial:016x}-{flags}".encode())
        built.append(Record(index, 0, None, b"v" * (RECORD_SIZE - 90), (header,)))
    now_ms = time.time_ns() // 1_000_000
    batch = bytes(build_batch([one._replace(timestamp_ms=now_ms) for one in built], codec=Codec.NONE))
    shape: Any = shapes(ApiKey.PRODUCE)
    request = shape.ProduceRequest(
        transactional_id=None,
        acks=-1,
        timeout=timedelta(seconds=30),
        topic_data=(
            shape.TopicProduceData(name="load", partition_data=(shape.PartitionProduceData(index=0, records=batch),)),
        ),
    )
    return bytes(encode_request(ApiKey.PRODUCE, PRODUCE_VERSION, request, 1, "bench"))


def fetch_frame(offset: int) -> bytes:
    shape: Any = shapes(ApiKey.FETCH)
    partition = shape.FetchPartition(partition=0, fetch_offset=offset, partition_max_bytes=FETCH_SIZE)
    request = shape.FetchRequest(
        max_wait=timedelta(milliseconds=500),
        min_bytes=1,
        max_bytes=FETCH_SIZE,
        isolation_level=0,
        session_id=0,
        session_epoch=-1,
        topics=(shape.FetchTopic(topic="load", partitions=(partition,)),),
        forgotten_topics_data=(),
    )
    return bytes(encode_request(ApiKey.FETCH, FETCH_VERSION, request, 1, "bench"))


def answer(connection: socket.socket) -> bytes:
    (size,) = struct.unpack(">i", _exactly(connection, 4))
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        some = connection.recv(min(size - len(received), 1 << 20))
        if not some:
            msg = "the broker closed the connection"
            raise ConnectionError(msg)
        received += some
    return bytes(received)
