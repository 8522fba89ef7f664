"""What importing the codec drags in: it is on the way of every start."""

from __future__ import annotations

import subprocess
import sys


def modules_after(statements: str) -> set[str]:
    code = f"import sys\n{statements}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_codec_imports_neither_hypothesis_nor_asyncio() -> None:
    loaded = modules_after(
        "from klamm.protocol import messages\n"
        "messages.prewarm([0, 1, 3, 8, 9, 18])\n"
        "messages.decode_request(3, 1, bytes(4))\n"
    )
    assert "kio.static._phantom" in loaded
    assert loaded.isdisjoint({"hypothesis", "asyncio", "importlib.metadata", "kio.serial", "ssl"})


def test_the_table_and_the_headers_import_nothing_of_kio() -> None:
    loaded = modules_after("from klamm.protocol import apis, fetch, header, produce")
    assert not [name for name in loaded if name.partition(".")[0] in {"kio", "hypothesis", "asyncio"}]


def test_reading_batches_imports_no_compression_library() -> None:
    loaded = modules_after("from klamm.records import batch, record")
    assert loaded.isdisjoint({"cramjam", "importlib.metadata", "kio"})


def test_hypothesis_can_still_be_imported_afterwards_and_before() -> None:
    after = modules_after("import klamm.protocol.messages\nimport hypothesis.strategies\nassert hypothesis.given")
    before = modules_after("import hypothesis.strategies\nimport klamm.protocol.messages\nassert hypothesis.given")
    assert "hypothesis.strategies" in after & before
