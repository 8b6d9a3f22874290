"""A store of sessions that can't be used ends the start in one sentence."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_commands import run


def damaged(folder: Path) -> str:
    """A file that is no database."""
    (folder / "sessions.db").write_text("notes " * 1000)
    return "not a database"


def newer(folder: Path) -> str:
    """A file of a version to come."""
    with sqlite3.connect(folder / "sessions.db") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    return "version 99"


def not_a_folder(folder: Path) -> str:
    """A file where the folder should be."""
    folder.rmdir()
    folder.write_text("")
    return "--data-dir"


@pytest.mark.parametrize("spoil", [damaged, newer, not_a_folder])
def test_server_says_why_it_can_not_use_its_store(tmp_path: Path, spoil: object) -> None:
    """No traceback: what is wrong, exit code 1, and the file is left as it was."""
    folder = tmp_path / "data"
    folder.mkdir()
    assert callable(spoil)
    words = spoil(folder)
    done = run("serve", "--port", "0", "--model", "synthetic:", "--data-dir", str(folder))
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "worker"])
@pytest.mark.parametrize("setting", ["redis.url", "sessions.redis_url"])
def test_an_address_that_is_none_is_named(tmp_path: Path, command: str, setting: str) -> None:
    """The setting and what is wrong with it, in one sentence that quotes nothing of a password."""
    given = {"redis.url": "redis://127.0.0.1:1/0", setting: "redis://ada:open/sesame@127.0.0.1/0"}
    arguments = [part for name, url in given.items() for part in ("--set", f"{name}={url}")]
    arguments += ["--model", "synthetic:", "--data-dir", str(tmp_path / "data")]
    done = run(command, *arguments)
    assert done.returncode == 1
    assert f"wsserver: {setting}: the database is no number" in done.stderr
    assert "sesame" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_redis_that_is_away_is_waited_for(tmp_path: Path, command: str) -> None:
    """It says what it waits for and why it has to; told to end meanwhile it does, with 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wsserver", command, "--redis-url", "redis://127.0.0.1:1/0"]
        + ["--model", "synthetic:", "--data-dir", str(tmp_path / "data")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = next(line for line in process.stderr if "waits for the Redis of redis.url" in line)
    assert "127.0.0.1:1. Connection refused" in said
    process.terminate()
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in rest
