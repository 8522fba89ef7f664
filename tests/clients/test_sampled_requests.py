"""Requests that say anything, sound and mutated, for every API and version that klamm advertises, from a seed."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from uuid import UUID

import psutil
import pytest

from klamm.protocol.apis import ApiKey
from klamm.protocol.messages import decode_response
from tests.clients.confluent import make_producer, produce_values
from tests.differential.conversation import Conversation
from tests.support import wire
from tests.support.klamm_process import KlammProcess
from tests.support.sampled_requests import Sampler
from tests.support.wire import WireConnection, send_and_forget

pytestmark = pytest.mark.wire

WAITS_FOR_OTHERS = {ApiKey.JOIN_GROUP, ApiKey.SYNC_GROUP}
MIB = 1024 * 1024
REFUSED_BELOW = {ApiKey.PRODUCE: 3}
"""Versions that are advertised and refused (KAFKA-18659); there are no schemas of them."""
MARKER = wire.request_header(wire.API_VERSIONS, 0, 2)


@pytest.fixture
def sampled(klamm_server: KlammProcess, seed: int) -> Iterator[Sampler]:
    """Make requests about topics that are there; afterwards nobody is hindered, and the log holds no traceback."""
    talk = Conversation(klamm_server.port, "sampled")
    ids: list[UUID] = [talk.topic("one", 3), talk.topic("two", 1)]
    talk.close()
    names = ("one-sampled", "two-sampled")
    words = {
        "": ("", *names, "nosuch", "a b", "é", "x" * 300, "1", "group"),
        "name": (*names, "retention.ms", "cleanup.policy"),
        "value": ("1", "1000", "delete", "compact"),
        "group_id": ("group", "other"),
    }
    with WireConnection(klamm_server.port) as neighbour:
        yield Sampler(seed, words, ids)
        neighbour.request(wire.API_VERSIONS, 0)
    produce_values(make_producer(klamm_server), "after", [b"alive"])
    assert "Traceback" not in klamm_server.log()


def served(port: int) -> list[tuple[ApiKey, int]]:
    """Return every API and version that is served."""
    return [
        (ApiKey(api_key), version)
        for api_key, (least, greatest) in wire.api_versions(port).items()
        for version in range(max(least, REFUSED_BELOW.get(ApiKey(api_key), 0)), greatest + 1)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_every_sound_request_is_answered_as_its_version_has_it(klamm_server: KlammProcess, sampled: Sampler) -> None:
    for api_key, version in served(klamm_server.port) * 2:
        frame = sampled.frame(api_key, version)
        if api_key in WAITS_FOR_OTHERS:
            send_and_forget(klamm_server.port, frame)
            continue
        with WireConnection(klamm_server.port) as connection:
            connection.send_frame(frame)
            connection.send_frame(MARKER)  # a Produce with acks=0 has no answer of its own
            try:
                answer = connection.receive_frame()
            except ConnectionError:
                assert api_key is ApiKey.PRODUCE, f"{api_key.name} v{version}: {frame.hex()}"
                continue
            if struct.unpack_from(">i", answer) == (1,):
                decode_response(api_key, version, answer)
            else:
                assert api_key is ApiKey.PRODUCE, f"{api_key.name} v{version} was not answered: {frame.hex()}"


@pytest.mark.parametrize("seed", range(2, 4))
def test_mutated_requests_of_every_version_cost_no_memory(klamm_server: KlammProcess, sampled: Sampler) -> None:
    frames = [sampled.frame(*one) for one in served(klamm_server.port)]
    for frame in frames:  # so that what is loaded on first use is loaded
        send_and_forget(klamm_server.port, frame)
    before = psutil.Process(klamm_server.pid).memory_info().rss
    for frame in frames * 3:
        send_and_forget(klamm_server.port, sampled.mutated(frame))
    grown = psutil.Process(klamm_server.pid).memory_info().rss - before
    assert grown < 50 * MIB, f"{grown / MIB:.0f} MiB more"
