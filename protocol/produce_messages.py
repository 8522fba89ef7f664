"""Produce in its newest shape, with topic names beside topic ids.

From version 13 on a topic is named by its id alone (KIP-516), and ``kio``'s newest dataclasses have no name at all. One
shape that serves every version needs both: ``name`` is empty where the version has ids, ``topic_id`` is None where it
has names. ``klamm.protocol.messages`` gives and takes these in place of ``kio``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from klamm.protocol import kio_loader as kio_loader  # noqa: PLC0414  # first: it keeps hypothesis out

# isort: split
from kio.schema.produce.v13 import request as newest_request
from kio.schema.produce.v13 import response as newest_response
from kio.schema.types import TopicName

NO_NAME: Final = TopicName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicProduceData(newest_request.TopicProduceData):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    name: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProduceRequest(newest_request.ProduceRequest):
    """As ``kio``'s, of topics with either name or id."""

    topic_data: tuple[TopicProduceData, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicProduceResponse(newest_response.TopicProduceResponse):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    name: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProduceResponse(newest_response.ProduceResponse):
    """As ``kio``'s, of topics with either name or id."""

    responses: tuple[TopicProduceResponse, ...]
