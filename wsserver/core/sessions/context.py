"""What of a conversation the model is given.

The system prompt, then as many of the newest whole turns as fit, then the new turn. Whole: a turn
goes in with its answer or not at all, so the context never begins on an answer; a turn that never
got an answer's text is left out, because many chat templates refuse two turns of the user in a
row. Everything is counted as the model's own template renders it. Counting costs the engine time,
so it is done on whole candidates: once where all fits, a few times where a cut must be found.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from wsserver.core.engine import ChatMessage
from wsserver.core.sessions.model import Message
from wsserver.core.sessions.tree import turns
from wsserver_protocol.errors import ErrorCode, WireError

Count = Callable[[Sequence[ChatMessage]], Awaitable[int]]
"""Tokens of a conversation through the chat template, open for an answer."""

TYPICAL_BYTES = 4
"""Bytes a token, for the first guess alone."""

BYTES_PER_TOKEN = 16
"""No tokenizer packs natural text tighter: what is older than this many bytes cannot fit."""


class Context(NamedTuple):
    """What the model is given, and what that leaves out."""

    messages: tuple[ChatMessage, ...]
    tokens: int
    dropped: int  # messages of the branch that are not among them


class Room(NamedTuple):
    """How much goes into a model.

    ``reserved`` are tokens that are fed besides the conversation: an answer begun before.
    """

    context_length: int
    max_tokens: int
    reserved: int = 0

    @property
    def budget(self) -> int:
        """Tokens for the conversation: the rest is the answer's, at most a quarter of all."""
        answer = min(self.max_tokens, self.context_length // 4)
        return self.context_length - answer - self.reserved

    @property
    def most(self) -> int:
        """Tokens that leave room for one token of the answer: what a lone turn may take."""
        return self.context_length - 1 - self.reserved


async def build_context(
    count: Count,
    room: Room,
    *,
    system: str | None,
    history: Sequence[Message],
    new: Sequence[ChatMessage],
) -> Context:
    """Choose what to keep of ``history`` (one branch, oldest first) before the ``new`` turn.

    Raises:
        WireError: ``context_length_exceeded`` with the numbers if not even the new turn fits;
            whatever ``count`` raises.
    """
    head = [ChatMessage(role="system", content=system)] if system else []
    old = [_spoken(turn) for turn in turns(history) if _is_answered(turn)]
    context = await fit_turns(count, room, head=head, old=old, new=new)
    in_context = len(context.messages) - len(head) - len(new)
    return context._replace(dropped=len(history) - in_context)


async def fit_turns(
    count: Count,
    room: Room,
    *,
    head: Sequence[ChatMessage],
    old: Sequence[Sequence[ChatMessage]],
    new: Sequence[ChatMessage],
) -> Context:
    """``head``, as many of the newest ``old`` turns as fit, and the ``new`` turn.

    Raises:
        WireError: As for `build_context`.
    """

    def candidate(kept: int) -> list[ChatMessage]:
        recent = old[len(old) - kept :]
        return [*head, *(message for turn in recent for message in turn), *new]

    kept, tokens = await _most_that_fit(count, room, candidate, _sizes(old, [*head, *new]))
    dropped = sum(len(turn) for turn in old[: len(old) - kept])
    return Context(tuple(candidate(kept)), tokens, dropped)


async def _most_that_fit(
    count: Count,
    room: Room,
    candidate: Callable[[int], list[ChatMessage]],
    sizes: Sequence[int],
) -> tuple[int, int]:
    """How many old turns fit, and the tokens of that. ``sizes[k]``: bytes with ``k`` of them."""
    fits, too_many = -1, len(sizes)
    tokens_that_fit = 0
    kept = _guess(sizes, room.budget * TYPICAL_BYTES, 0, too_many - 1)
    is_first = True
    while too_many - fits > 1:
        tokens = await count(candidate(kept))
        if tokens <= room.budget or (kept == 0 and tokens <= room.most):
            fits, tokens_that_fit = kept, tokens
        elif kept == 0:
            raise _too_long(tokens, room)
        else:
            too_many = kept
        if is_first:  # the text's own density is known now
            bytes_per_token = sizes[kept] / max(1, tokens)
            limit = int(room.budget * bytes_per_token)
            kept = _guess(sizes, limit, fits + 1, too_many - 1)
            is_first = False
        else:
            kept = (fits + too_many) // 2
    return fits, tokens_that_fit


def _guess(sizes: Sequence[int], limit: int, least: int, most: int) -> int:
    """The largest number of turns between ``least`` and ``most`` within ``limit`` bytes."""
    fitting = [kept for kept in range(least, most + 1) if sizes[kept] <= limit]
    return fitting[-1] if fitting else least


def _sizes(old: Sequence[Sequence[ChatMessage]], always: Sequence[ChatMessage]) -> list[int]:
    newest_first = [_bytes(turn) for turn in reversed(old)]
    return list(accumulate(newest_first, initial=_bytes(always)))


def _bytes(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content.encode()) for message in messages)


def _is_answered(turn: Sequence[Message]) -> bool:
    return any(message.role == "assistant" and message.content for message in turn)


def _spoken(turn: Sequence[Message]) -> list[ChatMessage]:
    return [
        ChatMessage(role=message.role, content=message.content)
        for message in turn
        if message.content or message.role != "assistant"
    ]


def _too_long(tokens: int, room: Room) -> WireError:
    beside = f" beside the {room.reserved} of the answer so far" if room.reserved else ""
    return WireError(
        ErrorCode.CONTEXT_LENGTH_EXCEEDED,
        f"This turn alone has {tokens} tokens{beside}; "
        f"the model's context holds {room.context_length}.",
    )
