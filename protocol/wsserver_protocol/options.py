"""The options of a generation, with their bounds and defaults.

This room decides what a value may be. It does not know which engine can honour it (that is
``unsupported_option``, decided where the model is known) nor who may use a priority. A value out
of its bounds is an error, never clamped: a client that asks for the impossible has a fault that
it should see.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from wsserver_protocol.catalogue import FieldError
from wsserver_protocol.fields import MAX_SAFE_INTEGER
from wsserver_protocol.tools import MAX_TOOLS, Tool, ToolChoice, check_tools

DEFAULT_MAX_TOKENS: Final = 512
DEFAULT_PROGRESS_EVERY: Final = 5
DEFAULT_CACHE: Final = True
DEFAULT_PRIORITY: Final = 0

MAX_MAX_TOKENS: Final = 1_000_000
MAX_STOP_STRINGS: Final = 16
MAX_BANNED_STRINGS: Final = 256
MAX_LOGIT_BIASES: Final = 1024
MAX_CONSTRAINT: Final = 64 * 1024  # of a JSON Schema as JSON, a grammar, a regular expression
MAX_TIMEOUT_MS: Final = 86_400_000  # a day

MatchString = Annotated[str, Meta(min_length=1, max_length=256)]
"""A string to look for in the answer. An empty one would match at once and everywhere."""

Probability = Annotated[float, Meta(ge=0, le=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Bias = Annotated[float, Meta(ge=-100, le=100)]


class GenerationOptions(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True
):
    """How to answer. What is absent takes the server's default.

    Attributes:
        max_tokens: Most tokens of the answer, 1 to 1,000,000; default 512. An upper bound: an
            answer that fills the model's context ends with ``length``, too.
        temperature: Randomness, 0 to 2; 0 always takes the likeliest token.
        top_p: Sample from the likeliest tokens that together have this probability, 0 to 1.
        top_k: Sample from this many likeliest tokens; 0 means all.
        min_p: Leave out tokens less likely than this share of the likeliest one, 0 to 1.
        typical_p: Locally typical sampling, 0 to 1; 1 turns it off.
        repetition_penalty: Divides the scores of tokens that occurred; above 0, at most 2;
            1 turns it off.
        presence_penalty: Subtracted once from the scores of tokens that occurred, -2 to 2.
        frequency_penalty: Subtracted from a token's score for each time it occurred, -2 to 2.
        seed: Makes sampling repeatable; an integer within ±2^53.
        stop: A string, or up to 16, before which the answer ends; it is not part of the answer.
        banned_strings: Up to 256 strings that the answer must not contain.
        logit_bias: Token id (as a string of digits) to a number added to its score, -100 to 100;
            at most 1024 of them.
        json_schema: The answer is JSON that fits this JSON Schema, at most 64 KiB as JSON. Excludes
            grammar and regex.
        grammar: The answer fits this grammar, in the notation of the model's engine. Excludes
            jsonSchema and regex.
        regex: The answer fits this regular expression. Excludes jsonSchema and grammar.
        tools: Functions of the client's that the model may ask for, up to 128, at most 256 KiB as
            JSON. Excludes jsonSchema, grammar and regex.
        tool_choice: Whether it asks for them: ``auto`` (as it likes; the default), ``none``,
            ``required``, or {name} for one. Only with tools.
        logprobs: Send log probabilities with this many alternatives per token, 0 to 20.
        cache: Whether the answer may come from the cache; default true. Only an answer at
            temperature 0 or with a seed ever does.
        priority: Place in the queue, -10 to 10, higher is sooner; default 0. Needs a scope.
        timeout: Milliseconds after which the answer ends, 1 to 86,400,000.
        progress_every: Send ``stream_progress`` each time this many tokens came; default 5,
            0 means never.
        token_interval: Milliseconds over which tokens are joined into one frame, 0 to 1000;
            0 sends one frame a token while the reader keeps up. Default: the server's.
        on_disconnect: What happens when the asker's last connection is gone: ``cancel`` stops
            at once, ``detach`` goes on to the end; by default it goes on for the resume window.
    """

    max_tokens: Annotated[int, Meta(ge=1, le=MAX_MAX_TOKENS)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Probability | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_p: Probability | None = None
    typical_p: Probability | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-MAX_SAFE_INTEGER, le=MAX_SAFE_INTEGER)] | None = None
    stop: Annotated[tuple[MatchString, ...], Meta(max_length=MAX_STOP_STRINGS)] = ()
    banned_strings: Annotated[tuple[MatchString, ...], Meta(max_length=MAX_BANNED_STRINGS)] = ()
    logit_bias: Annotated[dict[str, Bias], Meta(max_length=MAX_LOGIT_BIASES)] | None = None
    json_schema: dict[str, Any] | None = None
    grammar: Annotated[str, Meta(min_length=1, max_length=MAX_CONSTRAINT)] | None = None
    regex: Annotated[str, Meta(min_length=1, max_length=MAX_CONSTRAINT)] | None = None
    tools: Annotated[tuple[Tool, ...], Meta(max_length=MAX_TOOLS)] = ()
    tool_choice: ToolChoice | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    cache: bool | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] | None = None
    timeout: Annotated[int, Meta(ge=1, le=MAX_TIMEOUT_MS)] | None = None
    progress_every: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    token_interval: Annotated[int, Meta(ge=0, le=1000)] | None = None
    on_disconnect: Literal["cancel", "detach"] | None = None


DEFAULT_OPTIONS: Final = GenerationOptions()


def check_options(options: GenerationOptions, path: str) -> Iterator[FieldError]:
    """What is wrong between fields that are each right; ``path`` is the options' own."""
    if options.logit_bias is not None:
        for token in options.logit_bias:
            # The length is bounded, too: engines turn the key into a machine integer.
            if not (token.isascii() and token.isdigit() and len(token) <= 9):
                yield FieldError(
                    field=f"{path}.logitBias", message="must have token ids (digits) as its keys"
                )
                break
    constraints = {
        "jsonSchema": options.json_schema,
        "grammar": options.grammar,
        "regex": options.regex,
    }
    given = [name for name, value in constraints.items() if value is not None]
    if len(given) > 1:
        yield FieldError(
            field=f"{path}.{given[1]}", message=f"cannot be used together with {given[0]}"
        )
    if given and options.tools:
        yield FieldError(field=f"{path}.tools", message=f"cannot be used together with {given[0]}")
    yield from check_tools(options.tools, options.tool_choice, path)
