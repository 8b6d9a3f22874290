"""What a job says to each kind of server."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.core.engine import ChatMessage, EngineJob, Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.openai.body import Request, build_request
from wsserver.engines.openai.dialect import (
    DIALECTS,
    GENERIC,
    LLAMA_SERVER,
    SGLANG,
    TABBY,
    VLLM,
    Dialect,
    dialect_of,
)

TURN = {"role": "user", "content": "hi"}
EVERYTHING = Sampling(
    temperature=0.0,
    top_p=0.9,
    top_k=40,
    min_p=0.1,
    typical_p=0.8,
    repetition_penalty=1.1,
    presence_penalty=-1.0,
    frequency_penalty=1.0,
    seed=0,
    stop=("x",),
    logit_bias={"5": -100.0},
    json_schema={"type": "object"},
    grammar='root ::= "g"',
    regex="r",
    banned_strings=("b",),
)


def request(dialect: Dialect, sampling: Sampling | None = None, **fields: Any) -> Request:
    """The call of a job."""
    if "raw" not in fields:
        fields["messages"] = (ChatMessage(role="user", content="hi"),)
    job = EngineJob(job_id="a", sampling=sampling or Sampling(), **fields)
    return build_request(job, dialect, "m", 9, {"extra": True})


def test_plain_chat_says_only_what_was_asked() -> None:
    """Nothing that a strict server could stumble over; sampling is left to the server."""
    call = request(GENERIC)
    assert call.path == "/chat/completions"
    assert call.body == {
        "model": "m",
        "messages": [TURN],
        "max_tokens": 9,
        "stream": True,
        "stream_options": {"include_usage": True},
        "extra": True,
    }


def test_zero_is_a_value() -> None:
    """Temperature 0 and seed 0 are not left out."""
    body = request(GENERIC, Sampling(temperature=0.0, seed=0)).body
    assert (body["temperature"], body["seed"]) == (0.0, 0)


@pytest.mark.parametrize(
    ("dialect", "fields", "unsupported"),
    [
        (
            VLLM,
            {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1},
            {"typical_p", "banned_strings"},
        ),
        (
            SGLANG,
            {"top_k": 40, "regex": "r", "ebnf": 'root ::= "g"'},
            {"typical_p", "banned_strings"},
        ),
        (
            LLAMA_SERVER,
            {"repeat_penalty": 1.1, "typical_p": 0.8, "grammar": 'root ::= "g"'},
            {"regex", "banned_strings"},
        ),
        (
            TABBY,
            {"typical": 0.8, "banned_strings": ("b",), "json_schema": {"type": "object"}},
            {"grammar"},
        ),
        (
            GENERIC,
            {"temperature": 0.0, "top_p": 0.9, "seed": 0, "logit_bias": {"5": -100.0}},
            {
                *("top_k", "min_p", "typical_p", "repetition_penalty"),
                *("banned_strings", "grammar", "regex"),
            },
        ),
    ],
)
def test_options_have_each_servers_names(
    dialect: Dialect, fields: dict[str, Any], unsupported: set[str]
) -> None:
    """What a kind of server has is sent by its name, the rest is declared."""
    body = request(dialect, EVERYTHING).body
    assert fields.items() <= body.items()
    assert dialect.unsupported == unsupported
    assert not unsupported & body.keys()
    assert "stop" not in body  # matched here
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_vllm_reads_grammars_within_a_field() -> None:
    """A dot in a name is a map."""
    assert request(VLLM, Sampling(regex="r")).body["structured_outputs"] == {"regex": "r"}


def test_grammar_that_would_end_a_llama_server_is_not_sent() -> None:
    """llama.cpp believes what it reads: its form of grammars is read here first, others are not."""
    bomb = Sampling(grammar='root ::= "a"{3,1}')
    with pytest.raises(JobRefused, match="line 1") as caught:
        request(LLAMA_SERVER, bomb)
    assert caught.value.field == "options.grammar"
    assert request(VLLM, bomb).body["structured_outputs"] == {"grammar": 'root ::= "a"{3,1}'}


def test_raw_prompt_goes_on_exactly_anywhere() -> None:
    """The text before it is simply there."""
    call = request(GENERIC, raw="Once ", prior="upon ", prior_tokens=1)
    assert call.path == "/completions"
    assert call.body["prompt"] == "Once upon "
    assert "messages" not in call.body


def test_chat_goes_on_as_each_server_can() -> None:
    """Four ways, and one that refuses rather than say it twice."""
    begun = {"role": "assistant", "content": "so it"}
    for dialect in (VLLM, SGLANG):
        call = request(dialect, prior="so it \n", prior_tokens=2)
        assert call.body["messages"] == [TURN, begun]
        assert call.body["continue_final_message"] is True
        assert call.body["add_generation_prompt"] is False
        assert call.overlap == " \n"
    call = request(LLAMA_SERVER, prior="so it ", prior_tokens=2)
    assert call.body["messages"] == [TURN, {"role": "assistant", "content": "so it "}]
    assert call.overlap == ""
    call = request(TABBY, prior="so it ", prior_tokens=2)
    assert call.body["messages"] == [TURN]
    assert call.body["response_prefix"] == "so it "
    with pytest.raises(JobRefused, match="go on"):
        request(GENERIC, prior="so it", prior_tokens=2)


def test_only_white_space_before_is_no_message() -> None:
    """An empty last message would be refused by many templates."""
    call = request(VLLM, prior="\n\n", prior_tokens=1)
    assert call.body["messages"] == [TURN]
    assert "continue_final_message" not in call.body
    assert call.overlap == "\n\n"


def test_log_probabilities_are_asked_in_the_calls_form() -> None:
    """A switch and a number in a chat, a number in a completion; 0 alternatives is a wish."""
    body = request(GENERIC, Sampling(logprobs=0)).body
    assert (body["logprobs"], body["top_logprobs"]) == (True, 0)
    assert request(GENERIC, Sampling(logprobs=0), raw="x").body["logprobs"] == 0


def test_server_is_known_by_its_models_owner() -> None:
    """As each of them writes it; anyone else is generic."""
    owners = {"vllm": VLLM, "sglang": SGLANG, "llamacpp": LLAMA_SERVER, "tabbyAPI": TABBY}
    for owner, dialect in owners.items():
        assert dialect_of(owner) is dialect
    assert dialect_of("somebody") is GENERIC
    assert set(DIALECTS) == {"vllm", "sglang", "llama-server", "tabbyapi", "openai", "generic"}


def test_openai_itself_has_another_name_for_the_bound() -> None:
    """In a chat; the older call keeps the older name."""
    dialect = dialect_of("system")
    assert request(dialect).body["max_completion_tokens"] == 9
    assert "max_tokens" not in request(dialect).body
    assert request(dialect, raw="x").body["max_tokens"] == 9
