"""What the client decides without a cluster: positions, ACLs, quotas, spreading, addresses, groups' bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klamm.client.acls import Acl, decide
from klamm.client.errors import SettingsError
from klamm.client.groups import decode_assignment, decode_subscription
from klamm.client.partitions import spread
from klamm.client.positions import _offset, parse_time_ms
from klamm.client.quotas import Quota, resolve
from klamm.client.settings import parse_address, parse_bootstrap
from klamm.client.wire import PartitionMetadata, TopicMetadata

NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("position", "time_ms"),
    [("now", NOW), ("-1h", NOW - 3_600_000), ("@-30m", NOW - 1_800_000),
     ("@now", NOW), ("@1600000000000", 1_600_000_000_000),
     ("@2023-11-14T22:13:20+00:00", NOW), ("start", None), ("12", None), ("-5", None), ("+5", None)],
)  # fmt: skip
def test_positions_that_are_times(position: str, time_ms: int | None) -> None:
    assert parse_time_ms(position, NOW) == time_ms


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="is no time"):
        parse_time_ms("@yesterday", NOW)


@pytest.mark.parametrize(("position", "offset"), [("start", 10), ("end", 90), ("+5", 15), ("-5", 85), ("42", 42)])
def test_positions_that_are_offsets(position: str, offset: int) -> None:
    assert _offset(position, 10, 90) == offset


def _acl(
    principal: str, operation: str, name: str = "orders", pattern: str = "literal", permission: str = "allow"
) -> Acl:
    return Acl("topic", name, pattern, principal, "*", operation, permission)


@pytest.mark.parametrize(
    ("acls", "operation", "allowed"),
    [
        ([], "read", False),
        ([_acl("User:a", "read")], "read", True),
        ([_acl("User:a", "read")], "write", False),
        ([_acl("User:a", "read")], "describe", True),
        ([_acl("User:a", "all")], "write", True),
        ([_acl("User:*", "read")], "read", True),
        ([_acl("User:b", "read")], "read", False),
        ([_acl("User:a", "read", "ord", "prefixed")], "read", True),
        ([_acl("User:a", "read", "*")], "read", True),
        ([_acl("User:a", "all"), _acl("User:a", "read", permission="deny")], "read", False),
        ([_acl("User:a", "all"), _acl("User:a", "write", permission="deny")], "read", True),
        ([_acl("User:a", "read"), _acl("User:*", "all", permission="deny")], "read", False),
    ],
)
def test_a_deny_wins_then_an_allow_then_nothing(acls: list[Acl], operation: str, allowed: bool) -> None:  # noqa: FBT001
    assert decide(acls, "User:a", "10.0.0.1", operation, ("topic", "orders")).allowed is allowed


def test_the_most_specific_quota_wins() -> None:
    quotas = [
        Quota((("client-id", None),), {"k": 1.0, "only-default": 9.0}),
        Quota((("user", None),), {"k": 2.0}),
        Quota((("user", "a"),), {"k": 3.0}),
        Quota((("user", "a"), ("client-id", "c")), {"k": 4.0}),
    ]
    assert resolve(quotas, "a", "c")["k"][0] == 4.0
    assert resolve(quotas, "a", "x")["k"][0] == 3.0
    assert resolve(quotas, "b", "c")["k"][0] == 2.0
    assert resolve(quotas, "b", "c")["only-default"][0] == 9.0


@given(st.integers(1, 20), st.integers(1, 3), st.integers(3, 6))
def test_spreading_keeps_replica_counts_and_evens_the_load(partitions: int, replicas: int, brokers: int) -> None:
    parts = [PartitionMetadata(0, n, 0, 0, tuple(range(replicas)), (), ()) for n in range(partitions)]
    topic = TopicMetadata(0, "t", bytes(16), internal=False, partitions=parts)
    ids = list(range(brokers))
    targets = spread([topic], ids)
    final = [targets.get(("t", part.partition), part.replicas) for part in parts]
    assert all(len(set(each)) == replicas for each in final)
    load = [sum(broker in each for each in final) for broker in ids]
    assert max(load) - min(load) <= 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [("h", "h:9092"), ("h:1", "h:1"), ("[::1]:9", "[::1]:9"), ("PLAINTEXT://h:7", "h:7"), (" h:1 ", "h:1")],
)
def test_addresses(text: str, shown: str) -> None:
    assert str(parse_address(text)) == shown


@pytest.mark.parametrize("text", ["", ":", "h:x", "h:0", "h:70000", "a b", "h:1:2", ","])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        parse_bootstrap(text)


@given(st.binary(max_size=60))
def test_other_protocols_member_bytes_are_no_partitions_and_no_crash(data: bytes) -> None:
    decode_assignment(data)
    decode_subscription(data)


def test_an_assignment_is_read() -> None:
    data = struct.pack(">hih1siii", 0, 1, 1, b"t", 2, 5, 6) + struct.pack(">i", -1)
    assert decode_assignment(data) == [("t", 5), ("t", 6)]
