"""A request for one answer, and the answer that it became."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from wsserver.core.engine import ChatMessage, Sampling
from wsserver.core.identity import Identity
from wsserver.core.jobs import Job
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.options import DEFAULT_MAX_TOKENS, GenerationOptions
from wsserver_protocol.tools import NamedTool

# Of these one replaces the others; a choice of tools goes with the tools.
_EXCLUSIVE = {"json_schema": None, "grammar": None, "regex": None, "tools": ()}

ClosingHook = Callable[[StreamRecord, Ending], Awaitable[None]]
"""Awaited after the last text and before the end is told. Must not raise."""


MOST_TOKENS_WHOLE = 100_000
"""Tokens of an answer that is sent in one frame of at most 1 MiB: a `generate`, or a batch's item.
A longer one ends there with ``length``; a `stream` has no such bound, but for a room's, which is an
entry of its log, and one that may end in calls of tools, which its terminal event tells whole."""


class Claim(NamedTuple):
    """A request as its identity named it: the same one again is not run again."""

    identity_key: str
    request_id: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for one answer, checked by the gateway and not yet admitted."""

    owner: Identity
    client_id: str
    options: GenerationOptions
    messages: tuple[ChatMessage, ...] | None = None
    raw: str | None = None
    model: str | None = None
    room_id: str | None = None
    name: str | None = None  # of who asks, as a room shows it
    is_stream: bool = True  # False: a `generate` or an item of a batch
    is_patient: bool = False  # waits for a place of its owner's, as a batch's items do


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an answer stands in a session's history, and what of it the model was given."""

    session_id: str
    message_id: str
    user_message_id: str | None
    context_tokens: int | None = None
    dropped_messages: int | None = None


@dataclass(slots=True)
class Answer:
    """A living or retained answer and who may do what with it."""

    record: StreamRecord
    ask: Ask
    request_id: str | None = None  # the asker's
    closing: list[ClosingHook] = field(default_factory=list)
    on_end: list[Callable[[Answer], object]] = field(default_factory=list)
    on_release: list[Callable[[], object]] = field(default_factory=list)  # its start may be told
    on_replaced: Callable[[Answer], object] | None = None  # by the same request's earlier answer
    on_dropped: list[Callable[[], object]] = field(default_factory=list)  # shown is another one
    claim: Claim | None = None  # where its repeats are recognised by a whole fleet
    instead_of: tuple[str, ...] = ()  # answers of the same request that never began
    ask_seq: int | None = None  # the ask's place in its room's log
    deadline: asyncio.TimerHandle | None = None
    patience: asyncio.TimerHandle | None = None  # until a slot must have been found
    is_closing: bool = False
    holds: int = 0  # reasons why its start is not told yet: a place in its session is looked for
    is_refused: bool = False  # it ended before its start was told: for its asker it never began
    place: Place | None = None  # in a session
    prior: str = ""  # what was said before it, where it goes on with another answer
    continues: str | None = None  # the stream that it goes on with
    job: Job | None = None  # what stands in line or runs
    tried: set[str] = field(default_factory=set)  # models that failed before the first token
    cache_key: bytes | None = None  # where it may be kept to be given again
    asker_is_gone: bool = False  # past its window: the answer lives as long as someone watches
    # What its watchers were last sent, by kind and encoding: what it is of, and the frame.
    shared_frames: dict[tuple[str, object], tuple[object, bytes]] = field(default_factory=dict)

    @property
    def stream_id(self) -> str:
        return self.record.stream_id

    @property
    def is_held(self) -> bool:
        """Whether its start is not told yet."""
        return self.holds > 0

    @property
    def is_stream(self) -> bool:
        return self.ask.is_stream

    @property
    def knows_its_input(self) -> bool:
        """Whether it is known here what its model was fed. A session keeps that by itself."""
        return self.ask.messages is not None or self.ask.raw is not None

    @property
    def survives_its_asker(self) -> bool:
        """Whether it goes on when nobody is there: asked for, or a room's."""
        return self.ask.options.on_disconnect == "detach" or self.ask.room_id is not None


def make_job(
    record: StreamRecord,
    ask: Ask,
    messages: tuple[ChatMessage, ...] | None,
    raw: str | None,
    prior: str,
) -> Job:
    """What a runner is given to make the answer."""
    options = ask.options
    most = DEFAULT_MAX_TOKENS if options.max_tokens is None else options.max_tokens
    if not ask.is_stream or options.tools or ask.room_id is not None:
        most = min(most, MOST_TOKENS_WHOLE)
    return Job(
        stream_id=record.stream_id,
        model_id=record.model_id,
        owner=ask.owner.key,
        messages=messages,
        raw=raw,
        max_tokens=most,
        sampling=_sampling(options),
        prior=prior,
        priority=options.priority or 0,
    )


def merged_options(old: GenerationOptions, new: GenerationOptions) -> GenerationOptions:
    """The options of an answer that goes on: the old ones, with what is given anew."""
    names = GenerationOptions.__struct_fields__
    values = {name: getattr(old, name) for name in names}
    given = {
        name: value for name in names if (value := getattr(new, name)) is not None and value != ()
    }
    if any(name in given for name in _EXCLUSIVE):
        values |= {**_EXCLUSIVE, "tool_choice": None}
    return GenerationOptions(**(values | given))


def _sampling(options: GenerationOptions) -> Sampling:
    choice = options.tool_choice
    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        min_p=options.min_p,
        typical_p=options.typical_p,
        repetition_penalty=options.repetition_penalty,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        seed=options.seed,
        stop=options.stop,
        banned_strings=options.banned_strings,
        logit_bias=options.logit_bias,
        json_schema=options.json_schema,
        grammar=options.grammar,
        regex=options.regex,
        logprobs=options.logprobs,
        tools=_tools(options),
        tool_choice="required" if isinstance(choice, NamedTool) else choice or "auto",
    )


def _tools(options: GenerationOptions) -> tuple[dict[str, Any], ...]:
    """The tools that the model is told of: of a choice by name that one alone, which binds the
    model on every engine alike."""
    choice = options.tool_choice
    return tuple(
        msgspec.to_builtins(tool)
        for tool in options.tools
        if not isinstance(choice, NamedTool) or tool.function.name == choice.name
    )
