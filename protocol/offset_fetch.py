"""OffsetFetch in its newest shape, with topic names beside topic ids.

From version 10 on a topic is named by its id alone (KIP-516), and ``kio``'s newest dataclasses have no name at all. One
shape that serves every version needs both: ``name`` is empty where the version has ids, ``topic_id`` is None where it
has names. ``klamm.protocol.messages`` gives and takes these in place of ``kio``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from klamm.protocol import kio_loader as kio_loader  # noqa: PLC0414  # first: it keeps hypothesis out

# isort: split
from kio.schema.offset_fetch.v10 import request as newest_request
from kio.schema.offset_fetch.v10 import response as newest_response
from kio.schema.types import TopicName

NO_NAME: Final = TopicName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchRequestTopics(newest_request.OffsetFetchRequestTopics):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    name: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchRequestGroup(newest_request.OffsetFetchRequestGroup):
    """As ``kio``'s, of topics with either name or id."""

    topics: tuple[OffsetFetchRequestTopics, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchRequest(newest_request.OffsetFetchRequest):
    """As ``kio``'s, of topics with either name or id."""

    groups: tuple[OffsetFetchRequestGroup, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponseTopics(newest_response.OffsetFetchResponseTopics):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    name: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponseGroup(newest_response.OffsetFetchResponseGroup):
    """As ``kio``'s, of topics with either name or id."""

    topics: tuple[OffsetFetchResponseTopics, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetFetchResponse(newest_response.OffsetFetchResponse):
    """As ``kio``'s, of topics with either name or id."""

    groups: tuple[OffsetFetchResponseGroup, ...]
