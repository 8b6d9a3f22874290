"""One turn of a session: what was asked for, where it stands in the tree, how far it is stored.

Decides where a turn goes and what stands in its messages. It asks no store and no model. The rule
of a turn's life: it is *placed* when its messages are in the tree (or it was refused), *ended*
when its answer is, and *settled* when the answer's last text is stored or can't be.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from wsserver.core.ask import Answer
from wsserver.core.engine import ChatMessage
from wsserver.core.ids import derived_id
from wsserver.core.sessions.model import Message, Session
from wsserver.core.streams import Ending, StreamRecord
from wsserver.core.wallclock import wall_ms
from wsserver_protocol.errors import ErrorCode, FieldError, WireError
from wsserver_protocol.lifecycle import FinishReason
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.tools import Tool, ToolChoice

LEASE_MS = 6_000
"""For so long after its last checkpoint a writer is taken to live."""

TITLE_LENGTH = 60
"""Characters of a title made from the first turn."""

ANSWER = "answer"
"""Names a turn's answer among its messages; those before it are numbered."""

CUT_SHORT = frozenset(
    {FinishReason.STOPPED, FinishReason.ERROR, FinishReason.LENGTH, FinishReason.TIMEOUT}
)
"""Ends of answers that `continue` goes on with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a request asks of a session.

    Either ``new`` messages are answered, or ``regenerate`` names an answer to make again, or
    ``is_continuation`` goes on with ``message_id`` (None: the newest message).
    """

    session_id: str
    new: tuple[ChatMessage, ...] = ()
    system: str | None = None  # instead of the session's own
    parent_id: str | None = None  # None: after the newest; the session's own id: at the beginning
    regenerate: str | None = None
    names_model: bool = False
    is_continuation: bool = False
    message_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Where a turn goes: decided once, before anything of it is stored."""

    session: Session
    end: str | None  # last message of the branch that it answers
    appended: tuple[Message, ...]  # what goes into the tree; empty if all is there
    message: Message  # the answer as it begins
    instead_of: tuple[str, ...] = ()  # streams that may have written the answer before


@dataclass(slots=True, eq=False)
class Turn:
    """An answer of a session from its acceptance until it is settled."""

    answer: Answer
    wish: Wish
    before: Turn | None  # the session's turn that came before this one, while it is not settled
    placed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    ending: Ending | None = None
    spot: Spot | None = None
    is_stored: bool = False  # its messages are in the tree
    saved: bool | None = None  # its last text was stored; None: not known yet

    @property
    def owner(self) -> str:
        return self.answer.ask.owner.key

    @property
    def key(self) -> tuple[str, str]:
        """The session of this turn, for the whole server."""
        return self.owner, self.wish.session_id

    def message(self) -> Message:
        """The answer as it stands now, under a fresh lease or with its finish reason."""
        assert self.spot is not None
        return message_now(self.spot.message, self.answer.record, self.ending)

    def rows(self) -> list[Message]:
        """What an append has to add: the new messages, the answer as it stands now."""
        assert self.spot is not None
        return [*self.spot.appended[:-1], self.message()]


def message_now(first: Message, record: StreamRecord, ending: Ending | None) -> Message:
    """An answer's message as it stands now: as it began, with all that was said since."""
    return replace(
        first,
        content=first.content + record.transcript.text,
        tokens=(first.tokens or 0) + record.transcript.generated,
        finish_reason=ending.finish_reason if ending is not None else None,
        lease=None if ending is not None else wall_ms() + LEASE_MS,
    )


def spot_of_new(session: Session, turn: Turn, parent_id: str | None) -> Spot:
    """A new turn after ``parent_id``."""
    owner, now = turn.answer.ask.owner, wall_ms()
    added: list[Message] = []
    end = parent_id
    for new in turn.wish.new:
        added.append(
            Message(
                message_id=message_id(turn, str(len(added))),
                parent_id=end,
                role=new.role,
                content=new.content,
                timestamp=now,
                author_id=owner.user_id if new.role == "user" else None,
            )
        )
        end = added[-1].message_id
    message = _begun(turn, parent_id=end, now=now)
    return Spot(
        session=session,
        end=parent_id,
        appended=(*added, message),
        message=message,
        instead_of=turn.answer.instead_of,
    )


def spot_of_another_try(session: Session, turn: Turn, tried: Message) -> Spot:
    """An answer made again, as a sibling of ``tried``.

    Raises:
        WireError: ``invalid_parameters`` if that is no answer.
    """
    if tried.role != "assistant" or tried.parent_id is None:
        raise _not_an_answer("regenerate")
    message = _begun(turn, parent_id=tried.parent_id, now=wall_ms())
    return Spot(
        session=session,
        end=tried.parent_id,
        appended=(message,),
        message=message,
        instead_of=turn.answer.instead_of,
    )


def spot_of_taken_up(session: Session, turn: Turn, left: Message) -> Spot:
    """The place of a turn whose request was to be answered before: its messages are there, and
    nothing of its answer is."""
    message = _begun(turn, parent_id=left.parent_id, now=wall_ms())
    return Spot(
        session=session,
        end=left.parent_id,
        appended=(),
        message=replace(message, timestamp=left.timestamp),
        instead_of=turn.answer.instead_of,
    )


def spot_of_continuation(session: Session, turn: Turn, begun: Message) -> Spot:
    """An answer that goes on with what ``begun`` has said.

    Raises:
        WireError: ``invalid_parameters`` if that is no answer that was cut short.
    """
    field = "sessionId" if turn.wish.message_id is None else "streamId"
    if begun.role != "assistant":
        raise _not_an_answer(field)
    # What the same request was to go on with, and never did, is not running.
    is_taken_up = begun.stream_id in turn.answer.instead_of
    if begun.finish_reason not in CUT_SHORT and not is_taken_up:
        raise cannot_continue(field, is_running=begun.lease is not None)
    message = replace(
        begun,
        model=turn.answer.record.model_id,
        stream_id=turn.answer.stream_id,
        finish_reason=None,
    )
    return Spot(
        session=session,
        end=begun.parent_id,
        appended=(),
        message=message,
        instead_of=tuple(filter(None, (begun.stream_id, *turn.answer.instead_of))),
    )


def message_id(turn: Turn, part: str) -> str:
    """The id of one of a turn's messages: who takes its request up writes the same ones."""
    answer = turn.answer
    first = answer.instead_of[0] if answer.instead_of else answer.stream_id
    return derived_id("msg", first, part)


class Before:
    """What stands before a turn where all turns of its session are this process's."""

    def __init__(self, turn: Turn) -> None:
        self._before = turn.before

    @property
    def is_over(self) -> bool:
        return self._before is None or self._before.settled.is_set()

    async def placed(self) -> None:
        if self._before is not None:
            await self._before.placed.wait()

    async def over(self) -> None:
        if self._before is not None:
            await self._before.settled.wait()

    def follow(self) -> None:
        """Nothing to tell: the next one sees `Turn.placed`."""


def cannot_continue(field: str, *, is_running: bool) -> WireError:
    """The answer that `continue` names has nothing to go on with."""
    what = "is still running" if is_running else "was finished"
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"This answer {what}; only one that was stopped, failed or ended by length goes on.",
        details=(FieldError(field=field, message=f"names an answer that {what}"),),
    )


def asked_text(options: GenerationOptions, system: str | None) -> str | None:
    """How an answer is asked for, as it is kept with it; None if there is nothing to say."""
    names = GenerationOptions.__struct_fields__
    given = {n: v for n in names if (v := getattr(options, n)) is not None and v != ()}
    asked = {**({"options": given} if given else {}), **({"system": system} if system else {})}
    return json.dumps(asked, ensure_ascii=False, default=msgspec.to_builtins) if asked else None


def asked_again(text: str) -> tuple[GenerationOptions, str | None]:
    """The options and the system prompt of `asked_text`."""
    asked: dict[str, Any] = json.loads(text)
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in asked.get("options", {}).items()
        if name in GenerationOptions.__struct_fields__  # a later version may know others
    }
    for name, kind in (("tools", tuple[Tool, ...]), ("tool_choice", ToolChoice)):
        if name in options:
            options[name] = msgspec.convert(options[name], kind)
    return GenerationOptions(**options), asked.get("system")


def read_now(message: Message, now: int) -> Message:
    """A message as a reader sees it: one whose writer has died was ended by that."""
    if message.finish_reason is None and message.lease is not None and message.lease < now:
        return replace(message, finish_reason=FinishReason.ERROR, lease=None)
    return message


def title_from(new: tuple[ChatMessage, ...]) -> str | None:
    """A title for a session that begins with these messages; None if they say nothing."""
    text = next((message.content for message in new if message.role == "user"), "")
    words = " ".join(text[: 4 * TITLE_LENGTH].split())
    if len(words) <= TITLE_LENGTH:
        return words or None
    cut = words[:TITLE_LENGTH]
    head, space, _ = cut.rpartition(" ")
    return f"{head if space and len(head) > TITLE_LENGTH // 2 else cut}…"


def _begun(turn: Turn, *, parent_id: str | None, now: int) -> Message:
    return Message(
        message_id=message_id(turn, ANSWER),
        parent_id=parent_id,
        role="assistant",
        content="",
        timestamp=now,
        model=turn.answer.record.model_id,
        tokens=0,
        stream_id=turn.answer.stream_id,
        lease=now + LEASE_MS,
        asked=asked_text(turn.answer.ask.options, turn.wish.system),
    )


def _not_an_answer(field: str) -> WireError:
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"{field} must name an answer of this session.",
        details=(FieldError(field=field, message="names no answer"),),
    )
