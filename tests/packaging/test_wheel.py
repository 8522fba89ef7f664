"""The wheel and the sdist, built as for publishing and installed as a user does."""

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]  # built and installed once

ROOT = Path(__file__).resolve().parents[2]
INSTALL_TIMEOUT_S = 600
# Needs pytest, which is the user's own choice to install.
NEEDS_PYTEST = "klamm.server.pytest_plugin"


def run(*command: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and the wheel from the sdist, out of what a clone would hold."""
    clone = tmp_path_factory.mktemp("clone")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        source, target = ROOT / name, clone / name
        if not os.path.lexists(source):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink():
            target.symlink_to(source.readlink())
        else:
            target.write_bytes(source.read_bytes())
    distributions = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", distributions, clone, cwd=clone)
    return distributions


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    [path] = built.glob("klamm-*.whl")
    return path


@pytest.fixture(scope="module")
def user_project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Install the wheel in a fresh environment; return its bin folder and a project with folders named as klamm's."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=True)
    binaries = environment / "bin"
    project = tmp_path_factory.mktemp("project")
    run(binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, cwd=project)
    for folder in ("storage", "cli", "model"):
        (project / folder).mkdir()
        (project / folder / "__init__.py").write_text("OWNER = 'user'\n")
    return binaries, project


def modules_in_tree() -> set[str]:
    folders = [path.resolve() for path in (ROOT / "src" / "klamm").iterdir() if path.is_symlink()]
    modules = {f"klamm/{path.relative_to(ROOT)}" for folder in folders for path in folder.rglob("*.py")}
    return modules | {f"klamm/{path.name}" for path in (ROOT / "src" / "klamm").glob("*.py")}


def test_the_wheel_holds_every_module_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if name.endswith(".py")} == modules_in_tree()
    assert "klamm/py.typed" in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"klamm"}


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path) -> None:
    [sdist] = built.glob("klamm-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md"} <= names


def test_every_module_of_an_installed_klamm_can_be_imported(user_project: tuple[Path, Path]) -> None:
    binaries, project = user_project
    names = sorted(name.removesuffix(".py").replace("/", ".").removesuffix(".__init__") for name in modules_in_tree())
    wanted = [name for name in names if not name.endswith(".__main__") and name != NEEDS_PYTEST]
    script = f"import importlib\nfor name in {wanted!r}: importlib.import_module(name)\n"
    run(binaries / "python", "-c", script, cwd=project)


def test_klamm_leaves_a_users_own_folders_of_the_same_names_alone(user_project: tuple[Path, Path]) -> None:
    binaries, project = user_project
    script = "import klamm.storage, klamm.cli, storage, cli; assert storage.OWNER == cli.OWNER == 'user'"
    run(binaries / "python", "-c", script, cwd=project)
    assert "serve" in run(binaries / "python", "-m", "klamm", "--help", cwd=project)


def test_the_installed_command_answers(user_project: tuple[Path, Path]) -> None:
    binaries, project = user_project
    assert "serve" in run(binaries / "klamm", "--help", cwd=project)
