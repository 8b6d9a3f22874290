"""Stopping: by id, by requestId, by someone else, everything at once; one end each."""

from __future__ import annotations

from tests.conftest import Connect
from tests.support.wire import Wire

LONG = {"maxTokens": 100_000}


async def test_a_stream_is_stopped_by_its_id(wire: Wire) -> None:
    """`stop_stream` is answered by the stream's own end, with all its text before it."""
    start = await wire.stream(options=LONG)
    await wire.first_token(start["streamId"])
    await wire.send(type="stop_stream", streamId=start["streamId"], requestId="the-stop")
    end = await wire.end_of(start["streamId"])
    assert end["type"] == "stream_stopped"
    assert end["reason"] == "client"
    assert end["stoppedBy"] == wire.connected["clientId"]
    assert end["requestId"] == start["requestId"]
    assert end["offset"] == len(wire.copy(start["streamId"]).text)
    assert await wire.settle() == []


async def test_a_stream_is_stopped_by_its_request_id(wire: Wire) -> None:
    """Without a streamId the stop's requestId names the target: one end under that id."""
    start = await wire.stream(requestId="ask", options=LONG)
    await wire.send(type="stop_stream", requestId="ask")
    end = await wire.end_of(start["streamId"])
    assert (end["type"], end["requestId"]) == ("stream_stopped", "ask")
    assert await wire.settle() == []


async def test_a_generate_is_stopped_by_its_request_id(wire: Wire) -> None:
    """A stopped `generate` gives the text so far."""
    await wire.send(type="generate", prompt="x", requestId="one-shot", options=LONG)
    follower = await wire.stream(options={"maxTokens": 3})
    await wire.end_of(follower["streamId"])
    await wire.send(type="stop_stream", requestId="one-shot")
    end = await wire.until("generation_complete")
    assert end["requestId"] == "one-shot"
    assert end["result"]["finishReason"] == "stopped"
    assert end["result"]["text"].startswith("1 2 ")
    assert await wire.settle() == []


async def test_stopping_what_is_not_there_is_an_error(wire: Wire) -> None:
    """Unknown and ended streams: `stream_not_found` under the stop's requestId."""
    error = await wire.ask("stop_stream", streamId="str_none")
    assert (error["type"], error["code"]) == ("error", "stream_not_found")
    error = await wire.ask("stop_stream", requestId="never-asked")
    assert (error["type"], error["code"]) == ("error", "stream_not_found")
    start = await wire.stream(options={"maxTokens": 1})
    await wire.end_of(start["streamId"])
    error = await wire.ask("stop_stream", streamId=start["streamId"])
    assert error["code"] == "stream_not_found"
    error = await wire.ask("stop_stream", requestId=start["requestId"])
    assert error["code"] == "stream_not_found"
    await wire.send(type="stop_stream")
    error = await wire.until("error")
    assert error["code"] == "invalid_parameters"


async def test_a_foreign_stream_does_not_exist(connect: Connect) -> None:
    """What belongs to another client can be neither stopped nor watched, and goes on."""
    one, two = await connect(), await connect()
    start = await one.stream(options={"maxTokens": 60}, requestId="shared-id")
    for fields in ({"streamId": start["streamId"]}, {"requestId": "shared-id"}):
        error = await two.ask("stop_stream", **fields)
        assert error["code"] == "stream_not_found"
    assert (await two.ask("watch_stream", streamId=start["streamId"]))["code"] == "stream_not_found"
    assert (await one.end_of(start["streamId"]))["type"] == "stream_complete"


async def test_the_owner_stops_from_another_device(connect: Connect) -> None:
    """Who owns a stream stops it on any connection; there the end carries the stop's id."""
    one, two = await connect(), await connect()
    for device in (one, two):
        await device.ask("authenticate", userId="two-devices")
    start = await one.stream(options=LONG)
    reply = await two.ask("stop_stream", streamId=start["streamId"], requestId="from-two")
    assert (reply["type"], reply["requestId"]) == ("stream_stopped", "from-two")
    end = await one.end_of(start["streamId"])
    assert (end["type"], end["requestId"]) == ("stream_stopped", start["requestId"])
    assert end["stoppedBy"] == two.connected["clientId"]


async def test_stopping_twice_ends_once(wire: Wire) -> None:
    """Two stops sent together: one end, and the second finds nothing or the same end."""
    start = await wire.stream(options=LONG)
    for number in range(2):
        await wire.send(type="stop_stream", streamId=start["streamId"], requestId=f"stop{number}")
    await wire.end_of(start["streamId"])
    rest = await wire.settle()
    assert [frame["type"] for frame in rest] in ([], ["error"])
    assert len(wire.of_type("stream_stopped")) == 1


async def test_control_is_read_while_streams_run(wire: Wire) -> None:
    """Many streams at full speed: a ping and a stop are answered between their pieces."""
    starts = [await wire.stream(model="flat", options={"maxTokens": 1_000_000}) for _ in range(5)]
    assert (await wire.ask("ping"))["type"] == "pong"
    for start in starts:
        await wire.send(type="stop_stream", streamId=start["streamId"])
    ends = [await wire.end_of(start["streamId"]) for start in starts]
    assert {end["type"] for end in ends} == {"stream_stopped"}


async def test_interrupt_stops_all_that_the_client_runs(wire: Wire) -> None:
    """Streams, generates and batches end, each by its own terminal event; the reply names them."""
    streams = [await wire.stream(options=LONG) for _ in range(2)]
    await wire.send(type="generate", prompt="x", requestId="g", options=LONG)
    batch = await wire.ask("batch", prompts=["a", "b"], options=LONG)
    reply = await wire.ask("interrupt")
    assert set(reply["streamIds"]) == {start["streamId"] for start in streams}
    assert reply["batchIds"] == [batch["batchId"]]
    for start in streams:
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["reason"]) == ("stream_stopped", "interrupt")
    generated = await wire.seen("generation_complete")
    assert generated["result"]["finishReason"] == "stopped"
    summary = (await wire.seen("batch_complete"))["summary"]
    assert (summary["total"], summary["cancelled"]) == (2, 2)
    assert (await wire.ask("get_status"))["streams"] == []


async def test_interrupt_with_nothing_to_do_and_others_untouched(connect: Connect) -> None:
    """An interrupt ends nothing of another client; with nothing running the lists are empty."""
    one, two = await connect(), await connect()
    start = await one.stream(options={"maxTokens": 40})
    reply = await two.ask("interrupt")
    assert (reply["type"], reply["streamIds"], reply["batchIds"]) == ("interrupted", [], [])
    assert (await one.end_of(start["streamId"]))["type"] == "stream_complete"


async def test_a_request_id_may_be_used_again_by_a_control_message(wire: Wire) -> None:
    """After an end, a ping under the same id gets its own reply."""
    start = await wire.stream(requestId="again", options={"maxTokens": 1})
    await wire.end_of(start["streamId"])
    assert (await wire.ask("ping", requestId="again"))["type"] == "pong"
