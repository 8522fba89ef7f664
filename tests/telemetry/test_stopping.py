"""A broker that stops while its telemetry still works on other threads."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

import pytest

import klamm
from klamm.actors.exporter import Export
from klamm.server import telemetry
from klamm.server.telemetry import EXPORTS_MAX, NodeTelemetry
from tests.support.ports import free_port
from tests.support.process import wait_until
from tests.telemetry.own_topics import DEADLINE_S, telling_broker


@contextmanager
def _busy(broker: klamm.Broker) -> Generator[tuple[NodeTelemetry, threading.Event], None, None]:
    """Have the exporter work until the event is set, with as much behind it as may wait."""
    told = broker.node.telemetry
    assert told is not None
    over = threading.Event()

    def work() -> None:
        over.wait(DEADLINE_S)

    try:
        told._exporter.tell(Export(work))
        wait_until(lambda: not told._exporter.actor_inbox.messages, DEADLINE_S, "the exporter is at work")
        for _ in range(EXPORTS_MAX):
            told._exporter.tell(Export(lambda: None))
        yield told, over
    finally:
        over.set()


def test_metrics_are_served_no_longer_however_much_the_exporter_had_to_do() -> None:
    with telling_broker(**{"klamm.metrics.listen": "127.0.0.1:0"}) as broker:
        told = broker.node.telemetry
        assert told is not None
        wait_until(lambda: told.teller.exporters is not None, DEADLINE_S, "metrics are served")
        assert told.teller.exporters is not None
        served = told.teller.exporters._prometheus
        assert served is not None
        with _busy(broker) as (_, over):
            stopping = threading.Thread(target=broker.stop)
            stopping.start()
            wait_until(lambda: told._stopped, DEADLINE_S, "it stops")
            over.set()
            stopping.join(DEADLINE_S)
            assert not stopping.is_alive()
    assert not served.thread.is_alive(), "the port is still served"


def test_an_exporter_that_is_late_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """That its thread and the sender's end is seen by the fixture that looks for what a test leaves behind."""
    monkeypatch.setattr(telemetry, "STOP_TIMEOUT_S", 0.05)
    monkeypatch.setattr(telemetry, "SEND_TIMEOUT_S", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
    closed: list[bool] = []
    with telling_broker() as broker:
        told = broker.node.telemetry
        assert told is not None
        wait_until(lambda: told.teller.exporters is not None, DEADLINE_S, "the ways out are open")
        exporters = told.teller.exporters
        assert exporters is not None
        close = exporters.close

        def noted() -> None:
            close()
            closed.append(True)

        monkeypatch.setattr(exporters, "close", noted)
        with _busy(broker):
            broker.stop()
            assert not closed
        wait_until(lambda: bool(closed), DEADLINE_S, "they are closed")
