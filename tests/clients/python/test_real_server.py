"""The Python client against the real server, over a network that breaks."""

from __future__ import annotations

import asyncio
import gc
import socket
from typing import Literal

import pytest

from tests.clients.cutting import relay
from tests.conftest import StartServer
from tests.support.server import ServerProcess
from wsserver_client import (
    AnswerStarted,
    Backoff,
    Client,
    ConnectionLost,
    Joined,
    Left,
    LinkState,
    LinkStatus,
    Said,
    StreamHandle,
    StreamUpdate,
    WireFailure,
    connect,
)


def counted(count: int) -> str:
    """What a synthetic model says in ``count`` tokens."""
    return "".join(f"{number} " for number in range(1, count + 1))


async def until_idle(client: Client) -> None:
    """Wait until this client runs nothing any more, as the server sees it."""
    while (await client.status()).streams:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
async def test_stream(server: ServerProcess, encoding: Literal["json", "msgpack"]) -> None:
    """A streamed answer comes whole, in both encodings, with its figures."""
    async with connect(server.ws_url, encoding=encoding) as client:
        stream = client.stream("one two three", max_tokens=30)
        text = "".join([piece async for piece in stream])
        result = await stream.result()
    assert text == result.text == counted(30)
    assert (result.finish_reason, result.total_tokens, result.model) == ("length", 30, "fast")
    assert result.usage is not None and result.usage.prompt_tokens == 3


async def test_many_streams_at_once(server: ServerProcess) -> None:
    """Fifty answers over one connection, each whole."""
    async with connect(server.ws_url) as client:
        streams = [
            client.stream("x", model="flat", max_tokens=200 + number) for number in range(50)
        ]
        results = await asyncio.gather(*(stream.result() for stream in streams))
    assert [result.text for result in results] == [counted(200 + number) for number in range(50)]


async def test_stop_and_leaving_a_loop_free_the_slot(server: ServerProcess) -> None:
    """A stopped stream and an abandoned one end on the server, not only here."""
    async with connect(server.ws_url) as client:
        stream = client.stream("x", max_tokens=100_000)
        async for _ in stream:
            break_after = stream.offset
            if break_after > 10:
                await stream.stop()
        result = await stream.result()
        assert result.finish_reason == "stopped" and result.stopped_by == client.client_id
        assert counted(100_000).startswith(result.text)

        async for _ in client.stream("x", max_tokens=100_000):
            break
        gc.collect()
        async with client.stream("x", max_tokens=100_000):
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.generate("x", max_tokens=100_000)
        async with asyncio.timeout(5):
            await until_idle(client)


async def test_stop_of_a_queued_or_unanswered_stream(start_server: StartServer) -> None:
    """A stop at any moment of a stream's life ends it."""
    server = start_server("--model", "one=synthetic:?tps=20&slots=1&ttft_ms=0")
    async with connect(server.ws_url) as client:
        running = client.stream("x", max_tokens=100_000)
        async for _ in running.updates():
            if running.text:
                break
        waiting = client.stream("x")
        async for update in waiting.updates():
            if update.queue_position is not None:
                break
        unanswered = client.stream("x")
        await asyncio.gather(unanswered.stop(), waiting.stop())
        assert (await waiting.result()).text == (await unanswered.result()).text == ""
        assert not running.is_ended
        await client.stop(running)


async def test_answer_survives_twenty_cuts(server: ServerProcess, at_once: Backoff) -> None:
    """However often the network breaks, the reader gets the answer to the byte, once."""
    async with (
        relay(server.ws_url) as network,
        connect(network.url, backoff=at_once) as client,
    ):
        stream = client.stream("x", max_tokens=400, token_interval=0)
        text = ""
        next_cut = 10
        async for piece in stream:
            text += piece
            if len(text) > next_cut and network.connections <= 20:
                next_cut = len(text) + 40
                network.cut()
        result = await stream.result()
    assert network.connections > 10
    assert text == result.text == counted(400)
    assert result.finish_reason == "length"


async def test_unanswered_requests_survive_cuts(server: ServerProcess, at_once: Backoff) -> None:
    """Requests cut off before their answers are answered once, whenever the cut comes."""
    async with (
        relay(server.ws_url) as network,
        connect(network.url, backoff=at_once) as client,
    ):
        for _ in range(10):
            generation = asyncio.create_task(client.generate("x", max_tokens=20))
            streams = [client.stream("x", max_tokens=20) for _ in range(3)]
            batch = client.batch(["a", "b"], max_tokens=5)
            await asyncio.sleep(0)
            network.cut()
            assert (await generation).text == counted(20)
            for stream in streams:
                assert (await stream.result()).text == counted(20)
            assert (await batch).texts == [counted(5)] * 2
        await until_idle(client)


async def test_stop_survives_a_cut(server: ServerProcess, at_once: Backoff) -> None:
    """A stop that was cut off is said again; the answer does not go on behind one's back."""
    async with (
        relay(server.ws_url) as network,
        connect(network.url, backoff=at_once) as client,
    ):
        stream = client.stream("x", max_tokens=100_000)
        async for _ in stream.updates():
            if stream.text:
                break
        stopping = asyncio.create_task(stream.stop())
        await asyncio.sleep(0)
        network.cut()
        await stopping
        assert (await stream.result()).finish_reason == "stopped"
        await until_idle(client)


async def test_two_members_see_the_same_answer(server: ServerProcess) -> None:
    """People's words and the model's answer reach every member, the asker's handle too."""
    async with (
        connect(server.ws_url, user_id="ann", name="Ann") as ann,
        connect(server.ws_url, user_id="bob", name="Bob", encoding="msgpack") as bob,
    ):
        hers = await ann.join_room("together", name="Ann")
        his = await bob.join_room("together", name="Bob")
        events = hers.events()
        came = await anext(events)
        assert isinstance(came, Joined) and came.member is not None
        assert came.member.user_id == "bob"
        await his.send("Shall we ask?")
        word = await anext(events)
        assert isinstance(word, Said)
        assert (word.entry.text, word.entry.name) == ("Shall we ask?", "Bob")
        mine = his.ask("Count!", model="fast", max_tokens=25)
        started = await anext(events)
        assert isinstance(started, AnswerStarted)
        assert started.stream.prompt == "Count!"
        assert (started.stream.asker, started.stream.asker_name) == (bob.client_id, "Bob")
        assert (await started.stream.result()).text == counted(25)
        assert (await mine.result()).text == counted(25)

        long = hers.ask("Count on!", model="fast", max_tokens=100_000)
        others = his.events()
        seen: StreamHandle | None = None
        while seen is None or seen.prompt != "Count on!":
            event = await anext(others)
            seen = event.stream if isinstance(event, AnswerStarted) else seen
        with pytest.raises(WireFailure):
            await seen.stop()  # neither its asker nor a moderator
        assert not long.is_ended
        await long.stop()
        assert (await seen.result()).stopped_by == ann.client_id
        assert isinstance(await anext(events), AnswerStarted)
        await his.leave()
        gone = await anext(events)
        assert isinstance(gone, Left) and gone.user_id == "bob"


async def test_who_asked_is_known_also_from_a_second_client(server: ServerProcess) -> None:
    """A bot learns the name of who asks, though it is not told of a member's further clients."""
    async with (
        connect(server.ws_url, user_id="bot") as bot,
        connect(server.ws_url, user_id="bob", name="Bob") as phone,
        connect(server.ws_url, user_id="bob", name="Bob") as desk,
    ):
        await phone.join_room("asked-twice")
        events = (await bot.join_room("asked-twice")).events()
        his = await desk.join_room("asked-twice")
        asked = his.ask("Count!", model="fast", max_tokens=3)
        started = await anext(events)
        assert isinstance(started, AnswerStarted)
        assert started.stream.asker == desk.client_id
        assert (started.stream.asker_id, started.stream.asker_name) == ("bob", "Bob")
        await asked.result()


async def test_room_survives_a_cut(server: ServerProcess, at_once: Backoff) -> None:
    """What was said while the connection was away is told afterwards, in order, once."""
    async with (
        relay(server.ws_url) as network,
        connect(network.url, backoff=at_once) as ann,
        connect(server.ws_url) as bob,
    ):
        hers = await ann.join_room("broken")
        his = await bob.join_room("broken")
        events = hers.events()
        assert isinstance(await anext(events), Joined)
        network.refuse(True)
        network.cut()
        for number in range(5):
            await his.send(str(number))
        network.refuse(False)
        texts: list[str] = []
        while len(texts) < 5:
            event = await anext(events)
            assert isinstance(event, Said), event
            texts.append(event.entry.text)
        assert texts == list("01234")
        await his.send("now")
        last = await anext(events)
        assert isinstance(last, Said) and last.entry.text == "now"


async def test_another_connection_watches_and_stops(server: ServerProcess) -> None:
    """A second device of the same user follows the answer from its beginning and stops it."""
    async with (
        connect(server.ws_url, user_id="two-devices") as phone,
        connect(server.ws_url, user_id="two-devices") as desk,
    ):
        stream = desk.stream("x", max_tokens=100_000)
        updates = stream.updates()
        while not stream.text:
            await anext(updates)
        assert stream.stream_id is not None
        watched = phone.watch(stream.stream_id)
        async for _ in watched.updates():
            if len(watched.text) > 20:
                break
        await phone.stop(stream.stream_id)
        here, there = await stream.result(), await watched.result()
        assert here.text == there.text and here.stopped_by == phone.client_id
        with pytest.raises(WireFailure):
            await phone.stop("no-such-stream")


async def test_server_that_dies_loses_the_stream_with_its_text(start_server: StartServer) -> None:
    """When the server is gone for good, what there was of the answer is in the exception."""
    server = start_server()
    async with connect(server.ws_url, give_up_after=0.0) as client:
        stream = client.stream("x", max_tokens=100_000)
        updates: list[StreamUpdate] = []
        async for update in stream.updates():
            updates.append(update)
            if len(updates) == 5:
                server.kill()
        with pytest.raises(ConnectionLost) as caught:
            await stream.result()
    assert caught.value.text == stream.text
    assert counted(100_000).startswith(stream.text)


async def test_restarted_server_is_found_again(start_server: StartServer) -> None:
    """A server that drains and comes back under its address is used again, as a new one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    old = start_server("--port", port)
    lost = asyncio.Event()

    def on_status(status: LinkStatus) -> None:
        if status.state is LinkState.OFFLINE:
            lost.set()

    async with connect(old.ws_url, on_status=on_status) as client:
        stream = client.stream("x", max_tokens=100_000)
        async for _ in stream.updates():
            if stream.text:
                break
        await asyncio.to_thread(old.stop)
        await lost.wait()
        await asyncio.to_thread(start_server, "--port", port)
        assert (await client.generate("x", max_tokens=2)).text == counted(2)
        try:
            assert (await stream.result()).stop_reason == "shutdown"
        except (ConnectionLost, WireFailure) as error:
            assert error.text == stream.text
        assert counted(100_000).startswith(stream.text)
