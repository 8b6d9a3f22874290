"""A store of sessions that can't be used ends the start in one sentence."""

from __future__ import annotations

import sqlite3
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
