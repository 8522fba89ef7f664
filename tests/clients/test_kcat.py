"""kcat, as people use it in a shell."""

import json
import shutil
import subprocess

import pytest

from tests.clients.confluent import create_topic, make_producer, produce
from tests.support.brokers import Broker
from tests.support.ports import free_port

pytestmark = pytest.mark.wire

TIMEOUT_S = 60.0


def run_kcat(*arguments: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
    kcat = shutil.which("kcat")
    if kcat is None:
        pytest.skip("kcat is missing: apt-get install kcat")
    return subprocess.run(
        [kcat, *arguments], input=standard_input, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


def kcat(broker: Broker, *arguments: str, standard_input: str = "") -> str:
    done = run_kcat("-b", broker.bootstrap, *arguments, standard_input=standard_input)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_lines_go_in_and_come_out(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)  # where the first batch comes too early, the second overtakes it
    lines = "".join(f"line {number}\n" for number in range(1_000))
    kcat(any_broker, "-P", "-t", topic, standard_input=lines)
    assert kcat(any_broker, "-C", "-t", topic, "-e", "-q") == lines


def test_keys_headers_and_formats(any_broker: Broker, topic: str) -> None:
    produce_arguments = ("-P", "-t", topic, "-K:", "-H", "origin=here", "-z", "snappy")
    kcat(any_broker, *produce_arguments, standard_input="k1:v1\nk2:v2\n")
    output = kcat(any_broker, "-C", "-t", topic, "-e", "-q", "-f", "%p %o %k=%s %h\n")
    assert output == "0 0 k1=v1 origin=here\n0 1 k2=v2 origin=here\n"


def test_null_values_are_told_from_empty_ones(any_broker: Broker, topic: str) -> None:
    kcat(any_broker, "-P", "-t", topic, "-K:", "-Z", standard_input="gone:\n")
    [record] = kcat(any_broker, "-C", "-t", topic, "-e", "-q", "-J").splitlines()
    assert json.loads(record)["payload"] is None
    assert json.loads(record)["key"] == "gone"


def test_offsets_from_the_start_the_end_and_the_middle(any_broker: Broker, topic: str) -> None:
    kcat(any_broker, "-P", "-t", topic, standard_input="".join(f"{number}\n" for number in range(10)))
    consume = ("-C", "-t", topic, "-p", "0", "-e", "-q")
    assert kcat(any_broker, *consume, "-o", "7") == "7\n8\n9\n"
    assert kcat(any_broker, *consume, "-o", "-2") == "8\n9\n"
    assert kcat(any_broker, *consume, "-o", "beginning", "-c", "2") == "0\n1\n"
    assert kcat(any_broker, *consume, "-o", "end") == ""


def test_metadata_lists_brokers_and_topics(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic, partitions=3)
    metadata = json.loads(kcat(any_broker, "-L", "-J"))
    assert [broker["name"] for broker in metadata["brokers"]] == [any_broker.bootstrap]
    assert metadata["controllerid"] == metadata["brokers"][0]["id"]
    [described] = [row for row in metadata["topics"] if row["topic"] == topic]
    assert [row["partition"] for row in described["partitions"]] == [0, 1, 2]
    assert f'topic "{topic}" with 3 partitions' in kcat(any_broker, "-L", "-t", topic)


def test_an_offset_is_queried_by_time(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    producer = make_producer(any_broker)
    for number in range(3):
        produce(producer, topic, value=b"value", timestamp=1_600_000_000_000 + number)
    assert "offset 1" in kcat(any_broker, "-Q", "-t", f"{topic}:0:1600000000001")


def test_consuming_a_misspelt_topic_says_so(any_broker: Broker, topic: str) -> None:
    done = run_kcat("-b", any_broker.bootstrap, "-C", "-t", topic, "-e", "-X", "allow.auto.create.topics=false")
    assert done.returncode != 0
    assert "Unknown topic" in done.stderr


def test_a_partition_that_does_not_exist_says_so(any_broker: Broker, topic: str) -> None:
    create_topic(any_broker, topic)
    done = run_kcat("-b", any_broker.bootstrap, "-C", "-t", topic, "-p", "5", "-e")
    assert done.returncode != 0
    assert "partition 5 does not exist" in done.stderr


def test_a_broker_that_is_not_up_is_said_to_be_down() -> None:
    done = run_kcat("-b", f"127.0.0.1:{free_port()}", "-L", "-m", "2")
    assert done.returncode != 0
    assert "Connection refused" in done.stderr
