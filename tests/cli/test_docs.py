"""What is written in docs/ is what the commands say."""

from pathlib import Path

import pytest

from klamm.cli import docs
from klamm.cli.serve import FLAGS, VALUES

FOLDER = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "text"), [("cli.md", docs.reference), ("envelope.schema.json", docs.schema_text)])
def test_the_documents_are_what_the_commands_say(name: str, text: object) -> None:
    assert callable(text)
    assert (FOLDER / name).read_text() == text(), f"run: python -m klamm.cli.docs docs ({name} is old)"


@pytest.mark.parametrize("option", [*VALUES, *FLAGS])
def test_the_broker_s_document_has_every_option_of_serve(option: str) -> None:
    assert f"`{option}" in (FOLDER / "broker.md").read_text()
