"""Metadata in its newest shape, with what only versions 8 to 10 have.

They can ask for the operations that the caller may perform on the cluster; from version 11 on that is DescribeCluster's
(KIP-700). ``klamm.protocol.messages`` gives and takes these in place of ``kio``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from klamm.protocol import kio_loader as kio_loader  # noqa: PLC0414  # first: it keeps hypothesis out

# isort: split
from kio.schema.metadata.v13 import request as newest_request
from kio.schema.metadata.v13 import response as newest_response
from kio.static.primitive import i32

OPERATIONS_NOT_ASKED_FOR: Final = i32(-(2**31))
"""What ``cluster_authorized_operations`` says when the request did not ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRequest(newest_request.MetadataRequest):
    """As ``kio``'s, with the question of versions 8 to 10."""

    include_cluster_authorized_operations: bool = field(metadata={"kafka_type": "bool"}, default=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataResponse(newest_response.MetadataResponse):
    """As ``kio``'s, with the answer of versions 8 to 10: a bit field."""

    cluster_authorized_operations: i32 = field(metadata={"kafka_type": "int32"}, default=OPERATIONS_NOT_ASKED_FOR)
