"""Requests with one reply, and sessions, against the real server."""

from __future__ import annotations

import pytest

from tests.support.server import ServerProcess
from wsserver_client import (
    WireFailure,
    connect,
)


def counted(count: int) -> str:
    """What a synthetic model says in ``count`` tokens."""
    return "".join(f"{number} " for number in range(1, count + 1))


async def test_models_are_listed_loaded_and_unloaded(server: ServerProcess) -> None:
    """The life of a model, with progress; a failing load says why."""
    async with connect(server.ws_url) as client:
        load = client.load_model("synthetic:?tps=0", model_id="extra")
        stages = [progress async for progress in load]
        assert await load == "extra"
        assert all(0 <= progress.progress <= 1 for progress in stages)
        assert "extra" in {model.id for model in await client.models()}
        assert (await client.generate("x", model="extra", max_tokens=3)).text == counted(3)
        await client.unload_model("extra")
        with pytest.raises(WireFailure) as caught:
            await client.generate("x", model="extra")
        assert caught.value.code in ("model_not_ready", "model_not_found")
        with pytest.raises(WireFailure):
            await client.load_model("/etc/passwd")


async def test_other_requests(server: ServerProcess) -> None:
    """Counts, figures, status, ping and interrupt."""
    async with connect(server.ws_url) as client:
        assert await client.count_tokens("a b c") == 3
        assert (await client.metrics()).system.connected_clients >= 1
        assert (await client.status()).client_id == client.client_id
        assert 0 < await client.ping() < 5
        stream = client.stream("x", max_tokens=100_000)
        async for _ in stream.updates():
            if stream.text:
                break
        assert (await client.interrupt()).stream_ids == (stream.stream_id,)
        assert (await stream.result()).stop_reason == "interrupt"
        await client.join_room("listed")
        assert "listed" in {room.room_id for room in (await client.list_rooms()).rooms}
        with pytest.raises(WireFailure) as caught:
            await client.stream("x", temperature=5.0).result()
        assert caught.value.details[0].field == "options.temperature"


async def test_sessions(server: ServerProcess) -> None:
    """A conversation that the server keeps: asked, gone on with, read, copied, moved, deleted."""
    async with connect(server.ws_url, user_id="keeper") as client:
        session_id = (await client.open_session(title="T", metadata={"my_key": 1})).session_id
        answer = client.stream("one", session_id=session_id, max_tokens=5)
        assert (await answer.result()).text == counted(5)
        more = client.continue_(session_id=session_id, max_tokens=3)
        assert (await more.result()).text == "6 7 8 "
        assert more.continues == answer.stream_id
        history = (await client.history(session_id)).messages
        assert [message.content for message in history] == ["one", counted(8)]
        assert history[1].message_id == answer.message_id
        fork = await client.fork_session(session_id, history[0].message_id)
        assert fork.message_count == 1
        exported = await client.export_session(session_id)
        assert exported.data is not None and exported.data.metadata == {"my_key": 1}
        copy = await client.import_session(exported.data)
        assert copy.message_count == 2
        assert (await client.update_session(copy.session_id, title="Copy")).title == "Copy"
        listed = {session.session_id for session in (await client.sessions()).sessions}
        assert {session_id, fork.session_id, copy.session_id} <= listed
        await client.clear_history(session_id)
        assert (await client.history(session_id)).messages == ()
        await client.delete_session(session_id)
        with pytest.raises(WireFailure) as caught:
            await client.history(session_id)
        assert caught.value.code == "session_not_found"
