"""What the kinds of servers differ in.

Decides for each kind: which options it has and by what names, how an answer is taken up again, how
tokens are counted, and what it can be asked to tell on the way. It sends nothing. The rule: a
field goes only to servers that are known to read it, since some refuse what they don't know and
others ignore it, which is worse.

A server tells its kind in ``owned_by`` of its model list; the setting ``server`` overrides it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final


class Continuing(Enum):
    """How a chat goes on within an answer begun before (`EngineJob.prior`).

    * ``FINAL_MESSAGE``: a last assistant message that stays open, by ``continue_final_message``.
      A template may trim it, so white space at its end is not sent, and not shown twice.
    * ``LAST_TURN``: a last assistant message is taken for the beginning of the answer, exactly.
    * ``PREFIX``: a field ``response_prefix``, put behind the open prompt exactly.
    * ``NONE``: the server would begin a new turn and say things twice; such jobs are refused.
    """

    FINAL_MESSAGE = auto()
    LAST_TURN = auto()
    PREFIX = auto()
    NONE = auto()


class Counting(Enum):
    """Where tokens are counted."""

    LLAMA = auto()  # /apply-template, /tokenize with content
    TOKENIZE = auto()  # /tokenize with prompt or messages
    TABBY = auto()  # /v1/token/encode
    NONE = auto()  # nowhere: an estimate from the length


# What OpenAI itself has, by the same names.
_COMMON: Final = {
    name: name for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
}
_ALL_OPTIONS: Final = frozenset(
    (
        *_COMMON,
        *("top_k", "min_p", "typical_p", "repetition_penalty", "stop", "banned_strings"),
        *("logit_bias", "json_schema", "grammar", "regex", "logprobs", "tools"),
    )
)
# `stop` is matched here, so that every server tells a stop string from the model's own end.
_ALWAYS: Final = frozenset((*_COMMON, "stop", "logit_bias", "json_schema", "logprobs", "tools"))


@dataclass(frozen=True)
class Dialect:
    """One kind of server. ``names``: option to the body's field; a dot makes it a field within."""

    name: str
    owners: frozenset[str]  # of `owned_by`, lower case
    continuing: Continuing = Continuing.NONE
    counting: Counting = Counting.NONE
    names: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, Any] = field(default_factory=dict)  # of every body
    beside_tools: Mapping[str, Any] = field(default_factory=dict)  # of bodies with tools
    stream_options: Mapping[str, Any] = field(default_factory=lambda: {"include_usage": True})
    max_tokens_field: str = "max_tokens"  # of a chat
    json_schema_field: str | None = None  # where `response_format` does not bind the answer
    reads_gbnf: bool = False  # and believes it, as llama.cpp does
    lists_models: bool = False  # its model list is complete, and other names are refused

    @property
    def options(self) -> Mapping[str, str]:
        """Options that are sent as they are, with the names of their fields."""
        return {**_COMMON, **self.names}

    @property
    def unsupported(self) -> frozenset[str]:
        """Options that this kind has not."""
        return _ALL_OPTIONS - _ALWAYS - frozenset(self.names)


_RUNNING_USAGE: Final = {"include_usage": True, "continuous_usage_stats": True}

VLLM: Final = Dialect(
    name="vllm",
    owners=frozenset(("vllm",)),
    continuing=Continuing.FINAL_MESSAGE,
    counting=Counting.TOKENIZE,
    names={
        "top_k": "top_k",
        "min_p": "min_p",
        "repetition_penalty": "repetition_penalty",
        "regex": "structured_outputs.regex",
        "grammar": "structured_outputs.grammar",
    },
    stream_options=_RUNNING_USAGE,
    lists_models=True,
)
SGLANG: Final = Dialect(
    name="sglang",
    owners=frozenset(("sglang",)),
    continuing=Continuing.FINAL_MESSAGE,
    counting=Counting.TOKENIZE,
    names={
        "top_k": "top_k",
        "min_p": "min_p",
        "repetition_penalty": "repetition_penalty",
        "regex": "regex",
        "grammar": "ebnf",
    },
    stream_options=_RUNNING_USAGE,
)
LLAMA_SERVER: Final = Dialect(
    name="llama-server",
    owners=frozenset(("llamacpp",)),
    continuing=Continuing.LAST_TURN,
    counting=Counting.LLAMA,
    names={
        "top_k": "top_k",
        "min_p": "min_p",
        "typical_p": "typical_p",
        "repetition_penalty": "repeat_penalty",
        "grammar": "grammar",
    },
    reads_gbnf=True,
    # Progress of the prompt, and exact counts: a piece of text may be of several tokens.
    extras={"return_progress": True, "timings_per_token": True},
    beside_tools={"parallel_tool_calls": True},  # as it is everywhere else by default
)
TABBY: Final = Dialect(
    name="tabbyapi",
    owners=frozenset(("tabbyapi",)),
    continuing=Continuing.PREFIX,
    counting=Counting.TABBY,
    names={
        "top_k": "top_k",
        "min_p": "min_p",
        "typical_p": "typical",
        "repetition_penalty": "repetition_penalty",
        "banned_strings": "banned_strings",
        "regex": "regex_pattern",
    },
    json_schema_field="json_schema",
)
# Its newer models refuse the older field, which is the only one that most other servers read.
OPENAI: Final = Dialect(
    name="openai",
    owners=frozenset(("system", "openai", "openai-internal")),
    max_tokens_field="max_completion_tokens",
    lists_models=True,
)
GENERIC: Final = Dialect(name="generic", owners=frozenset())

DIALECTS: Final = {d.name: d for d in (VLLM, SGLANG, LLAMA_SERVER, TABBY, OPENAI, GENERIC)}


def dialect_of(owner: str) -> Dialect:
    """The kind of server that lists its models as owned by ``owner``."""
    owner = owner.lower()
    return next((d for d in DIALECTS.values() if owner in d.owners), GENERIC)
