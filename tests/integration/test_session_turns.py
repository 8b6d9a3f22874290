"""Turns of a session: one at a time, stopped, gone on with, followed from elsewhere."""

from __future__ import annotations

import pytest

from tests.conftest import Connect, StartServer
from tests.integration.session_steps import history, open_session, poll, said, say, sign_in, stop
from tests.support.wire import Wire, wired

LONG = {"maxTokens": 100_000}


@pytest.fixture
async def ann(connect: Connect) -> Wire:
    """A connection of a user of her own."""
    wire = await connect()
    await sign_in(wire)
    return wire


async def test_turns_of_a_session_run_one_at_a_time(ann: Wire) -> None:
    """Asked at once, they are answered in order, each with those before as its context."""
    session_id = await open_session(ann)
    for number in range(4):
        await ann.send(
            type="stream",
            requestId=f"q{number}",
            sessionId=session_id,
            prompt=f"q{number}",
            options={"maxTokens": 3},
        )
    ends = [await ann.until("stream_complete") for _ in range(4)]
    assert [end["requestId"] for end in ends] == ["q0", "q1", "q2", "q3"]
    assert [end["usage"]["promptTokens"] for end in ends] == [1, 5, 9, 13]
    messages = await history(ann, session_id)
    wanted = [pair for n in range(4) for pair in (("user", f"q{n}"), ("assistant", "1 2 3 "))]
    assert said(messages) == wanted
    assert [m["parentId"] for m in messages[1:]] == [m["messageId"] for m in messages[:-1]]


async def test_start_of_a_waiting_turn_is_told_at_once(ann: Wire) -> None:
    """Behind a running turn a start has its ids, and not yet its context."""
    session_id = await open_session(ann)
    first = await ann.stream(sessionId=session_id, options=LONG)
    second = await ann.stream(sessionId=session_id, options={"maxTokens": 1})
    assert "contextTokens" in first
    assert "contextTokens" not in second
    assert second["messageId"] != first["messageId"]
    await stop(ann, first)
    await ann.end_of(second["streamId"])


async def test_sessions_do_not_wait_for_each_other(ann: Wire) -> None:
    """A long turn in one session holds up no other."""
    busy = await open_session(ann)
    start = await ann.stream(sessionId=busy, options=LONG)
    await say(ann, await open_session(ann))
    await stop(ann, start)


async def test_a_stopped_answer_keeps_its_text(ann: Wire) -> None:
    """What was said until the stop stands in the history, marked as stopped."""
    session_id = await open_session(ann)
    start = await ann.stream(sessionId=session_id, options=LONG)
    await ann.first_token(start["streamId"])
    await ann.send(type="stop_stream", streamId=start["streamId"])
    end = await ann.end_of(start["streamId"])
    assert (end["type"], end["saved"]) == ("stream_stopped", True)
    answer = (await history(ann, session_id))[-1]
    assert answer["content"] == ann.copy(start["streamId"]).text
    assert answer["finishReason"] == "stopped"


async def test_a_waiting_turn_can_be_stopped(ann: Wire) -> None:
    """It ends at once and is never begun; its question is kept, the running one goes on."""
    session_id = await open_session(ann)
    first = await ann.stream(sessionId=session_id, options=LONG)
    second = await ann.stream("waits", sessionId=session_id)
    await ann.send(type="stop_stream", streamId=second["streamId"])
    end = await ann.end_of(second["streamId"])
    assert (end["type"], end["offset"]) == ("stream_stopped", 0)
    assert not ann.of_type("stream_stopped")[1:]
    await stop(ann, first)
    last = (await history(ann, session_id))[-2:]
    assert [(m["content"], m.get("finishReason")) for m in last] == [
        ("waits", None),
        ("", "stopped"),
    ]


async def test_a_stop_right_behind_its_request_is_heard(ann: Wire) -> None:
    """Stopped by its requestId before its start was told: it ends once, and nothing runs on."""
    session_id = await open_session(ann)
    await ann.send(type="stream", requestId="quick", sessionId=session_id, prompt="q", options=LONG)
    await ann.send(type="stop_stream", requestId="quick")
    end = await ann.until("stream_stopped", "error")
    assert (end["type"], end["requestId"]) == ("stream_stopped", "quick")
    assert (await ann.ask("get_status"))["streams"] == []
    assert len(await history(ann, session_id)) == 2


async def test_a_failed_answer_keeps_its_text(start_server: StartServer) -> None:
    """An engine's failure leaves what was said, marked as an error, and `continue` goes on."""
    server = start_server("--model", "synthetic:?tps=0&fail_at=3")
    async with wired(f"{server.ws_url}/ws") as wire:
        session_id = await open_session(wire)
        start = await wire.stream(sessionId=session_id)
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["saved"]) == ("stream_error", True)
        answer = (await history(wire, session_id))[-1]
        assert (answer["content"], answer["finishReason"]) == ("1 2 3 ", "error")
        again = await wire.ask("continue", sessionId=session_id)
        assert again["type"] == "stream_start", again
        await wire.end_of(again["streamId"])
        answer = (await history(wire, session_id))[-1]
        assert answer["content"] == "1 2 3 4 5 6 "


async def test_continue_extends_the_message(ann: Wire) -> None:
    """A new stream from offset 0 over the new text, in the same message."""
    session_id = await open_session(ann)
    first = await say(ann, session_id)
    start = await ann.ask("continue", streamId=first["streamId"], options={"maxTokens": 2})
    assert start["continues"] == first["streamId"]
    assert start["messageId"] == first["messageId"]
    assert start["userMessageId"] == first["userMessageId"]
    assert start["streamId"] != first["streamId"]
    await ann.end_of(start["streamId"])
    assert ann.copy(start["streamId"]).text == "4 5 "
    again = await ann.ask("continue", sessionId=session_id, options={"maxTokens": 2})
    await ann.end_of(again["streamId"])
    assert again["continues"] == start["streamId"]
    assert ann.copy(again["streamId"]).text == "6 7 "
    question, answer = await history(ann, session_id)
    assert answer["messageId"] == first["messageId"]
    assert (answer["content"], answer["tokens"]) == ("1 2 3 4 5 6 7 ", 7)


async def test_continue_goes_on_without_a_session(ann: Wire) -> None:
    """A stream in no session is taken up while it is retained, again and again."""
    first = await ann.stream(options={"maxTokens": 3})
    await ann.end_of(first["streamId"])
    second = await ann.ask("continue", streamId=first["streamId"])
    await ann.end_of(second["streamId"])
    third = await ann.ask("continue", streamId=second["streamId"], options={"maxTokens": 1})
    await ann.end_of(third["streamId"])
    texts = [ann.copy(s["streamId"]).text for s in (first, second, third)]
    assert texts == ["1 2 3 ", "4 5 6 ", "7 "]


async def test_what_was_finished_or_runs_is_not_gone_on_with(
    ann: Wire, connect: Connect, start_server: StartServer
) -> None:
    """`invalid_parameters` for a running one and an empty session; others' streams do not exist."""
    session_id = await open_session(ann)
    empty = await ann.ask("continue", sessionId=session_id)
    assert (empty["type"], empty["code"]) == ("stream_error", "invalid_parameters")
    start = await ann.stream(sessionId=session_id, options=LONG)
    running = await ann.ask("continue", sessionId=session_id)
    assert running["code"] == "invalid_parameters"
    by_stream = await ann.ask("continue", streamId=start["streamId"])
    assert by_stream["code"] == "invalid_parameters"
    bob = await connect()
    await sign_in(bob)
    foreign = await bob.ask("continue", streamId=start["streamId"])
    unknown = await ann.ask("continue", streamId="str_none")
    assert [foreign["code"], unknown["code"]] == ["stream_not_found"] * 2
    await stop(ann, start)
    alone = await ann.stream(options=LONG)
    refused = await ann.ask("continue", streamId=alone["streamId"])
    assert refused["code"] == "invalid_parameters"
    await stop(ann, alone)


async def test_a_client_that_is_gone_leaves_its_text(start_server: StartServer) -> None:
    """Past its window its answer is stopped, kept, and taken up again from another device."""
    server = start_server(
        *("--set", "resume.window_seconds=0.2"), *("--model", "synthetic:?tps=50&ttft_ms=0")
    )
    async with wired(f"{server.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        session_id = await open_session(wire)
        start = await wire.stream(sessionId=session_id, options=LONG)
        await wire.first_token(start["streamId"])
        await wire.cut()
    async with wired(f"{server.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        page = await poll(
            wire,
            lambda page: "finishReason" in page["messages"][-1],
            "get_history",
            sessionId=session_id,
        )
        answer = page["messages"][-1]
        assert answer["finishReason"] == "stopped"
        again = await wire.ask("continue", sessionId=session_id, options={"maxTokens": 1})
        await wire.end_of(again["streamId"])
        content = (await history(wire, session_id))[-1]["content"]
        assert content == answer["content"] + wire.copy(again["streamId"]).text
        numbers = [int(number) for number in content.split()]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_sessions_of_an_anonymous_client_end_with_it(start_server: StartServer) -> None:
    """Past its window they are deleted; those of a named user stay."""
    server = start_server("--set", "resume.window_seconds=0.1")
    async with wired(f"{server.ws_url}/ws") as wire:
        anonymous = wire.connected["clientId"]
        await open_session(wire, sessionId="mine")
    async with wired(f"{server.ws_url}/ws") as wire:
        # Whoever takes that name sees what is left of it.
        await sign_in(wire, f"anon-{anonymous}")
        await poll(wire, lambda page: not page["sessions"], "list_sessions")


async def test_a_stream_that_is_gone_is_found_in_its_session(start_server: StartServer) -> None:
    """Past its retention `watch_stream`, `resume` and `continue` know where its text is kept."""
    server = start_server("--set", "streams.retention_seconds=0.1")
    async with wired(f"{server.ws_url}/ws") as wire:
        await sign_in(wire, "ann")
        session_id = await open_session(wire)
        start = await say(wire, session_id)
        stream_id = start["streamId"]
        gone = await poll(
            wire, lambda reply: reply["type"] == "error", "watch_stream", streamId=stream_id
        )
        assert gone["code"] == "stream_not_found"
        assert (gone["sessionId"], gone["messageId"]) == (session_id, start["messageId"])
        token = wire.connected["resumeToken"]
        await wire.cut()
    async with wired(f"{server.ws_url}/ws") as wire:
        resumed = await wire.ask("resume", resumeToken=token, streams={stream_id: 0})
        status = resumed["streams"][0]
        assert (status["state"], status["sessionId"]) == ("gone", session_id)
        assert status["messageId"] == start["messageId"]
        again = await wire.ask("continue", streamId=stream_id, options={"maxTokens": 1})
        await wire.end_of(again["streamId"])
        assert wire.copy(again["streamId"]).text == "4 "


async def test_too_long_a_turn_is_refused_with_the_numbers(start_server: StartServer) -> None:
    """Old turns are dropped to fit; a turn that fits alone is answered; a longer one is refused."""
    server = start_server("--model", "synthetic:?tps=0&ctx=40")
    async with wired(f"{server.ws_url}/ws") as wire:
        session_id = await open_session(wire)
        words = " ".join("w" * 1 for _ in range(11))
        for _ in range(3):
            await say(wire, session_id, words)
        fourth = await say(wire, session_id, words)
        assert fourth["contextTokens"] == 11 + 14
        assert fourth["droppedMessages"] == 4
        alone = await say(wire, session_id, " ".join(["w"] * 39))
        assert (alone["contextTokens"], alone["droppedMessages"]) == (39, 8)
        refused = await wire.ask("stream", sessionId=session_id, prompt=" ".join(["w"] * 40))
        assert refused["code"] == "context_length_exceeded"
        assert "40 tokens" in refused["error"]
        assert len(await history(wire, session_id)) == 10


async def test_second_tab_reads_a_running_answer(ann: Wire, connect: Connect) -> None:
    """The history holds the text so far and the stream that goes on with it; both then follow."""
    user = await sign_in(ann)
    session_id = await open_session(ann)
    start = await ann.stream(sessionId=session_id, options=LONG)
    await ann.first_token(start["streamId"])
    other = await connect()
    await sign_in(other, user)
    answer = (await history(other, session_id))[-1]
    assert answer["content"].startswith("1 ")
    assert "finishReason" not in answer
    assert answer["streamId"] == start["streamId"]
    snapshot = await other.ask("watch_stream", streamId=answer["streamId"])
    assert (snapshot["sessionId"], snapshot["messageId"]) == (session_id, answer["messageId"])
    await stop(ann, start)
    await other.end_of(start["streamId"])
    assert other.copy(start["streamId"]).text == ann.copy(start["streamId"]).text
    assert "streamId" not in (await history(other, session_id))[-1]
