"""The same request under the same id runs once, and says the same each time."""

from __future__ import annotations

from tests.conftest import Connect, StartServer
from tests.integration.test_generating import counted
from tests.support.wire import Frame, Wire


async def named(connect: Connect, user: str) -> Wire:
    """A connection of a user."""
    wire = await connect()
    await wire.ask("authenticate", userId=user)
    return wire


async def test_a_repeated_stream_comes_from_its_beginning(connect: Connect) -> None:
    """Sent again after a cut, a stream starts again with the same ids and every byte."""
    one = await named(connect, "repeat-stream")
    body: Frame = {"prompt": "again", "options": {"maxTokens": 60}, "requestId": "same"}
    start = await one.ask("stream", **body)
    await one.first_token(start["streamId"])
    await one.cut()
    two = await named(connect, "repeat-stream")
    again = await two.ask("stream", **body)
    assert (again["type"], again["streamId"]) == ("stream_start", start["streamId"])
    await two.end_of(start["streamId"])
    assert two.copy(start["streamId"]).text == counted(60)
    third = await two.ask("stream", **body)
    assert third["type"] == "stream_start"
    await two.until("stream_complete")
    assert two.copy(start["streamId"]).text == counted(60)
    assert (await two.ask("metrics"))["data"]["system"]["activeStreams"] == 0


async def test_a_repeat_on_the_same_connection_does_nothing(wire: Wire) -> None:
    """While the answer is on its way, sending the request again changes nothing."""
    body: Frame = {"prompt": "again", "options": {"maxTokens": 60}, "requestId": "busy"}
    start = await wire.ask("stream", **body)
    for _ in range(3):
        await wire.send(type="stream", **body)
    await wire.end_of(start["streamId"])
    assert len(wire.of_type("stream_start")) == 1
    assert await wire.settle() == []
    await wire.send(type="generate", prompt="x", requestId="g", options={"maxTokens": 40})
    await wire.send(type="generate", prompt="x", requestId="g", options={"maxTokens": 40})
    await wire.until("generation_complete")
    assert await wire.settle() == []


async def test_a_repeated_generate_answers_the_same(connect: Connect) -> None:
    """An ended `generate` is answered at once, with what it said."""
    one = await named(connect, "repeat-generate")
    body: Frame = {"prompt": "once", "options": {"maxTokens": 5}, "requestId": "g"}
    first = await one.ask("generate", **body)
    second = await one.ask("generate", **body)
    two = await named(connect, "repeat-generate")
    third = await two.ask("generate", **body)
    assert first == second == third


async def test_a_repeated_batch_comes_again(connect: Connect) -> None:
    """A batch sent again brings the same batchId, its items and its summary."""
    one = await named(connect, "repeat-batch")
    body: Frame = {"prompts": ["a", "b"], "options": {"maxTokens": 3}, "requestId": "b"}
    start = await one.ask("batch", **body)
    end = await one.until("batch_complete")
    two = await named(connect, "repeat-batch")
    again = await two.ask("batch", **body)
    assert again["batchId"] == start["batchId"]
    assert await two.until("batch_complete") == end
    assert len(two.of_type("batch_item")) == 2


async def test_a_repeated_room_message_is_said_once(connect: Connect) -> None:
    """The sender gets its entry again, the others do not."""
    one, two = await connect(), await connect()
    for wire in (one, two):
        await wire.ask("join_room", roomId="echo")
    first = await one.ask("room_message", roomId="echo", text="hi", requestId="m")
    second = await one.ask("room_message", roomId="echo", text="hi", requestId="m")
    assert first == second
    await two.settle()
    assert len(two.of_type("room_message")) == 1


async def test_another_body_is_a_duplicate(wire: Wire) -> None:
    """The same id for another request is refused, in flight and afterwards."""
    start = await wire.stream("one", requestId="id", options={"maxTokens": 30})
    for _ in range(2):
        await wire.send(type="stream", prompt="two", requestId="id", options={"maxTokens": 30})
        error = await wire.until("stream_error")
        assert (error["requestId"], error["code"]) == ("id", "duplicate_request")
        assert "streamId" not in error
        assert (await wire.end_of(start["streamId"]))["type"] == "stream_complete"


async def test_another_type_is_a_duplicate(wire: Wire) -> None:
    """An id that a generate used can't be a stream's."""
    await wire.ask("generate", prompt="x", requestId="id", options={"maxTokens": 1})
    error = await wire.ask("stream", prompt="x", requestId="id", options={"maxTokens": 1})
    assert error["code"] == "duplicate_request"


async def test_the_spelling_and_the_order_of_fields_do_not_matter(wire: Wire) -> None:
    """The same request in other words is the same request."""
    first = await wire.ask(
        "generate", prompt="x", requestId="spelt", options={"maxTokens": 2, "topP": 1}
    )
    await wire.send(
        options={"top_p": 1, "max_tokens": 2}, request_id="spelt", type="generate", prompt="x"
    )
    second = await wire.until("generation_complete")
    assert first == second


async def test_what_was_refused_is_not_remembered(wire: Wire) -> None:
    """A refused request may be sent right under its id."""
    error = await wire.ask("stream", prompt="x", requestId="late", model="not yet")
    assert error["code"] == "model_not_found"
    start = await wire.ask("stream", prompt="x", requestId="late", options={"maxTokens": 1})
    assert start["type"] == "stream_start"
    assert (await wire.end_of(start["streamId"]))["type"] == "stream_complete"


async def test_a_failure_is_remembered(wire: Wire) -> None:
    """A request that failed after it began answers with its failure."""
    await wire.ask_until("load_model", source="synthetic:?tps=0&fail_at=2", id="fails")
    body: Frame = {"prompt": "x", "model": "fails", "requestId": "f"}
    first = await wire.ask("generate", **body)
    assert first["code"] == "generation_failed"
    assert await wire.ask("generate", **body) == first


async def test_a_repeat_is_not_charged(start_server: StartServer, connect: Connect) -> None:
    """Within a limit of two, one request repeated often leaves one."""
    limited = start_server("--set", "limits.requests_per_minute=2")
    wire = await connect(to=limited)
    body: Frame = {"prompt": "x", "options": {"maxTokens": 1}, "requestId": "r"}
    for _ in range(4):
        assert (await wire.ask("generate", **body))["type"] == "generation_complete"
    assert (await wire.ask("get_status"))["limits"]["requestsRemaining"] == 1


async def test_other_people_s_ids_are_their_own(connect: Connect) -> None:
    """Two users may use the same requestId."""
    one, two = await connect(), await connect()
    replies = [
        await wire.ask("generate", prompt=prompt, requestId="1", options={"maxTokens": 1})
        for wire, prompt in ((one, "a"), (two, "a b"))
    ]
    assert [reply["result"]["usage"]["promptTokens"] for reply in replies] == [1, 2]


async def test_a_repeat_survives_resume(connect: Connect) -> None:
    """An anonymous client keeps its ids over `resume`."""
    one = await connect()
    body: Frame = {"prompt": "x", "options": {"maxTokens": 30}, "requestId": "kept"}
    start = await one.ask("stream", **body)
    await one.cut()
    two = await connect()
    two.rules.sent_ids.add("kept")
    await two.ask("resume", resumeToken=one.connected["resumeToken"])
    again = await two.ask("stream", **body)
    assert again["streamId"] == start["streamId"]
    await two.end_of(start["streamId"])
    assert two.copy(start["streamId"]).text == counted(30)
