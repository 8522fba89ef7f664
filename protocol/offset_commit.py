"""OffsetCommit in its newest shape, with topic names beside topic ids.

From version 10 on a topic is named by its id alone (KIP-516), and ``kio``'s newest dataclasses have no name at all. One
shape that serves every version needs both: ``name`` is empty where the version has ids, ``topic_id`` is None where it
has names. ``klamm.protocol.messages`` gives and takes these in place of ``kio``'s.
``retention_time`` is what versions 2 to 4 carry, -1 ms where the broker's own applies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from klamm.protocol import kio_loader as kio_loader  # noqa: PLC0414  # first: it keeps hypothesis out

# isort: split
from kio.schema.offset_commit.v10 import request as newest_request
from kio.schema.offset_commit.v10 import response as newest_response
from kio.schema.types import TopicName

NO_NAME: Final = TopicName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitRequestTopic(newest_request.OffsetCommitRequestTopic):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    name: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitRequest(newest_request.OffsetCommitRequest):
    """As ``kio``'s, of topics with either name or id, and with the retention time of versions 2 to 4."""

    topics: tuple[OffsetCommitRequestTopic, ...]
    retention_time: timedelta = field(metadata={"kafka_type": "timedelta_i64"}, default=timedelta(milliseconds=-1))


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitResponseTopic(newest_response.OffsetCommitResponseTopic):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    name: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitResponse(newest_response.OffsetCommitResponse):
    """As ``kio``'s, of topics with either name or id."""

    topics: tuple[OffsetCommitResponseTopic, ...]
