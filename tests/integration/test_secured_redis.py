"""A fleet over a Redis behind TLS, with a user and a password: all works, and no secret is told."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_commands import run
from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.redis import redis_is_installed
from tests.support.redis_secured import PASSWORD, Authority, SecuredRedis, openssl_is_installed
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis import RedisLink

pytestmark = pytest.mark.skipif(
    not redis_is_installed() or not openssl_is_installed(),
    reason="redis-server or openssl is not installed (packages redis-server, openssl)",
)

MODEL = ("--model", "m=synthetic:?tps=100&ttft_ms=0&slots=4")


def free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        port: int = probing.getsockname()[1]
        return port


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def secured(tmp_path: Path, authority: Authority) -> Iterator[SecuredRedis]:
    (tmp_path / "redis").mkdir()
    server = SecuredRedis(tmp_path / "redis", authority, free_port())
    server.start()
    yield server
    server.stop()


async def test_a_fleet_works_over_it(
    secured: SecuredRedis, start_server: StartServer, connect: Connect
) -> None:
    """Two gateways and a worker: an answer, a history and a room, with no rights but those that the
    documents name; and all goes on after the Redis was away."""
    here = start_server(*MODEL, "--redis-url", secured.url)
    there = start_server("--set", "models.start=[]", "--redis-url", secured.url)
    one, two = await connect(to=here), await connect(to=there)
    for wire in (one, two):
        await wire.ask("authenticate", userId="ada")
        await wire.ask("join_room", roomId="r")
    opened = await two.ask("open_session")
    session = opened["session"]["sessionId"]
    options = {"maxTokens": 300}
    start = await two.stream(sessionId=session, options=options)
    await two.first_token(start["streamId"])
    await asyncio.to_thread(secured.stop)
    await asyncio.to_thread(secured.start)
    end = await two.end_of(start["streamId"], seconds=20)
    assert (end["type"], end["saved"]) == ("stream_complete", True)
    assert two.copy(start["streamId"]).text == counted(300)
    history = await one.ask("get_history", sessionId=session)
    assert [m["role"] for m in history["messages"]] == ["user", "assistant"]
    await one.send(type="room_message", roomId="r", text="hello")
    said = await two.until("room_message")
    assert said["text"] == "hello"
    for server in (here, there):
        assert server.stop() == 0
        assert PASSWORD not in server.log_text()
        assert "NOPERM" not in server.log_text()


async def test_what_is_wrong_is_said_without_the_password(
    secured: SecuredRedis, authority: Authority, tmp_path: Path
) -> None:
    """A wrong password, an authority that is not the server's, and TLS where there is none."""
    stranger = Authority(tmp_path / "stranger")
    faults = {
        secured.address(password="wrong/sesame"): "invalid username-password pair",
        secured.address(authority=stranger): "certificate verify failed",
        secured.address().replace("rediss://", "redis://").partition("?")[0]: "",
    }
    for url, words in faults.items():
        link = RedisLink.open(url)
        with pytest.raises(StoreUnavailable) as refused:
            await link.ping()
        assert words in str(refused.value)
        assert "sesame" not in str(refused.value)
        await link.close()


def test_the_doctor_knows_it(secured: SecuredRedis, tmp_path: Path) -> None:
    """It says that the Redis answers, and nothing of the password; so does `config show`."""
    arguments = ("--redis-url", secured.url, "--data-dir", str(tmp_path / "data"))
    looked = run("doctor", *arguments)
    assert "sesame" not in looked.stdout + looked.stderr
    assert "ok     redis: " in looked.stdout
    shown = run("config", "show", *arguments)
    assert "sesame" not in shown.stdout
    assert "rediss://" in shown.stdout


def test_a_wrong_password_is_waited_out(secured: SecuredRedis, tmp_path: Path) -> None:
    """A worker that Redis does not let in says why, quotes no password, and ends when told to."""
    url = secured.address(password="wrong/sesame")
    process = subprocess.Popen(
        [sys.executable, "-m", "wsserver", "worker", *MODEL, "--redis-url", url],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "waits for the Redis" in line and "invalid username-password pair" in line:
            break
    process.terminate()
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "sesame" not in "".join(said) + rest
