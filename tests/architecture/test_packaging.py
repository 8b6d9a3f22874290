"""What ``pip install .`` installs: a real wheel, not the tree that the other tests run in."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGES, ROOT


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--wheel-dir", folder, ROOT], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = Path(folder).glob("wsserver-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_has_every_file_of_the_packages(wheel_names: set[str]) -> None:
    """Modules, the page, Lua and JSON files, and type markers are all in it."""
    wanted = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - wheel_names == set()


@pytest.mark.parametrize(
    "name",
    [
        "wsserver/demo/demo.gguf",
        "wsserver/page/apps/rooms/index.html",
        "wsserver/page/index.html",
        "wsserver/py.typed",
        "wsserver_protocol/asyncapi.json",
        "wsserver_client/py.typed",
        "wsserver_terminal/py.typed",
    ],
)
def test_wheel_has_what_the_server_serves(wheel_names: set[str], name: str) -> None:
    """Files that a missing build or a packaging rule could silently leave out."""
    assert name in wheel_names


def test_wheel_has_nothing_else(wheel_names: set[str]) -> None:
    """No tests and no stray top-level name get into other people's site-packages."""
    tops = {name.partition("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
