"""Fetch in its newest shape, with topic names beside topic ids.

From version 13 on a topic is named by its id alone (KIP-516), and ``kio``'s newest dataclasses have no name at all. One
shape that serves every version needs both: ``topic`` is empty where the version has ids, ``topic_id`` is None where it
has names. ``klamm.protocol.messages`` gives and takes these in place of ``kio``'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from klamm.protocol import kio_loader as kio_loader  # noqa: PLC0414  # first: it keeps hypothesis out

# isort: split
from kio.schema.fetch.v18 import request as newest_request
from kio.schema.fetch.v18 import response as newest_response
from kio.schema.types import TopicName

NO_NAME: Final = TopicName("")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchTopic(newest_request.FetchTopic):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    topic: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgottenTopic(newest_request.ForgottenTopic):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    topic: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest(newest_request.FetchRequest):
    """As ``kio``'s, of topics with either name or id."""

    topics: tuple[FetchTopic, ...]
    forgotten_topics_data: tuple[ForgottenTopic, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchableTopicResponse(newest_response.FetchableTopicResponse):
    """As ``kio``'s, with the name that older versions have."""

    topic_id: UUID | None = field(metadata={"kafka_type": "uuid"}, default=None)
    topic: TopicName = field(metadata={"kafka_type": "string"}, default=NO_NAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResponse(newest_response.FetchResponse):
    """As ``kio``'s, of topics with either name or id."""

    responses: tuple[FetchableTopicResponse, ...]
