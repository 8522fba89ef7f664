"""The folders at the root, the links in src/klamm, and every list of them agree.

The folders stand at the root but are imported as ``klamm.<folder>`` through links in ``src/klamm``; setuptools, pyright
and ruff each have a list of their own. A folder missing from one is missing from the wheel, or goes unchecked.
"""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / "src" / "klamm"
NOT_PACKAGES = {"tests", "bench", "examples", "docs", "src", "build", "dist"}


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def package_folders() -> set[str]:
    """Return the folders at the root that hold modules of klamm."""
    candidates = (path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    return {path.name for path in candidates if path.name not in NOT_PACKAGES and any(path.rglob("*.py"))}


def test_every_folder_has_its_link_and_every_link_its_folder() -> None:
    links = {path.name for path in LINKS.iterdir() if path.is_symlink()}
    assert links == package_folders()


def test_links_are_relative_so_that_they_hold_in_every_clone() -> None:
    for path in LINKS.iterdir():
        if path.is_symlink():
            assert path.readlink() == Path("../..", path.name)


def test_setuptools_lists_every_package(pyproject: dict[str, Any]) -> None:
    packages = {"klamm"}
    for folder in package_folders():
        for module in (ROOT / folder).rglob("*.py"):
            packages.add(".".join(("klamm", *module.parent.relative_to(ROOT).parts)))
    listed = pyproject["tool"]["setuptools"]["packages"]
    assert sorted(listed) == sorted(packages)


def test_every_package_has_an_init_module_that_describes_it() -> None:
    for folder in package_folders():
        for module in (ROOT / folder).rglob("*.py"):
            init = module.parent / "__init__.py"
            assert init.exists(), f"{module.parent.relative_to(ROOT)} has no __init__.py"
            assert init.read_text().startswith('"""'), f"{init.relative_to(ROOT)} has no docstring"


def test_every_folders_map_names_each_of_its_modules() -> None:
    for folder in package_folders() | {"bench"}:
        for init in (ROOT / folder).rglob("__init__.py"):
            named = re.findall(r"`+([\w*/.]+)`+", init.read_text())
            modules = [path.stem for path in init.parent.glob("*.py") if path != init]
            folders = [f"{path.parent.name}/" for path in init.parent.glob("*/__init__.py")]
            missing = [
                each for each in modules + folders if not any(fnmatch(each, name.removesuffix(".py")) for name in named)
            ]
            assert not missing, f"the map in {init.relative_to(ROOT)} does not name {', '.join(missing)}"


def test_the_type_checkers_and_the_linter_know_every_folder(pyproject: dict[str, Any]) -> None:
    tool = pyproject["tool"]
    folders = package_folders()
    assert {f"src/klamm/{folder}" for folder in folders} <= set(tool["pyright"]["include"])
    assert folders == set(tool["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])
    makefile = (ROOT / "Makefile").read_text()
    [sources] = [line for line in makefile.splitlines() if line.startswith("SOURCES :=")]
    assert folders <= set(sources.split())
