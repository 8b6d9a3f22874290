"""Steps that the tests of sessions share."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from tests.support.wire import Frame, Wire

_numbers = itertools.count(1)


async def sign_in(wire: Wire, user: str | None = None) -> str:
    """Take a user's name, a fresh one if none is given, and return it."""
    name = user or f"user {next(_numbers)} {id(wire):x}"
    reply = await wire.ask("authenticate", userId=name)
    assert reply["type"] == "authenticated"
    return name


async def open_session(wire: Wire, **fields: Any) -> str:
    """Open a session and return its id."""
    reply = await wire.ask("open_session", **fields)
    assert reply["type"] == "session_opened", reply
    session_id: str = reply["session"]["sessionId"]
    return session_id


async def say(wire: Wire, session_id: str, prompt: str = "count", **fields: Any) -> Frame:
    """A turn of three tokens, to its end; returns its `stream_start`."""
    options = {"maxTokens": 3} | fields.pop("options", {})
    if "regenerate" in fields:
        start = await wire.ask("stream", sessionId=session_id, options=options, **fields)
        assert start["type"] == "stream_start", start
    else:
        start = await wire.stream(prompt, sessionId=session_id, options=options, **fields)
    await wire.end_of(start["streamId"])
    return start


async def history(wire: Wire, session_id: str, **fields: Any) -> list[Frame]:
    """The messages of a page."""
    reply = await wire.ask("get_history", sessionId=session_id, **fields)
    assert reply["type"] == "history", reply
    messages: list[Frame] = reply["messages"]
    return messages


def said(messages: list[Frame]) -> list[tuple[str, str]]:
    """Who said what."""
    return [(message["role"], message["content"]) for message in messages]


async def stop(wire: Wire, start: Frame) -> Frame:
    """Stop a stream that is followed here, and return its end."""
    await wire.send(type="stop_stream", streamId=start["streamId"])
    return await wire.end_of(start["streamId"])


async def poll(wire: Wire, done: Callable[[Frame], object], kind: str, **fields: Any) -> Frame:
    """Ask again until the reply is as wanted; returns it."""
    async with asyncio.timeout(10):
        while True:
            reply = await wire.ask(kind, **fields)
            if done(reply):
                return reply
            await asyncio.sleep(0.03)  # what the server does by itself is told to nobody
