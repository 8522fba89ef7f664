"""A batch that is refused for some of its records: they are named (KIP-467), as Apache Kafka names them."""

import re
import time
from datetime import timedelta
from typing import Any

import pytest

from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import decode_response, encode_request, request_class
from klamm.records.record import Record, build_batch
from klamm.server.message_types import request_types
from tests.clients.confluent import create_topic
from tests.support.brokers import Broker
from tests.support.process import wait_until
from tests.support.wire import WireConnection

pytestmark = pytest.mark.wire

VERSION = 9
TIMEOUT_S = 30.0
UNKNOWN_TOPIC_OR_PARTITION = 3
NOT_LEADER = 6
INVALID_TIMESTAMP = 32
INVALID_RECORD = 87


def produce(broker: Broker, topic: str, records: list[Record]) -> Any:
    """Produce one batch and return what is answered of its partition, once the topic is led."""
    types = request_types(ApiKey.PRODUCE)
    partition = types.PartitionProduceData(index=0, records=bytes(build_batch(records, base_offset=0)))
    request = request_class(ApiKey.PRODUCE)(
        transactional_id=None,
        acks=-1,
        timeout=timedelta(seconds=10),
        topic_data=(types.TopicProduceData(name=topic, partition_data=(partition,)),),
    )
    answers: list[Any] = []

    def answered() -> bool:
        with WireConnection(broker.port, TIMEOUT_S) as connection:
            connection.socket.sendall(encode_request(ApiKey.PRODUCE, VERSION, request, 1, "tests"))
            _, response = decode_response(ApiKey.PRODUCE, VERSION, connection.receive_frame())
        answers.append(response.responses[0].partition_responses[0])
        return answers[-1].error_code.value not in {UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER}

    wait_until(answered, TIMEOUT_S, "the topic is led")
    return answers[-1]


def told(answer: Any) -> tuple[int, list[tuple[int, str]]]:
    errors = [(one.batch_index, one.batch_index_error_message or "") for one in answer.record_errors]
    return answer.error_code.value, errors


def test_records_without_a_key_are_named_where_the_topic_is_compacted(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, cleanup_policy="compact")
    now_ms = int(time.time() * 1000)
    keys = (b"k", None, b"k", None)
    answer = produce(any_broker, topic, [Record(at, now_ms, key, b"v", ()) for at, key in enumerate(keys)])
    why = f"Compacted topic cannot accept message without key in topic partition {topic}-0"
    assert told(answer) == (INVALID_RECORD, [(1, why), (3, why)])
    assert answer.error_message.startswith("One or more records have been rejected due to 2 record errors in total")


def test_records_out_of_the_topics_bounds_of_time_are_named(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, message_timestamp_before_max_ms=3_600_000)
    now_ms = int(time.time() * 1000)
    times = (now_ms - 7_200_000, now_ms)
    answer = produce(any_broker, topic, [Record(at, when, b"k", b"v", ()) for at, when in enumerate(times)])
    code, ((position, why),) = told(answer)
    assert (code, position) == (INVALID_TIMESTAMP, 0)
    assert re.fullmatch(
        rf"Timestamp {times[0]} of message with offset 0 is out of range\. "
        r"The timestamp should be within \[\d+, \d+\]",
        why,
    ), why
