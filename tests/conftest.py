"""Fixtures for every folder: brokers as processes of their own, and what happens to a test that cannot run here.

- ``klamm_server``: a fresh ``klamm serve``, stopped by SIGTERM afterwards, which must end it with exit code 0.
- ``klamm_process``: makes ``KlammProcess`` objects for tests that start, kill and restart brokers themselves.
- ``shared_klamm``: one ``klamm serve`` for all tests of a session; use topics of your own.
- ``apache_kafka``: one Apache Kafka for all tests of a session; skips where Java or Maven is missing.
- ``any_broker``: runs a test against ``shared_klamm`` and against ``apache_kafka``.
- ``topic``: a topic name that no other test uses.

With CI set in the environment nothing may be skipped: a skip is a failure there. A test that leaves actors or klamm's
threads behind fails, and not another one that comes upon them.
"""

import itertools
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pykka
import pytest
from hypothesis import HealthCheck, settings

from klamm.actors.cleaner_worker import CleanerWorker
from tests.apache_kafka.jars import ApacheKafkaUnavailableError, jars_directory
from tests.apache_kafka.node import REBALANCE_DELAY_MS, ApacheKafkaNode
from tests.support.brokers import Broker
from tests.support.klamm_process import KlammProcess

# Tests that may be skipped on CI, by node id. Each entry needs its reason as a comment.
SKIPS_ALLOWED_ON_CI: frozenset[str] = frozenset()

_LOG_TAIL_SIZE = 6_000  # characters of a broker's log that a failed test shows

_ENDING_TIMEOUT_S = 60.0  # for what ends by itself: a thread that was told to, on a loaded machine

_topic_numbers = itertools.count()
KlammFactory = Callable[..., KlammProcess]


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """Fail the test after which actors or threads of klamm run that did not run before it.

    An actor that is left running stays in pykka's registry, which all tests of this process share.
    """
    before = _running()
    yield
    deadline = time.monotonic() + _ENDING_TIMEOUT_S
    while left := [what for owner, what in _running().items() if owner not in before]:
        assert time.monotonic() < deadline, f"left running: {left}"
        time.sleep(0.02)


def _running() -> dict[object, str]:
    """Return klamm's threads, and one actor of each dispatcher: a broker that a module's tests share starts more.

    A cleaner's worker counts as its broker's: it gets a dispatcher of its own when the broker first looks for dirty
    logs, 15 s after its start, in whatever test runs then.
    """
    running: dict[object, str] = {
        thread: str(thread) for thread in threading.enumerate() if thread.name.startswith("klamm")
    }
    for ref in pykka.ActorRegistry.get_all():
        actor = getattr(ref.actor_inbox, "actor", None)
        inbox = actor._cleaner.actor_inbox if isinstance(actor, CleanerWorker) else ref.actor_inbox
        running[getattr(inbox, "dispatcher", ref)] = str(ref)
    return running


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Return a topic name made of the test's name, valid in Kafka and used by no other test."""
    words = "".join(character if character.isalnum() else "-" for character in request.node.name)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return f"{words[:100].strip('-')}-{worker}{next(_topic_numbers)}"


@pytest.fixture
def klamm_process(tmp_path: Path) -> Iterator[KlammFactory]:
    """Return a function that prepares ``KlammProcess(directory, arguments, port=…)``; all are killed afterwards."""
    made: list[KlammProcess] = []

    def prepare(*arguments: str, name: str = "klamm", port: int | None = None) -> KlammProcess:
        process = KlammProcess(tmp_path / name, arguments, port=port)
        made.append(process)
        return process

    yield prepare
    for process in made:
        if process.is_running:
            process.kill()


@pytest.fixture
def klamm_server(tmp_path: Path) -> Iterator[KlammProcess]:
    """Run a fresh ``klamm serve`` for one test; on SIGTERM it must end with exit code 0."""
    server = KlammProcess(tmp_path / "klamm").start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared_klamm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KlammProcess]:
    """Run one ``klamm serve`` for the session; on SIGTERM it must end with exit code 0."""
    properties = {
        "group.initial.rebalance.delay.ms": REBALANCE_DELAY_MS,
        "log.retention.check.interval.ms": 86_400_000,  # never: tests produce records of years ago
    }
    settings = [word for key, value in properties.items() for word in ("-X", f"{key}={value}")]
    server = KlammProcess(tmp_path_factory.mktemp("shared-klamm"), settings).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def apache_kafka_jars() -> Path:
    """Return the folder of Apache Kafka's jars, or skip."""
    try:
        return jars_directory()
    except ApacheKafkaUnavailableError as unavailable:
        pytest.skip(f"Apache Kafka: {unavailable}")


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory, apache_kafka_jars: Path) -> Iterator[ApacheKafkaNode]:
    """Run one Apache Kafka for the session."""
    with ApacheKafkaNode(tmp_path_factory.mktemp("apache-kafka")) as node:
        yield node


@pytest.fixture(params=["klamm", pytest.param("apache_kafka", marks=pytest.mark.apache)])
def any_broker(request: pytest.FixtureRequest) -> Broker:
    """Run the test once against klamm and once against Apache Kafka, which proves the test itself right."""
    broker: Broker = request.getfixturevalue("shared_klamm" if request.param == "klamm" else "apache_kafka")
    return broker


def pytest_configure(config: pytest.Config) -> None:
    """Leave out what kafka-python's way of loading its schemas is warned of, once per schema; set Hypothesis up."""
    config.addinivalue_line("filterwarnings", "ignore:(read|open)_text is deprecated:DeprecationWarning")
    config.addinivalue_line("markers", "xdist_group(name): on one worker; registered here for runs without xdist")
    # How long an input takes to make says more of the machine than of the test: two cores, a dozen processes.
    settings.register_profile("klamm", suppress_health_check=[HealthCheck.too_slow], deadline=None)
    settings.load_profile("klamm")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that use one Apache Kafka on one worker, so that one is started and not one per worker."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        on_apache = item.get_closest_marker("apache") is not None
        if on_apache or "apache_kafka" in fixtures or "apache_kafka_jars" in fixtures:
            item.add_marker(pytest.mark.xdist_group("apache_kafka"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the brokers' logs with a failed test, and turn a skip into a failure on CI."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, KlammProcess | ApacheKafkaNode):
                report.sections.append((f"end of the log of {name}", value.log()[-_LOG_TAIL_SIZE:]))
    forbidden = os.environ.get("CI") and item.nodeid not in SKIPS_ALLOWED_ON_CI and not hasattr(report, "wasxfail")
    if report.skipped and forbidden:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested here and how to get it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons: dict[str, int] = {}
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason] = reasons.get(reason, 0) + 1
    terminalreporter.section("NOT TESTED ON THIS MACHINE", red=True, bold=True)
    for reason, count in sorted(reasons.items()):
        terminalreporter.line(f"{count:5} tests  {reason.removeprefix('Skipped: ')}")
    terminalreporter.line("`bash .ci/run` installs all of it on Debian and Ubuntu and runs everything.")
