"""Sessions outlive the server's death and the store's absence, on SQLite and on Redis."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.integration.session_steps import history, open_session, poll, said, say, sign_in, stop
from tests.support.redis import RedisProcess, redis_is_installed
from tests.support.server import differs_over_redis
from tests.support.wire import wired

LONG = {"maxTokens": 100_000}
SLOW_ENOUGH = ("--model", "synthetic:?tps=50&ttft_ms=0")

needs_redis = pytest.mark.skipif(
    not redis_is_installed(), reason="redis-server is not installed (package redis-server)"
)


a_file_of_ones_own = differs_over_redis("its sessions are in that Redis, not in a file")


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("sqlite", marks=a_file_of_ones_own),
        pytest.param("redis", marks=needs_redis),
    ],
)
async def test_a_killed_server_has_kept_the_conversation(
    place: str, start_server: StartServer, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """After kill -9 the history is there, the answer cut short is an error, and goes on."""
    arguments = ["--data-dir", str(tmp_path / "data"), *SLOW_ENOUGH]
    if place == "redis":
        arguments += ["--set", f"sessions.redis_url={request.getfixturevalue('redis').url}"]
    first = start_server(*arguments)
    async with wired(f"{first.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        session_id = await open_session(wire, title="kept")
        await say(wire, session_id, "q1")
        start = await wire.stream("q2", sessionId=session_id, options=LONG)
        while wire.copy(start["streamId"]).tokens < 100:  # two seconds: several checkpoints
            await wire.first_token(start["streamId"])
        seen = wire.copy(start["streamId"]).text
        first.kill()
    second = start_server(*arguments)
    async with wired(f"{second.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        listed = await wire.ask("list_sessions")
        assert [s["title"] for s in listed["sessions"]] == ["kept"]
        page = await poll(
            wire,
            lambda page: "finishReason" in page["messages"][-1],
            "get_history",
            sessionId=session_id,
        )
        answer = page["messages"][-1]
        assert said(page["messages"][:3]) == [
            ("user", "q1"),
            ("assistant", "1 2 3 "),
            ("user", "q2"),
        ]
        assert (answer["messageId"], answer["finishReason"]) == (start["messageId"], "error")
        # Never more than a second behind: at 50 tokens a second, 60 tokens.
        assert len(answer["content"].split()) >= len(seen.split()) - 60
        assert answer["content"].startswith(seen[: len(answer["content"])][:20])
        again = await wire.ask("continue", sessionId=session_id, options={"maxTokens": 2})
        await wire.end_of(again["streamId"])
        whole = (await history(wire, session_id))[-1]
        assert whole["messageId"] == start["messageId"]
        numbers = [int(number) for number in whole["content"].split()]
        assert numbers == list(range(1, len(numbers) + 1))


@differs_over_redis("what a drain does not see ended goes on, and its sessions are in that Redis")
async def test_a_drained_server_has_kept_the_text(
    start_server: StartServer, tmp_path: Path
) -> None:
    """SIGTERM stops what runs; its text is in the history of the next server."""
    arguments = ["--data-dir", str(tmp_path), *SLOW_ENOUGH, "--set", "server.drain_seconds=0"]
    first = start_server(*arguments)
    async with wired(f"{first.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        session_id = await open_session(wire)
        start = await wire.stream(sessionId=session_id, options=LONG)
        await wire.first_token(start["streamId"])
        first.signal(signal.SIGTERM)
        end = await wire.end_of(start["streamId"])
        assert (end["reason"], end["saved"]) == ("shutdown", True)
        text = wire.copy(start["streamId"]).text
        await wire.closed()
    second = start_server(*arguments)
    async with wired(f"{second.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        answer = (await history(wire, session_id))[-1]
        assert (answer["content"], answer["finishReason"]) == (text, "stopped")


@needs_redis
async def test_an_absent_store_refuses_and_is_back(
    start_server: StartServer, redis: RedisProcess
) -> None:
    """While it is away everything about sessions is `store_unavailable`, all else works."""
    redis.stop()
    server = start_server("--set", f"sessions.redis_url={redis.url}")
    async with wired(f"{server.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        for kind, fields in (
            ("open_session", {}),
            ("list_sessions", {}),
            ("get_history", {"sessionId": "s"}),
            ("stream", {"sessionId": "s", "prompt": "q"}),
            ("generate", {"sessionId": "s", "prompt": "q"}),
            ("continue", {"sessionId": "s"}),
        ):
            refused = await wire.ask_until(kind, **fields)  # type: ignore[arg-type]  # fields by name
            assert (refused["code"], refused["retryable"]) == ("store_unavailable", True)
            assert refused["retryAfter"] > 0
        start = await wire.stream(options={"maxTokens": 1})
        await wire.end_of(start["streamId"])
        redis.start()
        await say(wire, await open_session(wire))


@needs_redis
async def test_an_answer_streams_on_while_the_store_is_away(
    start_server: StartServer, redis: RedisProcess
) -> None:
    """It ends with `saved: false`; when the store is back it is written, each turn once."""
    server = start_server("--set", f"sessions.redis_url={redis.url}", *SLOW_ENOUGH)
    async with wired(f"{server.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        session_id = await open_session(wire)
        start = await wire.stream("q", sessionId=session_id, options=LONG)
        await wire.first_token(start["streamId"])
        redis.stop()
        await wire.first_token(start["streamId"])
        end = await stop(wire, start)
        assert end["saved"] is False
        text = wire.copy(start["streamId"]).text
        refused = await wire.ask("get_history", sessionId=session_id)
        assert refused["code"] == "store_unavailable"
        redis.start()
        page = await poll(
            wire,
            lambda page: page.get("messages", [{}])[-1].get("finishReason"),
            "get_history",
            sessionId=session_id,
        )
        assert said(page["messages"]) == [("user", "q"), ("assistant", text)]
        assert page["messages"][-1]["finishReason"] == "stopped"
        await say(wire, session_id, "next")
        assert len(await history(wire, session_id)) == 4


@a_file_of_ones_own
async def test_a_file_that_takes_no_writes_keeps_no_answer_from_streaming(
    start_server: StartServer, tmp_path: Path
) -> None:
    """With the file locked by another program, a turn runs, is told unsaved, and written later."""
    server = start_server("--data-dir", str(tmp_path))
    async with wired(f"{server.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        session_id = await open_session(wire)
        lock = sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        end = await wire.ask_until(
            "stream", sessionId=session_id, prompt="q", options={"maxTokens": 2}
        )
        assert (end["type"], end["saved"]) == ("stream_complete", False)
        lock.execute("ROLLBACK")
        lock.close()
        page = await poll(wire, lambda page: page["messages"], "get_history", sessionId=session_id)
        assert said(page["messages"]) == [("user", "q"), ("assistant", "1 2 ")]
        assert page["messages"][-1]["finishReason"] == "length"
