"""What the user may do with the cluster as a whole, as brokers tell in DescribeCluster (KIP-430, KIP-700).

Read and written by hand: ``kio`` would take longer to be imported than ``klamm trace path`` may take.
"""

from __future__ import annotations

from struct import error as struct_error
from typing import Final

from klamm.client.cluster import Cluster
from klamm.client.errors import ClientError
from klamm.client.wire_reader import INT32, Reader, framed, head, nonsense
from klamm.protocol.errors import ProtocolError

GROUPS_HIDDEN: Final = "groups you may not DESCRIBE are hidden: no DESCRIBE on the cluster"
"""What is said beside a list of groups where :func:`lists_every_group` is false."""
DESCRIBE_CLUSTER: Final = 60
DESCRIBE_CLUSTER_VERSIONS: Final = (0, 2)
_ENDPOINT_TYPE_SINCE: Final = 1
_FENCED_SINCE: Final = 2
_ENDPOINT_BROKER: Final = 1
_DESCRIBE: Final = 1 << 8
"""The bit of ``AclOperation.DESCRIBE``."""
OPERATIONS_NOT_TOLD: Final = -(2**31)
"""Operations of a broker that has no rights to tell of."""


async def may_describe(cluster: Cluster) -> bool | None:
    """Return whether the user has DESCRIBE on the cluster; None where a broker, as before Kafka 2.8, does not say.

    Raises:
        ClientError: The cluster cannot be asked.
    """
    if not await cluster.advertises(DESCRIBE_CLUSTER):
        return None
    version, frame = await cluster.ask_encoded(DESCRIBE_CLUSTER, DESCRIBE_CLUSTER_VERSIONS, encode_describe_cluster)
    try:
        operations = decode_operations(frame, version)
    except ProtocolError:
        return None
    return None if operations is None else bool(operations & _DESCRIBE)


async def lists_every_group(cluster: Cluster) -> bool:
    """Return whether ListGroups gives every group: the user may DESCRIBE the cluster, or nobody says.

    Without that right a broker lists only the groups that the user may DESCRIBE, and says nothing of the others
    (``KafkaApis.handleListGroupsRequest``).
    """
    try:
        return await may_describe(cluster) is not False
    except ClientError:
        return True


def encode_describe_cluster(version: int, correlation_id: int, client_id: str) -> bytes:
    """Return a DescribeCluster request that asks for the user's operations, with its length prefix."""
    frame = head(DESCRIBE_CLUSTER, version, correlation_id, client_id, flexible=True)
    frame.append(1)
    if version >= _ENDPOINT_TYPE_SINCE:
        frame.append(_ENDPOINT_BROKER)
    if version >= _FENCED_SINCE:
        frame.append(0)
    frame += b"\x00"
    return framed(frame)


def decode_operations(frame: memoryview, version: int) -> int | None:
    """Return the operations that the user may do, a bit for each ``AclOperation``; None where they are not told.

    Raises:
        ProtocolError: The bytes are no such response.
    """
    reader = Reader(frame, flexible=True)
    try:
        reader.tags()
        reader.position += 4  # throttle time
        error_code = reader.int16()
        reader.string()  # the error's message
        reader.position += version >= _ENDPOINT_TYPE_SINCE
        reader.string()  # the cluster's id
        reader.position += 4  # the controller's id
        for _ in range(reader.count()):
            reader.position += 4
            reader.string()  # host
            reader.position += 4
            reader.string()  # rack
            reader.position += version >= _FENCED_SINCE
            reader.tags()
        (operations,) = INT32.unpack(reader.bytes(4))
    except (struct_error, IndexError, UnicodeDecodeError) as error:
        raise nonsense(DESCRIBE_CLUSTER, version, frame, error) from error
    return None if error_code or operations == OPERATIONS_NOT_TOLD else int(operations)
