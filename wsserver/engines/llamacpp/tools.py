"""Answers that may call tools: what llama.cpp's chat endpoint is asked.

How a call looks is the template's affair, and llama.cpp knows it for each: it shows the tools to
the model, binds a call to the tool's schema and reads it back. So such answers go through its
chat endpoint, where all others are given to it as tokens.

There the rule that people never speak in control tokens is kept otherwise than in ``prompt``: the
endpoint tokenizes by itself, so that the text of a control token is broken up by a character that
shows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from wsserver.core.engine import EngineJob
from wsserver.engines.calls import as_turns
from wsserver.engines.contract import JobRefused
from wsserver.engines.gbnf import unusable
from wsserver.engines.grammar import schema_fault
from wsserver.engines.llamacpp.sampling import SamplingLimits, base_body
from wsserver.engines.schemas import refuse_deadly

_INVISIBLE: Final = "\u200b"  # zero width space


def chat_body(
    job: EngineJob,
    limits: SamplingLimits,
    control_tokens: Sequence[str],
    template_options: dict[str, Any],
) -> dict[str, Any]:
    """The body of a chat completion with the job's tools.

    Raises:
        JobRefused: If an option's value can't be honoured.
    """
    if job.sampling.logprobs is not None:
        message = "llama.cpp has no logprobs together with tools"
        raise JobRefused("unsupported_option", message, field="options.logprobs")
    refuse_deadly(job.sampling)
    defuse = _defuser(control_tokens)
    turns = as_turns(job.messages or (), defuse)
    if job.prior:
        turns.append({"role": "assistant", "content": defuse(job.prior)})
    return base_body(job.sampling, job.max_tokens, limits) | {
        "messages": turns,
        "add_generation_prompt": not job.prior,
        "continue_final_message": bool(job.prior),
        "tools": job.sampling.tools,
        "tool_choice": job.sampling.tool_choice,
        "parallel_tool_calls": True,  # else a model that wants a second call is held up with spaces
        # What a model thinks aloud is part of its text here as everywhere.
        "reasoning_format": "none",
        **({"chat_template_kwargs": template_options} if template_options else {}),
    }


def refusal(job: EngineJob, reason: str) -> JobRefused:
    """The refusal of a job whose tools or turns llama.cpp can't use; names the tool if it can."""
    for number, tool in enumerate(job.sampling.tools):
        parameters = tool["function"].get("parameters")
        if parameters is not None and schema_fault(parameters) is not None:
            return unusable(f"tools[{number}].function.parameters", reason)
    return JobRefused("invalid_parameters", f"the model refuses this input: {reason}")


def _defuser(control_tokens: Sequence[str]) -> Callable[[str], str]:
    found = sorted((token for token in control_tokens if len(token) > 1), key=len, reverse=True)
    if not found:
        return str
    pattern = re.compile("|".join(map(re.escape, found)))
    return lambda text: pattern.sub(lambda m: m[0][0] + _INVISIBLE + m[0][1:], text)
