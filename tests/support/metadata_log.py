"""Waits until a broker goes by what its controller has answered.

Apache Kafka's controller answers once a change is committed, before its brokers have read it: on a busy machine they
are seconds behind. klamm's controller answers afterwards.
"""

from __future__ import annotations

from typing import Any

from klamm.protocol.apis import API_VERSIONS, ApiKey
from klamm.protocol.messages import decode_response, encode_request, request_class
from klamm.protocol.schema import field_named
from tests.support.process import wait_until
from tests.support.wire import WireConnection

READ_TIMEOUT_S = 60.0
NOT_SAID = -1  # by klamm
_LOG = "__cluster_metadata"


def await_metadata(port: int) -> None:
    """Wait until the broker on ``port`` has read the metadata log as far as it is committed now.

    DescribeQuorum tells how far that is, and ApiVersions which offset the broker has read (KIP-584's
    ``finalized_features_epoch``; Apache Kafka's KRaftMetadataCache).
    """
    quorum = request_class(ApiKey.DESCRIBE_QUORUM)
    topic = field_named(quorum, "topics").inner
    partition = field_named(topic, "partitions").inner
    with WireConnection(port, READ_TIMEOUT_S) as connection:
        topics = (topic(topic_name=_LOG, partitions=(partition(partition_index=0),)),)
        answer = _ask(connection, ApiKey.DESCRIBE_QUORUM, topics=topics)
        committed = int(answer.topics[0].partitions[0].high_watermark)

        def has_read() -> bool:
            named: dict[str, Any] = {"client_software_name": "tests", "client_software_version": "1"}
            offset = int(_ask(connection, ApiKey.API_VERSIONS, **named).finalized_features_epoch)
            return offset == NOT_SAID or offset >= committed - 1

        wait_until(has_read, READ_TIMEOUT_S, f"the broker has read its metadata log up to {committed}")


def _ask(connection: WireConnection, key: ApiKey, **values: Any) -> Any:
    version = API_VERSIONS[key].max
    connection.socket.sendall(encode_request(key, version, request_class(key)(**values), 1, "tests"))
    return decode_response(key, version, memoryview(connection.receive_frame()))[1]
