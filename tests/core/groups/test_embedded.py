"""What clients put into JoinGroup and SyncGroup may be anything: it is read, or told from what cannot be."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.core.groups.embedded import (
    SchemaError,
    Subscription,
    read_assignment,
    read_subscription,
    write_assignment,
    write_subscription,
)

WHOLE = Subscription(("t", "u"), (("t", (0, 1)),), "rack", b"user", 4)


@given(metadata=st.binary(max_size=60))
def test_any_bytes_are_read_or_are_a_schema_error(metadata: bytes) -> None:
    for read in (read_subscription, read_assignment):
        with suppress(SchemaError):
            read(metadata)


@pytest.mark.parametrize("version", range(4))
def test_a_subscription_that_ends_early_is_a_schema_error(version: int) -> None:
    written = write_subscription(WHOLE, version)
    assert read_subscription(written).topics == WHOLE.topics
    for size in range(len(written)):
        with pytest.raises(SchemaError):
            read_subscription(written[:size])


@pytest.mark.parametrize("count", [b"\x00\x00\x00\x09", b"\x7f\xff\xff\xff"])
def test_a_list_longer_than_its_bytes_is_a_schema_error(count: bytes) -> None:
    """Apache Kafka 4.3 never answers a JoinGroup with such a list."""
    with pytest.raises(SchemaError):
        read_subscription(b"\x00\x00" + count)
    with pytest.raises(SchemaError):
        read_assignment(b"\x00\x00" + count)


def test_a_topic_that_is_not_utf8_is_read_with_replacements_as_kafka_does() -> None:
    written = write_assignment((("t??", (1,)),), 1).replace(b"??", b"\xfc\xdf")
    assert read_assignment(written) == (("t\ufffd\ufffd", (1,)),)
