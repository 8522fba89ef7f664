"""``klamm trace listen`` as a process: where it listens, what it answers, and a file that cannot be written."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.cli.conftest import Klamm
from tests.support.klamm_process import klamm_command
from tests.support.process import ChildProcess, wait_until

TIMEOUT_S = 60
SPAN = {
    "traceId": "0af7651916cd43dd8448eb211c80319c",
    "spanId": "b7ad6b7169203331",
    "name": "send orders",
    "kind": "SPAN_KIND_PRODUCER",
    "startTimeUnixNano": "1795700000000000000",
    "endTimeUnixNano": "1795700000001000000",
    "attributes": [{"key": "messaging.system", "value": {"stringValue": "kafka"}}],
}
Listening = Callable[..., tuple[str, ChildProcess]]


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Listening]:
    """Return a function that runs ``klamm trace listen`` and returns its URL and the process."""
    processes: list[ChildProcess] = []

    def start(*words: str) -> tuple[str, ChildProcess]:
        command = klamm_command("trace", "listen", *words, "--no-join", "-o", "jsonl")
        process = ChildProcess(command, tmp_path / "listen.log")
        processes.append(process)
        wait_until(lambda: "listening on" in process.log() or process.exit_code is not None, TIMEOUT_S, "it listens")
        found = re.search(r"listening on (\S+)", process.log())
        assert found is not None, process.log()
        return found[1], process

    yield start
    for process in processes:
        if process.exit_code is None:
            process.kill()


def _post(url: str, document: Any) -> tuple[int, dict[str, Any]]:
    request = Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"}, method="POST")
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, json.loads(response.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def _export(span: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0", "0"])
def test_port_0_is_a_free_one_and_what_is_no_otlp_is_answered_with_why(listening: Listening, address: str) -> None:
    url, process = listening(address, "--count", "1")
    assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/v1/traces", url)
    status, body = _post(url, {"a": 1})
    assert (status, body["message"]) == (400, "no OTLP traces in JSON: there is no resourceSpans, but a")
    assert _post(url, _export({**SPAN, "kind": "ROBOT"}))[0] == 400
    assert _post(url, _export({**SPAN, "startTimeUnixNano": "9" * 30}))[0] == 400
    assert "taken" not in process.log(), "it goes on"
    assert _post(url, _export(SPAN)) == (200, {})
    wait_until(lambda: process.exit_code is not None, TIMEOUT_S, "it ends")
    assert (process.exit_code, "1 export taken; refused: 3 with 400" in process.log()) == (0, True), process.log()


@pytest.mark.parametrize(("ending", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_ends_it_leaves_the_sum(listening: Listening, ending: signal.Signals, code: int) -> None:
    url, process = listening("127.0.0.1:0")
    assert _post(url, {"a": 1})[0] == 400
    assert _post(url, _export(SPAN)) == (200, {})
    process.signal(ending)
    assert process.wait(TIMEOUT_S) == code
    assert str(SPAN["spanId"]) in process.log(), "what has come is printed"
    assert "1 export taken; refused: 1 with 400" in process.log()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is always full")
def test_a_file_that_is_full_is_said_once_and_spans_go_on_to_be_printed(listening: Listening) -> None:
    url, process = listening("127.0.0.1:0", "--count", "2", "--save", "/dev/full")
    for span_id in ("1" * 16, "2" * 16):
        assert _post(url, _export({**SPAN, "spanId": span_id})) == (200, {})
    wait_until(lambda: process.exit_code is not None, TIMEOUT_S, "it ends")
    printed = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
    assert [item["span_id"] for item in printed] == ["1" * 16, "2" * 16]
    assert process.exit_code == 1, process.log()
    assert "No space left on device: spans are not saved from here on" in process.log()


@pytest.mark.parametrize("address", ["127.0.0.1:65536", "127.0.0.1:many", "a:b:1", "https://127.0.0.1:1", "[::1"])
def test_what_is_no_address_is_a_mistake_of_the_line(klamm: Klamm, address: str) -> None:
    ran = klamm("trace", "listen", address, "--no-join", "-o", "json")
    assert (ran.code, ran.codes) == (2, ["USAGE"])
    assert "as in 127.0.0.1:4318" in ran.err
