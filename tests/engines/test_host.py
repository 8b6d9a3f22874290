"""A host and its child process: their lives, ends and signs of life."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop
from blockbuster import blockbuster_ctx

from tests.engines.driver import Driver, running
from wsserver.core.engine import (
    EngineDied,
    FinishReason,
    ModelLoadError,
    ModelSpec,
)
from wsserver.engines import link
from wsserver.engines.host import ChildHost, Timing, create_host

ENDLESS = 1_000_000

ORPHAN = """
import asyncio, sys
from wsserver.core.engine import EngineJob, ModelSpec
from wsserver.engines.host import create_host

async def main(source, jobs):
    spec = ModelSpec(id="x", engine="synthetic", source=source)
    host = create_host(spec, lambda outputs: None, lambda died: None)
    def tell(progress):
        if progress.stage == "loading":
            print(host.pid, flush=True)
    await host.load(tell)
    for number in range(jobs):
        host.start(EngineJob(job_id=str(number), raw="x", max_tokens=1000000))
    print(host.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def synthetic(query: str = "", **settings: Any) -> ModelSpec:
    """The spec of a synthetic model."""
    return ModelSpec(
        id="counter", engine="synthetic", source=f"synthetic:?{query}", settings=settings
    )


async def stream_and_stop() -> None:
    """A whole life: load, count, stream, cancel, close."""
    async with running(synthetic("tps=1000&ttft_ms=0&load_ms=20")) as driver:
        assert await driver.host.count_tokens(text="a b c") == 3
        assert (await driver.run("a", max_tokens=5)).text == "1 2 3 4 5 "
        driver.start("b", max_tokens=ENDLESS)
        await driver.until("b", lambda result: result.tokens > 3)
        driver.host.cancel("b")
        assert (await driver.ended("b")).reason is FinishReason.CANCELLED


def test_host_lives_on_uvloop() -> None:
    """The same life on uvloop as on asyncio's own loop."""
    uvloop.run(stream_and_stop())


def test_host_never_blocks_the_loop() -> None:
    """Nothing that a host does in its life waits on the loop's thread."""

    async def guarded() -> None:
        with blockbuster_ctx():
            await stream_and_stop()

    asyncio.run(guarded())


@pytest.mark.parametrize(
    ("source", "jobs"),
    [("synthetic:", 0), ("synthetic:?tps=0", 5), ("synthetic:?load_ms=600000", 0)],
    ids=["idle", "busy and unread", "loading"],
)
def test_no_child_survives_its_parent(source: str, jobs: int, tmp_path: Path) -> None:
    """A parent killed with SIGKILL takes its child with it, whatever that was doing."""
    command = [sys.executable, "-c", ORPHAN, source, str(jobs)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # nobody is left to clear it up
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(timeout=5)


async def test_child_ignores_the_signals_of_a_terminal() -> None:
    """Ctrl-C and SIGTERM, which reach the whole group, leave the child to its parent."""
    async with running(synthetic()) as driver:
        pid = driver.host.pid
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert await driver.host.count_tokens(text="still here") == 2
        assert driver.exits == []


async def test_child_that_gives_no_sign_is_killed() -> None:
    """A child that hangs, with work or without, counts as dead after a while."""
    async with running(synthetic("tps=100"), Timing(hang=0.4)) as driver:
        driver.start("a", max_tokens=ENDLESS)
        await driver.until("a", lambda result: result.tokens > 0)
        pid = driver.host.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await driver.wait_for(lambda: bool(driver.exits))
        assert "no sign for 0.4 s" in str(driver.exits[0])
        assert not psutil.pid_exists(pid)


async def test_slow_work_is_no_hang() -> None:
    """A child whose next token is due much later than the limit stays alive by its beats."""
    async with running(synthetic("tps=0.8&ttft_ms=1250"), Timing(hang=0.4)) as driver:
        assert (await driver.run("a", max_tokens=2)).tokens == 2
        assert driver.exits == []


async def test_count_in_flight_fails_when_the_child_dies() -> None:
    """Whoever waits for a count is told of the child's end."""
    async with running(synthetic()) as driver:
        pid = driver.host.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        count = asyncio.create_task(driver.host.count_tokens(text="x"))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(EngineDied, match="SIGKILL"):
            await count


async def test_cancelled_count_leaves_the_host_sound() -> None:
    """A caller that goes away while its count runs disturbs nobody."""
    async with running(synthetic()) as driver:
        count = asyncio.create_task(driver.host.count_tokens(text="x"))
        await asyncio.sleep(0)
        count.cancel()
        assert await driver.host.count_tokens(text="a b") == 2


async def test_child_that_does_not_close_is_killed() -> None:
    """A child that hears no close is killed when the grace is over."""
    driver = Driver(synthetic())
    await driver.load()
    pid = driver.host.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await driver.host.close(0.1)
    assert not psutil.pid_exists(pid)
    assert driver.exits == []


async def test_cancelled_close_kills() -> None:
    """Whoever gives up waiting for a close still leaves no child behind."""
    driver = Driver(synthetic())
    await driver.load()
    pid = driver.host.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    close = asyncio.create_task(driver.host.close(60))
    await asyncio.sleep(0)
    close.cancel()
    with pytest.raises(asyncio.CancelledError):
        await close
    await driver.host.close()
    assert not psutil.pid_exists(pid)


async def test_host_closed_before_its_load_starts_nothing() -> None:
    """A close of a host that never loaded is a no-op, and it can't load any more."""
    driver = Driver(synthetic())
    await driver.host.close()
    assert driver.host.pid is None
    with pytest.raises(RuntimeError):
        await driver.load()


async def test_load_progress_rises_from_the_start() -> None:
    """The stages of a load are told in order, and its progress never falls."""
    async with running(synthetic("load_ms=100")) as driver:
        assert driver.progress[0].stage == "starting"
        shares = [progress.progress for progress in driver.progress]
        assert shares == sorted(shares)
        assert {progress.stage for progress in driver.progress} == {"starting", "loading"}


async def test_unknown_engine_fails_the_load() -> None:
    """An engine that does not exist is told with those that do."""
    driver = Driver(ModelSpec(id="x", engine="magic", source="magic:"))
    with pytest.raises(ModelLoadError, match=r"magic.*synthetic"):
        await driver.load()


async def test_child_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code upgraded on disk under a running server is told as that."""
    monkeypatch.setattr(link, "VERSION", link.VERSION + 1)
    driver = Driver(synthetic())
    with pytest.raises(ModelLoadError, match="restart"):
        await driver.load()


async def test_job_over_the_frame_bound_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job too large for the link fails by itself."""
    async with running(synthetic()) as driver:
        with monkeypatch.context() as patched:
            patched.setattr(link, "MAX_FRAME", 1000)
            failure = (await driver.run("a", "x" * 2000)).failure
        assert failure.code == "payload_too_large"
        assert (await driver.run("b", max_tokens=1)).tokens == 1


async def test_job_of_megabytes_arrives_whole() -> None:
    """A prompt far larger than the socket's buffer is written as the child reads it."""
    async with running(synthetic("ttft_ms=0&ctx=9000000")) as driver:
        end = (await driver.run("a", "word " * 2_000_000, max_tokens=1)).end
        assert getattr(end, "prompt_tokens", None) == 2_000_000


async def test_saturated_parent_cancels_within_a_moment() -> None:
    """With the child flat out, the cancelled job's end is not behind a flood of old deltas."""
    async with running(synthetic("tps=0&ttft_ms=0")) as driver:
        for number in range(50):
            driver.start(f"job {number}", max_tokens=ENDLESS)
        await driver.until("job 49", lambda result: result.tokens > 100)
        had = sum(driver.so_far(f"job {number}").tokens for number in range(50))
        driver.host.cancel("job 0")
        await driver.ended("job 0")
        now = sum(driver.so_far(f"job {number}").tokens for number in range(50))
        # What the socket may hold, the frame that waits, and the step under way.
        assert now - had < 5_000


def test_factory_makes_a_host() -> None:
    """The composition root's factory gives a host that has started nothing."""
    host = create_host(synthetic(), lambda outputs: None, lambda died: None)
    assert isinstance(host, ChildHost)
    assert host.pid is None
