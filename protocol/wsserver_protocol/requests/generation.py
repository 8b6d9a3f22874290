"""Requests for answers: to get, watch, stop and go on with them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from wsserver_protocol.fields import Count, Id, NonEmpty
from wsserver_protocol.options import GenerationOptions
from wsserver_protocol.requests.base import ClientMessage, Messages

MAX_BATCH = 20
"""Most prompts of a batch."""


class Generate(ClientMessage, frozen=True, kw_only=True, tag="generate"):
    """Ask for a whole answer. Ends in ``generation_complete`` or ``generation_error``.

    Attributes:
        prompt: One user turn. Exactly one of prompt and messages is given (none to regenerate).
        messages: A conversation, oldest turn first.
        system: System prompt for this request.
        raw: Send the prompt to the model as it is, without the chat template. Only with prompt.
        options: How to answer.
        model: Id of the model; absent or ``default``: the server's default model.
        session_id: Answer in this session: its history is the context and grows by this turn.
        parent_id: Message of the session after which the new turn stands; default: the newest of
            the active branch. Makes an edit: a sibling of the turns that followed. The session's
            own id stands before its first message.
        regenerate: An answer of the session to make again, as its sibling. Needs no prompt.
    """

    prompt: NonEmpty | None = None
    messages: Messages | None = None
    system: str | None = None
    raw: bool = False
    options: GenerationOptions = GenerationOptions()
    model: Id | None = None
    session_id: Id | None = None
    parent_id: Id | None = None
    regenerate: Id | None = None


class Stream(ClientMessage, frozen=True, kw_only=True, tag="stream"):
    """Ask for an answer as it comes: ``stream_start``, ``stream_token``…, one terminal event.

    Attributes:
        prompt: One user turn. Exactly one of prompt and messages is given (none to regenerate).
        messages: A conversation, oldest turn first.
        system: System prompt for this request.
        raw: Send the prompt to the model as it is, without the chat template. Only with prompt.
        options: How to answer.
        model: Id of the model; absent or ``default``: the server's default model.
        session_id: Answer in this session: its history is the context and grows by this turn.
        parent_id: Message of the session after which the new turn stands; default: the newest of
            the active branch. Makes an edit: a sibling of the turns that followed. The session's
            own id stands before its first message.
        regenerate: An answer of the session to make again, as its sibling. Needs no prompt.
        room_id: Ask in this room: every member sees the answer. Excludes sessionId.
    """

    prompt: NonEmpty | None = None
    messages: Messages | None = None
    system: str | None = None
    raw: bool = False
    options: GenerationOptions = GenerationOptions()
    model: Id | None = None
    session_id: Id | None = None
    parent_id: Id | None = None
    regenerate: Id | None = None
    room_id: Id | None = None


class StopStream(ClientMessage, frozen=True, kw_only=True, tag="stop_stream"):
    """End a stream or a ``generate``. Its own terminal event is the answer.

    Attributes:
        stream_id: The stream to stop. Left out, ``requestId`` names the request to stop.
    """

    stream_id: Id | None = None


class Interrupt(ClientMessage, frozen=True, kw_only=True, tag="interrupt"):
    """Stop all that this client runs. Answered ``interrupted``."""


class Continue(ClientMessage, frozen=True, kw_only=True, tag="continue"):
    """Go on with an answer that was stopped, failed or ended by length, as a new stream.

    Attributes:
        stream_id: The stream to go on with. Exactly one of streamId and sessionId is given.
        session_id: The session whose last answer (of its active branch) to go on with.
        options: How to go on; what is absent is as it was.
    """

    stream_id: Id | None = None
    session_id: Id | None = None
    options: GenerationOptions | None = None


class WatchStream(ClientMessage, frozen=True, kw_only=True, tag="watch_stream"):
    """Follow a stream from any offset: ``stream_snapshot``, pieces, the terminal event.

    Attributes:
        stream_id: The stream to follow.
        from_offset: Offset (UTF-8 bytes) from which text is wanted; default 0.
    """

    stream_id: Id
    from_offset: Count = 0


class UnwatchStream(ClientMessage, frozen=True, kw_only=True, tag="unwatch_stream"):
    """Follow a stream no longer; it goes on. Answered ``stream_unwatched``.

    Attributes:
        stream_id: The stream to let go.
    """

    stream_id: Id


class Batch(ClientMessage, frozen=True, kw_only=True, tag="batch"):
    """Ask for several answers at once: ``batch_start``, ``batch_item``…, ``batch_complete``.

    Attributes:
        prompts: 1 to 20 prompts, each one user turn.
        options: How to answer, the same for all.
        model: Id of the model; absent or ``default``: the server's default model.
    """

    prompts: Annotated[tuple[NonEmpty, ...], Meta(min_length=1, max_length=MAX_BATCH)]
    options: GenerationOptions = GenerationOptions()
    model: Id | None = None


class StopBatch(ClientMessage, frozen=True, kw_only=True, tag="stop_batch"):
    """End a batch; what is done stays done. Its own ``batch_complete`` is the answer.

    Attributes:
        batch_id: The batch to stop. Left out, ``requestId`` names the request to stop.
    """

    batch_id: Id | None = None


class CountTokens(ClientMessage, frozen=True, kw_only=True, tag="count_tokens"):
    """Count tokens with a model's own tokenizer. Answered ``token_count``.

    Attributes:
        text: The text to count; may be empty. Exactly one of text and messages is given.
        messages: A conversation to count as the chat template renders it, open for an answer.
        model: Id of the model; absent or ``default``: the server's default model.
    """

    text: str | None = None
    messages: Messages | None = None
    model: Id | None = None
