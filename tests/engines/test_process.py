"""The directory that a child gets, and its import path."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from pathlib import Path

import psutil
import pytest

from wsserver.engines.process import own_directory, spawn


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary directories are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def make(folder: Path, name: str, age: float) -> Path:
    """A directory with something in it, last changed some seconds ago."""
    path = folder / name
    path.mkdir()
    (path / "llamacpp.sock").touch()
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
    return path


def names(folder: Path) -> set[str]:
    """What lies in a folder."""
    return {entry.name for entry in folder.iterdir()}


def mode_of(path: str) -> int:
    """Who may enter."""
    return stat.S_IMODE(Path(path).stat().st_mode)


async def test_directory_is_this_users_and_goes_in_the_end(folder: Path) -> None:
    """Nobody else may enter it, and nothing of it stays."""
    async with own_directory() as path:
        assert names(folder) == {Path(path).name}
        assert mode_of(path) == 0o700
    assert names(folder) == set()


async def test_what_a_killed_parent_left_is_cleared(folder: Path) -> None:
    """Old directories that nobody holds go; held, fresh and foreign ones stay."""
    make(folder, "wsserver-engine-left", age=3600)
    held = make(folder, "wsserver-engine-held", age=3600)
    make(folder, "wsserver-engine-fresh", age=0)
    make(folder, "something-else", age=3600)
    lock = os.open(held, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    async with own_directory() as path:
        kept = {"wsserver-engine-held", "wsserver-engine-fresh", "something-else"}
        assert names(folder) == kept | {Path(path).name}
    os.close(lock)


async def test_directory_in_use_survives_the_next_parent(folder: Path) -> None:
    """One that has been in use for long is not taken for one left behind."""
    async with own_directory() as path:
        os.utime(path, (0, 0))
        async with own_directory():
            assert Path(path).name in names(folder)


async def test_child_imports_nothing_from_where_the_server_stands(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clone of an engine's source in the server's directory is not imported in its place."""
    (folder / "msgspec.py").write_text("raise SystemExit('imported the wrong one')")
    monkeypatch.chdir(folder)
    child = await spawn(str(folder))
    child.socket.close()
    assert await child.process.wait() == 0
    assert await child.stderr.read() == b""


def environment_of(pid: int) -> dict[str, str]:
    """What a process was started with."""
    return psutil.Process(pid).environ()


async def test_child_sees_the_gpus_it_is_given(folder: Path) -> None:
    """The GPUs of its replica stand in its environment, numbered as the driver's tools do."""
    child = await spawn(str(folder), (2, 0))
    environment = environment_of(child.process.pid)
    child.socket.close()
    await child.process.wait()
    assert environment["CUDA_VISIBLE_DEVICES"] == environment["HIP_VISIBLE_DEVICES"] == "2,0"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


async def test_child_without_gpus_named_sees_what_the_server_sees(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator's own CUDA_VISIBLE_DEVICES is handed on as it is."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    child = await spawn(str(folder))
    environment = environment_of(child.process.pid)
    child.socket.close()
    await child.process.wait()
    assert environment["CUDA_VISIBLE_DEVICES"] == "5"
    assert "CUDA_DEVICE_ORDER" not in environment
