"""From a job to the body of a request.

Decides which call a job makes and what it says. It sends nothing. The rules: an option that nobody
asked for is left to the server, whose operator has chosen its defaults with the model; an answer
begun before is never begun a second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from wsserver.core.engine import ChatMessage, EngineJob, Sampling
from wsserver.engines.calls import as_turns
from wsserver.engines.contract import JobRefused
from wsserver.engines.gbnf import LLGUIDANCE, checked_gbnf
from wsserver.engines.openai.dialect import Continuing, Dialect
from wsserver.engines.schemas import refuse_deadly

CHAT: Final = "/chat/completions"
COMPLETIONS: Final = "/completions"


@dataclass(frozen=True)
class Request:
    """One call. ``overlap`` is white space of the prior text that the server may say again."""

    path: str
    body: dict[str, Any]
    overlap: str = ""


def build_request(
    job: EngineJob, dialect: Dialect, model: str, max_tokens: int, extra: Mapping[str, Any]
) -> Request:
    """The call that makes, or goes on with, a job's answer.

    Raises:
        JobRefused: If the job goes on with a chat and this kind of server can't, or its grammar
            or a schema would harm the server.
    """
    grammar = job.sampling.grammar
    if dialect.reads_gbnf:
        refuse_deadly(job.sampling)
        if grammar is not None and not grammar.lstrip().startswith(LLGUIDANCE):
            checked_gbnf(grammar)
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": dict(dialect.stream_options),
        **dialect.extras,
        **_options(job.sampling, dialect),
    }
    if job.messages is None:
        body |= {"prompt": (job.raw or "") + job.prior, "max_tokens": max_tokens}
        body |= {**_legacy_logprobs(job.sampling), **extra}
        return Request(COMPLETIONS, body)
    turns, fields, overlap = _turns(job.messages, job.prior, dialect)
    body[dialect.max_tokens_field] = max_tokens
    body |= {"messages": turns, **fields, **_logprobs(job.sampling)}
    if job.sampling.tools:
        body |= {"tools": job.sampling.tools, "tool_choice": job.sampling.tool_choice}
        body |= dialect.beside_tools
    body |= extra
    return Request(CHAT, body, overlap)


def _turns(
    messages: Sequence[ChatMessage], prior: str, dialect: Dialect
) -> tuple[list[dict[str, Any]], dict[str, Any], str]:
    """Turns, fields beside them, and the overlap."""
    turns = as_turns(messages)
    if not prior:
        return turns, {}, ""
    match dialect.continuing:
        case Continuing.FINAL_MESSAGE:
            begun = prior.rstrip()
            overlap = prior[len(begun) :]
            if not begun:
                return turns, {}, overlap
            fields = {"add_generation_prompt": False, "continue_final_message": True}
            return [*turns, {"role": "assistant", "content": begun}], fields, overlap
        case Continuing.LAST_TURN:
            return [*turns, {"role": "assistant", "content": prior}], {}, ""
        case Continuing.PREFIX:
            return turns, {"response_prefix": prior}, ""
        case Continuing.NONE:
            raise JobRefused(
                "generation_failed",
                "the model's server can't go on with an answer that was begun before",
            )


def _options(sampling: Sampling, dialect: Dialect) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for option, name in dialect.options.items():
        value = getattr(sampling, option)
        if value is None or value == ():
            continue
        outer, dot, inner = name.partition(".")
        body[outer] = {inner: value} if dot else value
    if sampling.logit_bias:
        body["logit_bias"] = sampling.logit_bias
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": sampling.json_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if dialect.json_schema_field is not None:
            body[dialect.json_schema_field] = sampling.json_schema
    return body


def _logprobs(sampling: Sampling) -> dict[str, Any]:
    if sampling.logprobs is None:
        return {}
    return {"logprobs": True, "top_logprobs": sampling.logprobs}


def _legacy_logprobs(sampling: Sampling) -> dict[str, Any]:
    """The older call has a number in place of the switch."""
    return {} if sampling.logprobs is None else {"logprobs": sampling.logprobs}
