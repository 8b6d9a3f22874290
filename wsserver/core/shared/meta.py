"""What travels with an answer, so that any process can show it and any worker can end it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec

from wsserver.core.ask import Answer, Ask, Place
from wsserver.core.sessions.model import Message
from wsserver.core.streams import StreamRecord
from wsserver.core.wallclock import wall_ms


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Where a session keeps an answer, and what stood there when it began."""

    owner: str  # identity key
    session_id: str
    message: Message
    instead_of: tuple[str, ...] = ()  # streams that may have written it before


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An answer without its text. Times are milliseconds since the epoch."""

    ask: Ask
    model_id: str
    requested_model: str | None = None
    accepted_at: int
    request_id: str | None = None
    ask_seq: int | None = None
    place: Place | None = None
    prior: str = ""
    continues: str | None = None
    cache_key: bytes | None = None
    kept: Kept | None = None


def pack(answer: Answer, kept: Kept | None, *, with_input: bool) -> bytes:
    """An answer's `Meta` as MessagePack.

    Args:
        answer: The answer.
        kept: Where a session keeps it.
        with_input: Whether to include what the model is fed. `continue` needs it of an answer
            that no session keeps; a job has it anyway.
    """
    loop = asyncio.get_running_loop()
    record, ask = answer.record, answer.ask
    if not with_input:
        ask = replace(ask, messages=None, raw=None)
    meta = Meta(
        ask=ask,
        model_id=record.model_id,
        requested_model=record.requested_model,
        accepted_at=wall_ms() - round((loop.time() - record.accepted_at) * 1000),
        request_id=answer.request_id,
        ask_seq=answer.ask_seq,
        place=answer.place,
        prior=answer.prior if with_input else "",
        continues=answer.continues,
        cache_key=answer.cache_key,
        kept=kept,
    )
    return msgspec.msgpack.encode(meta)


def unpack(data: bytes) -> Meta:
    """The `Meta` of `pack`."""
    return msgspec.msgpack.decode(data, type=Meta)


def learn_input(answer: Answer, meta: Meta) -> None:
    """Have an answer know what its newest meta says of its model's input."""
    answer.ask = replace(answer.ask, messages=meta.ask.messages, raw=meta.ask.raw)
    answer.prior = meta.prior


def answer_of(meta: Meta, record: StreamRecord) -> Answer:
    """The answer that a meta and a record are of; sets what the record has from its acceptance."""
    loop = asyncio.get_running_loop()
    record.accepted_at = loop.time() - (wall_ms() - meta.accepted_at) / 1000
    record.model_id, record.requested_model = meta.model_id, meta.requested_model
    answer = Answer(record, meta.ask, meta.request_id)
    answer.ask_seq = meta.ask_seq
    answer.place = meta.place
    answer.prior = meta.prior
    answer.continues = meta.continues
    answer.cache_key = meta.cache_key
    return answer
