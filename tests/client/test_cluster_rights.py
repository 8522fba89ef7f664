"""The hand-written DescribeCluster against the schema, and what a user's operations say of groups."""

from datetime import timedelta

import pytest

from klamm.client import cluster_rights
from klamm.client.requests import _Shapes
from klamm.model.errors import ErrorCode
from klamm.protocol import messages
from klamm.protocol.errors import ProtocolError
from klamm.protocol.header import parse_request_header

DESCRIBE, ALTER, NOT_TOLD = 1 << 8, 1 << 7, -(2**31)


def _frame(version: int, operations: int, error: ErrorCode = ErrorCode.NONE) -> memoryview:
    shape = _Shapes(messages.response_class(cluster_rights.DESCRIBE_CLUSTER))
    brokers = tuple(
        shape.DescribeClusterBroker(
            broker_id=number, host="höst", port=9092, rack="r" if number else None, is_fenced=number > 0 and version > 1
        )
        for number in range(3)
    )
    response = shape.DescribeClusterResponse(
        throttle_time=timedelta(0), error_code=messages.wire_error(error), error_message=None, endpoint_type=1,
        cluster_id="id" * 70, controller_id=1, brokers=brokers, cluster_authorized_operations=operations,
    )  # fmt: skip
    return memoryview(messages.encode_response(cluster_rights.DESCRIBE_CLUSTER, version, response, 9))[4:]


@pytest.mark.parametrize("version", range(3))
def test_the_cluster_is_asked_for_operations_as_the_schema_has_it(version: int) -> None:
    frame = memoryview(cluster_rights.encode_describe_cluster(version, 5, "clïent"))[4:]
    header = parse_request_header(frame)
    assert (header.api_key, header.correlation_id, header.client_id) == (60, 5, "clïent")
    request = messages.decode_request(60, version, frame[header.body_position :])
    assert (request.include_cluster_authorized_operations, request.endpoint_type) == (True, 1)


@pytest.mark.parametrize("version", range(3))
@pytest.mark.parametrize("operations", [0, DESCRIBE, ALTER | DESCRIBE])
def test_operations_are_read_as_the_schema_has_them(version: int, operations: int) -> None:
    assert cluster_rights.decode_operations(_frame(version, operations), version) == operations


def test_operations_that_are_not_told_are_none() -> None:
    assert cluster_rights.decode_operations(_frame(2, NOT_TOLD), 2) is None
    assert cluster_rights.decode_operations(_frame(2, 0, ErrorCode.MISMATCHED_ENDPOINT_TYPE), 2) is None


def test_a_response_that_is_cut_anywhere_is_refused() -> None:
    whole = _frame(2, DESCRIBE)
    for size in range(5, len(whole) - 1):  # the last byte holds no tagged fields and is not looked at
        with pytest.raises(ProtocolError):
            cluster_rights.decode_operations(whole[:size], 2)
