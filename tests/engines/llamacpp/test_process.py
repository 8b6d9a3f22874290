"""llama.cpp's process: closed to others, and gone without a trace."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engines.driver import Driver, running
from tests.tiny_models import TinyModel, TinyModels
from wsserver.core.engine import ModelLoadError, ModelSpec

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")


def spec_of(path: Path, **settings: Any) -> ModelSpec:
    """The spec of a file."""
    return ModelSpec(
        id="tiny", engine="llamacpp", source=path.name, path=str(path), settings=settings
    )


def exists(path: Path) -> bool:
    """Whether something lies at the path."""
    return path.exists()


def mode_and_names(folder: Path) -> tuple[int, list[str]]:
    """Who may enter a folder, and what lies in it."""
    return stat.S_IMODE(folder.stat().st_mode), [entry.name for entry in folder.iterdir()]


@pytest.fixture
def cycle(tiny_models: TinyModels) -> Path:
    """Recites for ever."""
    return tiny_models.path(TinyModel(mode="cycle"))


async def test_server_inside_is_closed_to_others(cycle: Path) -> None:
    """llama.cpp's own server has no TCP port, and its socket lies where only this user can go."""
    async with running(spec_of(cycle)) as driver:
        assert driver.host.pid is not None
        child = psutil.Process(driver.host.pid)
        assert child.net_connections("inet") == []
        folder = Path(child.cwd())
        assert mode_and_names(folder) == (0o700, ["llamacpp.sock"])
        reader, writer = await asyncio.open_unix_connection(folder / "llamacpp.sock")
        writer.write(b"GET /props HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert not exists(folder)


async def test_child_that_lost_its_server_ends(cycle: Path) -> None:
    """Where its own server can't be reached the engine is of no use, and a new child is due."""
    async with running(spec_of(cycle)) as driver:
        assert driver.host.pid is not None
        os.unlink(Path(psutil.Process(driver.host.pid).cwd()) / "llamacpp.sock")
        driver.start("a")
        await driver.wait_for(lambda: bool(driver.exits))
        assert driver.so_far("a").outputs == ()


async def test_killed_child_leaves_no_folder(cycle: Path) -> None:
    """The child's folder goes with it, however it ended."""
    async with running(spec_of(cycle)) as driver:
        assert driver.host.pid is not None
        folder = Path(psutil.Process(driver.host.pid).cwd())
        os.kill(driver.host.pid, signal.SIGKILL)
        await driver.wait_for(lambda: bool(driver.exits))
        assert not exists(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"root:x:0:0:", "not a GGUF"), (b"GGUF\x03\0\0\0", "header")],
)
async def test_file_that_is_no_model_is_told_without_its_content(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    """A missing, foreign or cut file is named for what it is, and never quoted."""
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    driver = Driver(spec_of(path))
    with pytest.raises(ModelLoadError, match=reason) as caught:
        await driver.load()
    assert "root" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


async def test_close_with_answers_running_is_clean(cycle: Path) -> None:
    """A child closed in the middle of its work does not abort."""
    driver = Driver(spec_of(cycle, slots=4))
    await driver.load()
    for number in range(4):
        driver.start(str(number), max_tokens=10**6)
    await driver.until("3", lambda result: result.tokens > 3)
    assert driver.host.pid is not None
    process = psutil.Process(driver.host.pid)
    await driver.host.close()
    assert not process.is_running()
    assert driver.host.returncode == 0
