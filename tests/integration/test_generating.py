"""`generate`, `stream` and `count_tokens`: their answers in order, and their refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Connect
from tests.support.wire import Frame, Wire


def counted(tokens: int, first: int = 1) -> str:
    """What the synthetic engine says in so many tokens."""
    return "".join(f"{number} " for number in range(first, first + tokens))


async def test_a_stream_from_start_to_end(wire: Wire) -> None:
    """Start, pieces that join to the answer, progress, one end with the figures."""
    start = await wire.stream("please count to twelve", options={"maxTokens": 12})
    assert start["model"] == "fast"
    assert start["prompt"] == "please count to twelve"
    assert "queuePosition" not in start
    end = await wire.end_of(start["streamId"])
    text = counted(12)
    assert wire.copy(start["streamId"]).text == text
    assert end["type"] == "stream_complete"
    assert end["finishReason"] == "length"
    assert end["totalTokens"] == 12
    assert end["offset"] == len(text)
    assert end["usage"] == {
        "promptTokens": 4,
        "completionTokens": 12,
        "totalTokens": 16,
        "cachedTokens": 0,
    }
    assert 0 <= end["timeToFirstToken"] <= end["duration"]
    progress = wire.of_type("stream_progress")
    assert progress
    assert all(isinstance(p["tokensPerSecond"], int | float) for p in progress)
    assert [p["tokenCount"] for p in progress] == sorted(p["tokenCount"] for p in progress)


async def test_every_event_of_a_stream_carries_the_asker_s_id(wire: Wire) -> None:
    """To the one who asked each event has the requestId and the streamId."""
    start = await wire.stream(options={"maxTokens": 7})
    await wire.end_of(start["streamId"])
    events = [frame for frame in wire.frames if frame["type"].startswith("stream_")]
    assert {frame["requestId"] for frame in events} == {start["requestId"]}
    assert {frame["streamId"] for frame in events} == {start["streamId"]}


@pytest.mark.parametrize("binary", [False, True])
async def test_a_frame_a_token_at_interval_zero(connect: Connect, binary: bool) -> None:
    """`tokenInterval` 0 sends one frame a token, numbered from 1, in both encodings."""
    wire = await connect(binary=binary)
    start = await wire.stream(options={"maxTokens": 10, "tokenInterval": 0, "progressEvery": 0})
    await wire.end_of(start["streamId"])
    pieces = wire.of_type("stream_token")
    assert [piece["token"] for piece in pieces] == [f"{n} " for n in range(1, 11)]
    assert [piece["position"] for piece in pieces] == list(range(1, 11))
    assert {piece["count"] for piece in pieces} == {1}


async def test_pieces_are_joined_over_the_interval(wire: Wire) -> None:
    """Text that comes faster than the interval goes out in fewer frames, the first at once."""
    start = await wire.stream(model="flat", options={"maxTokens": 2000, "tokenInterval": 200})
    await wire.end_of(start["streamId"])
    pieces = wire.of_type("stream_token")
    assert wire.copy(start["streamId"]).text == counted(2000)
    assert len(pieces) < 200


@pytest.mark.parametrize(("every", "counts"), [(0, []), (1, [1, 2, 3, 4]), (2, [2, 4]), (4, [4])])
async def test_progress_comes_as_often_as_asked(wire: Wire, every: int, counts: list[int]) -> None:
    """`progressEvery` says after how many tokens; 0 is never."""
    options = {"maxTokens": 4, "tokenInterval": 0, "progressEvery": every}
    start = await wire.stream(options=options)
    await wire.end_of(start["streamId"])
    assert [frame["tokenCount"] for frame in wire.of_type("stream_progress")] == counts


async def test_generate_answers_once(wire: Wire) -> None:
    """`generate` is answered by its one terminal event, with the whole result."""
    reply = await wire.ask("generate", prompt="one two", options={"maxTokens": 5})
    assert reply["type"] == "generation_complete"
    result = reply["result"]
    assert result["text"] == counted(5)
    assert (result["tokens"], result["model"], result["cached"]) == (5, "fast", False)
    assert result["finishReason"] == "length"
    assert result["usage"]["promptTokens"] == 2
    assert result["latency"] >= 0


async def test_a_stop_string_ends_the_answer_unseen(wire: Wire) -> None:
    """The answer ends before a stop string, no piece shows its beginning."""
    start = await wire.stream(options={"stop": "4 5", "tokenInterval": 0})
    end = await wire.end_of(start["streamId"])
    assert end["finishReason"] == "stop_string"
    assert wire.copy(start["streamId"]).text == "1 2 3 "
    reply = await wire.ask("generate", prompt="x", options={"stop": ["9", "3 "]})
    assert reply["result"]["text"] == "1 2 "
    assert reply["result"]["finishReason"] == "stop_string"


async def test_a_conversation_and_a_system_prompt_are_counted(wire: Wire) -> None:
    """`messages` and `system` reach the model together."""
    reply = await wire.ask(
        "generate",
        system="be brief please",
        messages=[
            {"role": "user", "content": "one two"},
            {"role": "assistant", "content": "three"},
            {"role": "user", "content": "four", "name": "ada"},
        ],
        options={"maxTokens": 1},
    )
    assert reply["result"]["usage"]["promptTokens"] == 7


async def test_a_raw_prompt_goes_as_it_is(wire: Wire) -> None:
    """`raw` sends the prompt without a template."""
    reply = await wire.ask("generate", prompt="a b c", raw=True, options={"maxTokens": 1})
    assert reply["result"]["usage"]["promptTokens"] == 3


async def test_the_default_model_has_a_name(wire: Wire) -> None:
    """Without a model, and with `default`, the first --model answers."""
    every: list[Frame] = [{}, {"model": "default"}, {"model": "fast"}]
    for fields in every:
        reply = await wire.ask("generate", prompt="x", options={"maxTokens": 1}, **fields)
        assert reply["result"]["model"] == "fast"


async def test_a_timeout_before_and_after_the_first_token(wire: Wire) -> None:
    """Time that runs out gives the text so far; before the first token it is an error."""
    reply = await wire.ask("generate", prompt="x", model="slow", options={"timeout": 400})
    assert reply["result"]["finishReason"] == "timeout"
    assert reply["result"]["text"].startswith("1 ")
    start = await wire.stream(model="slow", options={"timeout": 400})
    end = await wire.end_of(start["streamId"])
    assert (end["type"], end["finishReason"]) == ("stream_complete", "timeout")


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": 7}, "prompt"),
    ({"prompt": ["x"]}, "prompt"),
    ({"prompt": "x", "messages": [{"role": "user", "content": "x"}]}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": "x"}, "messages"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "user", "content": "x"}, 5]}, "messages[1]"),
    ({"messages": [{"role": "user", "content": "x"}], "raw": True}, "raw"),
    ({"prompt": "x", "raw": "yes"}, "raw"),
    ({"prompt": "x", "system": 3}, "system"),
    ({"prompt": "x", "model": ""}, "model"),
    ({"prompt": "x", "options": []}, "options"),
    ({"prompt": "x", "options": {"maxTokens": 0}}, "options.maxTokens"),
    ({"prompt": "x", "options": {"maxTokens": 1_000_001}}, "options.maxTokens"),
    ({"prompt": "x", "options": {"maxTokens": "5"}}, "options.maxTokens"),
    ({"prompt": "x", "options": {"maxTokens": 2.5}}, "options.maxTokens"),
    ({"prompt": "x", "options": {"max_tokens": -1}}, "options.maxTokens"),
    ({"prompt": "x", "options": {"temperature": -0.1}}, "options.temperature"),
    ({"prompt": "x", "options": {"temperature": 2.1}}, "options.temperature"),
    ({"prompt": "x", "options": {"temperature": "hot"}}, "options.temperature"),
    ({"prompt": "x", "options": {"topP": 1.01}}, "options.topP"),
    ({"prompt": "x", "options": {"topK": -1}}, "options.topK"),
    ({"prompt": "x", "options": {"minP": 2}}, "options.minP"),
    ({"prompt": "x", "options": {"typicalP": -1}}, "options.typicalP"),
    ({"prompt": "x", "options": {"repetitionPenalty": 3}}, "options.repetitionPenalty"),
    ({"prompt": "x", "options": {"presencePenalty": 2.5}}, "options.presencePenalty"),
    ({"prompt": "x", "options": {"frequencyPenalty": -2.5}}, "options.frequencyPenalty"),
    ({"prompt": "x", "options": {"seed": 2**60}}, "options.seed"),
    ({"prompt": "x", "options": {"stop": ["x"] * 17}}, "options.stop"),
    ({"prompt": "x", "options": {"stop": ["x", ""]}}, "options.stop[1]"),
    ({"prompt": "x", "options": {"stop": 5}}, "options.stop"),
    ({"prompt": "x", "options": {"logitBias": {"the": 1}}}, "options.logitBias"),
    ({"prompt": "x", "options": {"logprobs": 21}}, "options.logprobs"),
    ({"prompt": "x", "options": {"priority": 11}}, "options.priority"),
    ({"prompt": "x", "options": {"timeout": 0}}, "options.timeout"),
    ({"prompt": "x", "options": {"progressEvery": -1}}, "options.progressEvery"),
    ({"prompt": "x", "options": {"tokenInterval": 1001}}, "options.tokenInterval"),
    ({"prompt": "x", "options": {"onDisconnect": "explode"}}, "options.onDisconnect"),
    ({"prompt": "x", "options": {"cache": 1}}, "options.cache"),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED)
@pytest.mark.parametrize("kind", ["generate", "stream"])
async def test_a_bad_field_is_named_and_never_clamped(
    wire: Wire, kind: str, fields: dict[str, Any], named: str
) -> None:
    """A value out of its bounds ends the request with the path of its field."""
    error = await wire.ask(kind, **fields)
    assert error["type"] == {"generate": "generation_error", "stream": "stream_error"}[kind]
    assert error["code"] == "invalid_parameters"
    assert error["retryable"] is False
    assert named in [detail["field"] for detail in error["details"]]
    assert error["error"]


@pytest.mark.parametrize(
    "option", [{"jsonSchema": {}}, {"grammar": "x"}, {"regex": "x"}, {"logprobs": 0}]
)
async def test_what_the_engine_cannot_honour_is_refused(wire: Wire, option: Any) -> None:
    """An option that the model's engine does not have is `unsupported_option`, by its name."""
    error = await wire.ask("stream", prompt="x", options=option)
    assert (error["type"], error["code"]) == ("stream_error", "unsupported_option")
    assert [detail["field"] for detail in error["details"]] == [f"options.{next(iter(option))}"]


async def test_unknown_models_and_sessions_are_refused(wire: Wire) -> None:
    """A model that is not there ends each kind of request in its own error."""
    for kind, error_type in (("generate", "generation_error"), ("stream", "stream_error")):
        error = await wire.ask(kind, prompt="x", model="no such model")
        assert (error["type"], error["code"]) == (error_type, "model_not_found")
    error = await wire.ask("batch", prompts=["x"], model="nope")
    assert (error["type"], error["code"]) == ("batch_error", "model_not_found")
    error = await wire.ask("count_tokens", text="x", model="nope")
    assert (error["type"], error["code"]) == ("error", "model_not_found")


async def test_input_past_the_context_is_refused(wire: Wire) -> None:
    """Only an input that leaves no room for one token is too long; a smaller one ends by length."""
    loaded = await wire.ask_until("load_model", source="synthetic:?tps=0&ctx=8", id="narrow")
    assert loaded["type"] == "model_loaded"
    error = await wire.ask("generate", prompt="1 2 3 4 5 6 7 8", model="narrow")
    assert (error["type"], error["code"]) == ("generation_error", "context_length_exceeded")
    reply = await wire.ask("generate", prompt="1 2 3 4 5 6 7", model="narrow")
    assert reply["result"]["text"] == "1 "
    assert reply["result"]["finishReason"] == "length"
    start = await wire.stream("1 2 3 4 5 6 7 8 9", model="narrow")
    end = await wire.end_of(start["streamId"])
    assert (end["type"], end["code"], end["offset"]) == (
        "stream_error",
        "context_length_exceeded",
        0,
    )


async def test_an_engine_failure_keeps_the_text(wire: Wire) -> None:
    """A job that fails midway ends in `stream_error` with its offset; the engine goes on."""
    await wire.ask_until("load_model", source="synthetic:?tps=0&fail_at=3", id="failing")
    for _ in range(2):
        start = await wire.stream(model="failing")
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["code"]) == ("stream_error", "generation_failed")
        assert end["offset"] == len("1 2 3 ")
        assert wire.copy(start["streamId"]).text == "1 2 3 "
    error = await wire.ask("generate", prompt="x", model="failing")
    assert (error["type"], error["code"]) == ("generation_error", "generation_failed")


async def test_counting_tokens(wire: Wire) -> None:
    """Tokens are counted by the model's own tokenizer, of a text or a conversation."""
    assert (await wire.ask("count_tokens", text="one two  three"))["tokens"] == 3
    assert (await wire.ask("count_tokens", text=""))["tokens"] == 0
    messages = [{"role": "user", "content": "a b"}, {"role": "assistant", "content": "c"}]
    assert (await wire.ask("count_tokens", messages=messages, model="slow"))["tokens"] == 3


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "text"),
        ({"text": 5}, "text"),
        ({"text": "x", "messages": [{"role": "user", "content": "x"}]}, "messages"),
        ({"messages": []}, "messages"),
    ],
)
async def test_counting_needs_one_input(wire: Wire, fields: Any, named: str) -> None:
    """Exactly one of text and messages."""
    error = await wire.ask("count_tokens", **fields)
    assert (error["type"], error["code"]) == ("error", "invalid_parameters")
    assert [detail["field"] for detail in error["details"]] == [named]


async def test_an_answer_of_any_size_fits_into_frames(wire: Wire) -> None:
    """A long answer comes in pieces of at most 32 KiB, each byte once."""
    start = await wire.stream(
        model="flat", options={"maxTokens": 60_000, "tokenInterval": 1000, "progressEvery": 0}
    )
    end = await wire.end_of(start["streamId"], seconds=30)
    assert end["totalTokens"] == 60_000
    assert wire.copy(start["streamId"]).text == counted(60_000)
