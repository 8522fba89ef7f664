"""Sending that is broken off: what is said to be written is."""

import asyncio
import os
import signal

import pytest

from klamm.client.cluster import Cluster
from klamm.client.messages.jsonl import Draft
from klamm.client.messages.producing import Sender
from klamm.client.settings import Settings, parse_bootstrap
from tests.clients.confluent import create_topic
from tests.support.brokers import Broker

NOT_SENT = {"linger.ms": "20000"}  # until it is flushed, at once


def test_what_had_no_answer_when_sending_was_broken_off_is_not_said_to_be_written(
    any_broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_topic(any_broker, topic)

    async def broken_off(_: Sender) -> None:
        os.kill(any_broker.pid, signal.SIGSTOP)  # it answers nothing any more
        raise asyncio.CancelledError

    async def send() -> Sender:
        async with Cluster(Settings(parse_bootstrap(any_broker.bootstrap), {})) as cluster:
            sender = Sender(cluster, NOT_SENT)
            monkeypatch.setattr(Sender, "flush", broken_off)
            try:
                with pytest.raises(asyncio.CancelledError):
                    async with sender:
                        await sender.send([Draft(None, 0, None, None, b"value")], topic)
            finally:
                os.kill(any_broker.pid, signal.SIGCONT)
            return sender

    sender = asyncio.run(send())
    assert (sender.sent, sender.unknown) == (0, 1)
    assert sender.far == "0 records written; 1 more had no answer yet and may be there as well"
