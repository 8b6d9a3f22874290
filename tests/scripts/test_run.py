"""scripts/run as a newcomer meets it, in a project folder whose environment is already made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["scripts/run", "scripts/test", "scripts/check", ".ci/run"]

STAND_IN = '#!/bin/sh\necho "pid $$"\necho "cwd $(pwd)"\nfor word; do echo "word $word"; done\n'
"""Takes the place of the installed command and says how it was called."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the real scripts and an environment that counts as installed."""
    root = tmp_path / "a project"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("*.pyc"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root / name)
    binaries = root / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    (binaries / "wsserver").write_text(STAND_IN)
    (binaries / "wsserver").chmod(0o755)
    code = "import environment; print(environment.wanted(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "scripts" / "lib", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (root / ".venv" / "installed-run").write_text(done.stdout)
    return root


def start(project: Path, *arguments: str, cwd: Path) -> tuple[int, list[str]]:
    """Run scripts/run; return its process id and the stand-in's lines."""
    process = subprocess.Popen(
        [project / "scripts" / "run", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert errors == ""
    return process.pid, output.splitlines()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["serve"]),
        (
            ["--port", "9000", "--model", "synthetic:?tps=50"],
            ["serve", "--port", "9000", "--model", "synthetic:?tps=50"],
        ),
        (["--model", "two words.gguf"], ["serve", "--model", "two words.gguf"]),
        (["chat"], ["chat"]),
        (["config", "show", "--port", "1"], ["config", "show", "--port", "1"]),
    ],
)
def test_arguments_are_passed_on(
    arguments: list[str], words: list[str], project: Path, tmp_path: Path
) -> None:
    """A flag first means serve, a word first is the command; nothing is split or lost."""
    _, lines = start(project, *arguments, cwd=tmp_path)
    assert [line.removeprefix("word ") for line in lines if line.startswith("word ")] == words


def test_it_becomes_the_command_in_the_folder_of_the_caller(project: Path, tmp_path: Path) -> None:
    """exec: the same process id, so that a signal reaches the server; and no change of folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    pid, lines = start(project, cwd=elsewhere)
    assert f"pid {pid}" in lines
    assert f"cwd {elsewhere}" in lines


def run_with_path(project: Path, path: Path) -> subprocess.CompletedProcess[str]:
    for tool in ("sh", "dirname"):
        (path / tool).symlink_to(shutil.which(tool) or "")
    return subprocess.run(
        [project / "scripts" / "run"], env={"PATH": str(path)}, capture_output=True, text=True
    )


def fake_python(path: Path, script: str) -> None:
    (path / "python3").write_text(f"#!/bin/sh\n{script}\n")
    (path / "python3").chmod(0o755)


def test_without_a_python_that_fits_it_says_so(project: Path, tmp_path: Path) -> None:
    """An older Python alone ends in one sentence with what is needed."""
    path = tmp_path / "bin"
    path.mkdir()
    fake_python(path, "exit 1")
    done = run_with_path(project, path)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "wsserver: Python 3.11 or later is needed, and none was found (set PYTHON to its path)"
    ]


def test_without_the_venv_module_it_names_the_package(project: Path, tmp_path: Path) -> None:
    """Debian's Python without python3-venv is told from no Python at all."""
    path = tmp_path / "bin"
    path.mkdir()
    fake_python(path, "case $2 in *ensurepip*) exit 1 ;; esac")
    done = run_with_path(project, path)
    assert done.returncode == 1
    assert "apt install python3-venv" in done.stderr


def test_a_changed_project_file_makes_the_environment_stale(project: Path) -> None:
    """New dependencies are installed at the next start: the stamp no longer fits."""
    code = "import environment; print(environment.is_current('run'))"

    def is_current() -> str:
        folder = project / "scripts" / "lib"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout.strip()

    assert is_current() == "True"
    with (project / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert is_current() == "False"


@pytest.mark.parametrize(
    "script", [*SCRIPTS, "scripts/lib/environment.sh", "scripts/lib/system.sh"]
)
def test_scripts_are_valid_shell(script: str) -> None:
    """Every script parses, and those that are called may be executed."""
    assert subprocess.run(["sh", "-n", ROOT / script]).returncode == 0
    assert os.access(ROOT / script, os.X_OK) is (script in SCRIPTS)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck")
def test_scripts_pass_shellcheck() -> None:
    """shellcheck finds nothing in the scripts."""
    done = subprocess.run(
        ["shellcheck", "-x", *SCRIPTS, "scripts/lib/environment.sh", "scripts/lib/system.sh"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout == ""
