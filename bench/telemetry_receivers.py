"""How long produce takes while OTLP exports go nowhere: ``python bench/run.py telemetry --receivers``.

Brokers with telemetry on stand side by side: one exports nothing, one to a receiver that takes everything, the others
to receivers that are down, never answer, or refuse. In each round, in an order by chance, each gets a thousand messages
a second for some seconds over one socket, one record of 1 KiB a request, one in a hundred sampled; the next is sent
when the one before is answered and its time has come, and who comes late because of that has waited. Metrics are
exported once a minute, as by default, or as ``OTEL_METRIC_EXPORT_INTERVAL`` says. What is printed is the median of the
rounds' medians and 99th percentiles with its 95 % interval, and of the differences from the broker that exports
nothing.
"""

import multiprocessing
import random
import shutil
import socket
import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.brokers import Klamm, free_port
from bench.intervals import median_interval
from bench.telemetry_wire import answer, produce_frame

RATE = 1000
WARM_UP = 3000
SETTLE_S = 15.0  # the SDK has its timeout of 10 s behind it once, so that every kind is in the state that lasts
FRAMES = 100  # one of them with a sampled message
PROPERTIES = {"acks.all.single": "written", "klamm.telemetry.enable": "true"}
KINDS = ("none", "taken", "refused", "silent", "400")


def measure(rounds: int, seconds: float) -> int:
    """Measure and print; return the exit code."""
    frames = [produce_frame(1, number) for number in range(FRAMES)]
    folder = Path(tempfile.mkdtemp(prefix="klamm-bench-"))
    brokers: dict[str, Klamm] = {}
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with ExitStack() as receivers:
        try:
            for kind in KINDS:
                brokers[kind] = Klamm(folder / kind, PROPERTIES, _variables(kind, receivers)).start()
                brokers[kind].create_topics(["load"], 1)
                _latencies(brokers[kind], frames, WARM_UP)
            time.sleep(SETTLE_S)
            for number in range(rounds):
                for kind in random.sample(KINDS, len(KINDS)):
                    found[kind].append(_percentiles(_latencies(brokers[kind], frames, int(RATE * seconds))))
                shown = (f"{kind} {each[-1][0]:.0f} {each[-1][1]:.0f}" for kind, each in found.items())
                print(f"{number + 1:3}", *shown, sep="   ", flush=True)
        finally:
            for broker in brokers.values():
                broker.stop()
            shutil.rmtree(folder, ignore_errors=True)
    print()
    for kind, each in found.items():
        _tell(kind, each, found["none"])
    return 0


def _latencies(broker: Klamm, frames: list[bytes], count: int) -> list[float]:
    """Produce so many messages at :data:`RATE` and return how many microseconds each took."""
    taken: list[float] = []
    with socket.create_connection(("127.0.0.1", broker.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin = time.perf_counter()
        for number in range(count):
            due, now = begin + number / RATE, time.perf_counter()
            if now < due:
                time.sleep(due - now)
                due = time.perf_counter()  # that a sleep ends late is not the broker's
            connection.sendall(frames[number % len(frames)])
            answer(connection)
            taken.append((time.perf_counter() - due) * 1e6)
    return taken


def _percentiles(latencies: list[float]) -> tuple[float, float]:
    ordered = sorted(latencies)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]


def _tell(kind: str, each: list[tuple[float, float]], none: list[tuple[float, float]]) -> None:
    print(f"{kind:8}", end="")
    for index, name in enumerate(("p50", "p99")):
        values = [one[index] for one in each]
        more = [one[index] - other[index] for one, other in zip(each, none, strict=True)]
        print(f"   {name} {_with_interval(values)} µs, {_with_interval(more)} more than none", end="")
    print(f", {len(each)} rounds")


def _with_interval(values: list[float]) -> str:
    low, high = median_interval(values)
    return f"{statistics.median(values):.0f} ({low:.0f} to {high:.0f})"


# --- receivers ----------------------------------------------------------------------------------------------------


def _variables(kind: str, receivers: ExitStack) -> dict[str, str]:
    """Return the variables of a broker that exports to this kind of receiver, which runs until the stack is left."""
    if kind == "none":
        return {}
    port = free_port() if kind == "refused" else receivers.enter_context(_receiver(kind))
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}


@contextmanager
def _receiver(kind: str) -> Generator[int, None, None]:
    """Run a receiver in a process of its own; gives its port."""
    ours, its = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_receive, args=(kind, its), daemon=True)
    process.start()
    try:
        yield int(ours.recv())
    finally:
        process.terminate()
        process.join()


def _receive(kind: str, port: Connection) -> None:
    """Receive: say nothing, or answer everything with one status."""
    if kind == "silent":
        with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
            port.send(server.getsockname()[1])
            connections = []
            while True:
                connections.append(server.accept()[0])
    status = 200 if kind == "taken" else int(kind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 (the base class's)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        port.send(http.server_address[1])
        http.serve_forever()
