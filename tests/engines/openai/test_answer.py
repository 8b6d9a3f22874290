"""What the events of a stream mean."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engines.driver import Result
from wsserver.core.engine import (
    ChatMessage,
    EngineJob,
    FinishReason,
    Output,
    Sampling,
    TokenLogprob,
)
from wsserver.engines.openai.answer import Answer
from wsserver.engines.openai.faults import Fault


class Stream:
    """An answer that is fed by a test."""

    def __init__(self, prompt_tokens: int = 10, **fields: Any) -> None:
        self.outputs: list[Output] = []
        messages = (ChatMessage(role="user", content="hi"),)
        job = EngineJob(job_id="a", messages=messages, **fields)
        self.answer = Answer(job, self.outputs.append, prompt_tokens)

    def feed(self, *contents: dict[str, Any]) -> Stream:
        """Take events."""
        for content in contents:
            self.answer.take(json.dumps(content))
        return self

    def end(self) -> Result:
        """The stream is over."""
        self.answer.take("[DONE]")
        self.answer.check_end()
        return self.last()

    def last(self) -> Result:
        """What there was, whether it came to its end or not."""
        self.outputs.append(self.answer.end())
        return Result(tuple(self.outputs))


def chat(text: str | None = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """An event of a chat."""
    return {
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}],
        **fields,
    }


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """What a server tells of its tokens."""
    details = {"cached_tokens": cached}
    return {
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "prompt_tokens_details": details,
        }
    }


def test_pieces_count_a_token_each_until_the_usage_tells() -> None:
    """Without counts on the way a piece is a token; the usage at the end adds what is missing."""
    stream = Stream().feed(chat(""), chat("a"), chat("b"), chat(None, "length"))
    result = stream.feed({"choices": [], **usage(7, 5, 3)}).end()
    assert [(d.text, d.tokens) for d in result.deltas] == [("a", 1), ("b", 1), ("", 3)]
    assert result.reason is FinishReason.LENGTH
    assert getattr(result.end, "prompt_tokens", None) == 7
    assert getattr(result.end, "cached_tokens", None) == 3
    assert (result.prefills[0].done, result.prefills[0].total) == (10, 10)


def test_running_usage_counts_exactly() -> None:
    """A server that tells its count with each event is believed at once, its prompt as well."""
    stream = Stream().feed(chat("", **usage(7, 0)), chat("a", **usage(7, 1)))
    result = stream.feed(chat("bc", **usage(7, 4)), chat(None, "stop", **usage(7, 5))).end()
    assert [d.tokens for d in result.deltas] == [1, 3]  # the fifth ended the turn
    assert result.prefills[0].total == 7
    assert result.reason is FinishReason.STOP


def test_stop_string_over_pieces_ends_and_does_not_show() -> None:
    """Held back from its first letter, whatever the server sends after it."""
    stream = Stream(sampling=Sampling(stop=("END",)))
    stream.feed(chat("one E"), chat("N"), chat("D and more"), chat("never"))
    assert stream.answer.is_over
    result = stream.end()
    assert result.text == "one "
    assert result.tokens == 3
    assert result.reason is FinishReason.STOP_STRING


def test_half_a_stop_string_shows_in_the_end() -> None:
    """What never completed is text."""
    stream = Stream(sampling=Sampling(stop=("END",)))
    assert stream.feed(chat("one EN"), chat(None, "stop")).end().text == "one EN"


def test_cancelled_answer_keeps_what_it_had() -> None:
    """Its last output says so, with the tokens told before."""
    stream = Stream(sampling=Sampling(stop=("END",))).feed(chat("one E"))
    result = stream.last()
    assert result.reason is FinishReason.CANCELLED
    assert result.text == "one E"


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.STOP),
    ],
)
def test_finish_reason_is_mapped(finish: str, reason: FinishReason) -> None:
    """The API's words become ours."""
    assert Stream().feed(chat("x"), chat(None, finish)).end().reason is reason


@pytest.mark.parametrize(
    ("finish", "retryable"), [("content_filter", False), ("abort", True), ("error", True)]
)
def test_other_ends_are_failures(finish: str, retryable: bool) -> None:
    """An answer that was held back or given up is not called complete."""
    with pytest.raises(Fault) as caught:
        Stream().feed(chat("x"), chat(None, finish))
    assert caught.value.retryable is retryable


def test_stream_that_ends_without_a_reason_was_cut_off() -> None:
    """Not even [DONE] makes it whole."""
    with pytest.raises(Fault) as caught:
        Stream().feed(chat("x")).end()
    assert caught.value.is_servers


@pytest.mark.parametrize(
    "data", ["", "{", "[]", '{"choices": 3}', '{"choices": [{"delta": {"content": 5}}]}']
)
def test_unreadable_event_is_the_servers_fault(data: str) -> None:
    """It is not skipped: text would be missing and nobody would know."""
    with pytest.raises(Fault) as caught:
        Stream().answer.take(data)
    assert caught.value.is_servers


def test_reasoning_is_not_the_answer_but_counts() -> None:
    """Its tokens are told with empty text, so that the stream is seen to live."""
    event = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}
    result = Stream().feed(event, event, chat("x"), chat(None, "stop")).end()
    assert [(d.text, d.tokens) for d in result.deltas] == [("", 1), ("", 1), ("x", 1)]


def test_white_space_that_stood_there_is_not_said_twice() -> None:
    """What a trimmed last message makes the model repeat is left out, over pieces, once."""
    stream = Stream(prior="so\n\n ", prior_tokens=3)
    stream.answer.begin("\n\n ")
    assert stream.feed(chat("\n"), chat("\n it is\n"), chat(None, "stop")).end().text == "it is\n"
    other = Stream(prior="so ", prior_tokens=2)
    other.answer.begin(" ")
    assert other.feed(chat("it"), chat(" is"), chat(None, "stop")).end().text == "it is"


def test_prompt_is_never_less_than_what_it_was_fed_of_the_answer() -> None:
    """An estimate below the tokens begun before would make a negative prompt."""
    result = Stream(2, prior="x", prior_tokens=50).feed(chat("y"), chat(None, "stop")).end()
    assert getattr(result.end, "prompt_tokens", None) == 50


LOGPROBS = (TokenLogprob("a", -0.5, (("a", -0.5), ("b", -1.0))),)


@pytest.mark.parametrize(
    "logprobs",
    [
        {
            "content": [
                {
                    "token": "a",
                    "logprob": -0.5,
                    "top_logprobs": [
                        {"token": "a", "logprob": -0.5},
                        {"token": "b", "logprob": -1.0},
                        {"token": "c", "logprob": -2.0},
                    ],
                }
            ]
        },
        {
            "tokens": ["a"],
            "token_logprobs": [-0.5],
            "top_logprobs": [{"a": -0.5, "b": -1.0, "c": -2.0}],
        },
    ],
)
def test_log_probabilities_of_both_forms(logprobs: dict[str, Any]) -> None:
    """The chat's form and the older one say the same; no more alternatives than asked."""
    event = {"choices": [{"index": 0, "text": "a", "logprobs": logprobs}]}
    result = Stream(sampling=Sampling(logprobs=2)).feed(event, chat(None, "stop")).end()
    assert result.deltas[0].logprobs == LOGPROBS
    silent = Stream().feed(event, chat(None, "stop")).end()
    assert silent.deltas[0].logprobs is None


def test_error_event_ends_the_answer() -> None:
    """With the server's reason, as an answer of that status would."""
    with pytest.raises(Fault) as caught:
        Stream().feed({"error": {"code": 400, "message": "no such grammar"}})
    assert caught.value.code == "invalid_parameters"


def test_attempt_before_leaves_nothing() -> None:
    """Tokens that were told and never shown, and an end that was none, don't count."""
    stream = Stream().feed({"choices": [], **usage(7, 9)}, chat(None, "length"))
    stream.answer.begin("")
    result = stream.feed(chat("x"), chat(None, "stop")).end()
    assert (result.tokens, result.reason) == (1, FinishReason.STOP)
