"""The jars of Apache Kafka, collected once by Maven into the user's cache folder.

A folder of jars is complete or absent: Maven fills a folder beside it, which is then renamed. Processes that ask at the
same time wait for one another on a lock file.
"""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import platformdirs

KAFKA_VERSION = "4.3.1"
JAVA_MAJOR_MIN = 17  # Kafka 4's brokers and tools need it
MAVEN_TIMEOUT_S = 900  # 45 jars, 43 MB, through a slow mirror

_HERE = Path(__file__).parent


class ApacheKafkaUnavailableError(Exception):
    """Apache Kafka cannot run on this machine; the message says what to install."""


def java() -> str:
    """Return the path of the Java launcher: JAVA_HOME's, else the one on the path."""
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def why_unavailable() -> str | None:
    """Return what keeps Apache Kafka from running here, or None when nothing does. Downloads nothing."""
    try:
        found = subprocess.run([java(), "-version"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return f"Java {JAVA_MAJOR_MIN} is missing: apt-get install default-jre-headless"
    version = found.stderr.partition('"')[2].partition('"')[0]  # openjdk version "17.0.15" 2025-04-15
    if int(version.split(".")[0] or 0) < JAVA_MAJOR_MIN:
        return f"Java is {version}, Apache Kafka needs {JAVA_MAJOR_MIN}: apt-get install default-jre-headless"
    if not _is_complete(_folder()) and shutil.which("mvn") is None:
        return "Maven is missing, and it gets Apache Kafka's jars: apt-get install maven"
    return None


def jars_directory() -> Path:
    """Return the folder of Kafka's jars, having Maven fill it on first use.

    It is ``apache-kafka/<version>`` in klamm's folder of the user's cache, or in KLAMM_APACHE_KAFKA_DIR.

    Raises:
        ApacheKafkaUnavailableError: Java or Maven is missing, or Maven could not get the jars.
    """
    reason = why_unavailable()
    if reason is not None:
        raise ApacheKafkaUnavailableError(reason)
    folder = _folder()
    if _is_complete(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{KAFKA_VERSION}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_complete(folder):  # another process may have filled it while this one waited
            _fill(folder)
    return folder


def tiered_storage_jar() -> Path:
    """Return the jar with Kafka's LocalTieredStorage, a stand-in for an object store; Maven gets it on first use.

    Raises:
        ApacheKafkaUnavailableError: Maven could not get it.
    """
    folder = jars_directory().with_name(f"{KAFKA_VERSION}-tiered")
    jar = folder / f"kafka-storage-{KAFKA_VERSION}-test.jar"
    if jar.exists():
        return jar
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jar.exists():
            filling = folder.with_name(f"{folder.name}.filling")
            shutil.rmtree(filling, ignore_errors=True)
            artifact = f"org.apache.kafka:kafka-storage:{KAFKA_VERSION}:jar:test"
            _maven("dependency:copy", f"-Dartifact={artifact}", f"-DoutputDirectory={filling}")
            filling.rename(folder)
    return jar


def _folder() -> Path:
    chosen = os.environ.get("KLAMM_APACHE_KAFKA_DIR")
    base = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("klamm")) / "apache-kafka"
    return base / KAFKA_VERSION


def _is_complete(folder: Path) -> bool:
    return (folder / f"kafka_2.13-{KAFKA_VERSION}.jar").exists()


def _fill(folder: Path) -> None:
    filling = folder.with_name(folder.name + ".filling")
    shutil.rmtree(filling, ignore_errors=True)
    _maven("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={filling}")
    filling.rename(folder)


def _maven(*words: str) -> None:
    command = ["mvn", "--quiet", "--batch-mode", "--file", str(_HERE / "pom.xml"), f"-Dkafka.version={KAFKA_VERSION}"]
    command += words
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S)
    except subprocess.CalledProcessError as failed:
        message = f"Maven could not get Apache Kafka {KAFKA_VERSION}:\n{failed.stdout[-2000:]}"
        raise ApacheKafkaUnavailableError(message) from failed
