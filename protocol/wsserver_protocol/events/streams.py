"""Events of streams: answers as they come."""

from __future__ import annotations

from wsserver_protocol.events.base import Failure, ServerMessage
from wsserver_protocol.events.generation import TokenLogprob, Usage
from wsserver_protocol.lifecycle import FinishReason, StopReason, StreamState
from wsserver_protocol.tools import ToolCall


class StreamStart(ServerMessage, frozen=True, kw_only=True, tag="stream_start"):
    """A stream was accepted; it may still wait for a place or for its model.

    Attributes:
        stream_id: Id of the stream.
        model: Id of the model that answers.
        requested_model: Id of the model that was asked, where a fallback answers in its place.
        prompt: The question, where it was a prompt.
        session_id: The session it belongs to.
        room_id: The room it belongs to.
        client_id: In a room: who asked.
        user_id: In a room: the same as a user.
        name: In a room: the same as a name to show.
        message_id: Id of the answer in the history or in the room's log.
        user_message_id: Id of the question there.
        queue_position: Place in the queue, 1 is next; absent: it need not wait.
        context_tokens: Tokens of the context made from a history.
        dropped_messages: Older messages of the history that did not fit.
        continues: The stream whose answer this one goes on with.
        seq: In a room: ``seq`` of the question in its log.
    """

    stream_id: str
    model: str
    requested_model: str | None = None
    prompt: str | None = None
    session_id: str | None = None
    room_id: str | None = None
    client_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    message_id: str | None = None
    user_message_id: str | None = None
    queue_position: int | None = None
    context_tokens: int | None = None
    dropped_messages: int | None = None
    continues: str | None = None
    seq: int | None = None


class StreamToken(ServerMessage, frozen=True, kw_only=True, tag="stream_token"):
    """A piece of the answer: one token, or several joined. The pieces joined are the answer.

    Attributes:
        stream_id: The stream.
        token: The text of this piece; never splits a character.
        position: Number of its last token, from 1. For people.
        count: Tokens in this piece. For people.
        offset: Length of the answer so far in UTF-8 bytes, this piece included: the cursor.
        timestamp: When it was sent, milliseconds since the epoch.
        room_id: The room it belongs to.
        logprobs: Log probabilities of its tokens, if asked for.
    """

    stream_id: str
    token: str
    position: int
    count: int
    offset: int
    timestamp: int
    room_id: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None


class StreamProgress(ServerMessage, frozen=True, kw_only=True, tag="stream_progress"):
    """How far a stream is; only to the client that asked.

    Attributes:
        stream_id: The stream.
        token_count: Tokens so far.
        elapsed_time: Milliseconds since the request.
        tokens_per_second: Speed since the first token.
    """

    stream_id: str
    token_count: int
    elapsed_time: int
    tokens_per_second: float


class StreamComplete(ServerMessage, frozen=True, kw_only=True, tag="stream_complete"):
    """Ends a stream that ended by itself. All text came before.

    Attributes:
        stream_id: The stream.
        total_tokens: Tokens of the answer.
        duration: Milliseconds from the request to its end.
        time_to_first_token: Milliseconds from the request to its first token; null: none came.
        finish_reason: Why it ended: ``stop``, ``length``, ``stop_string``, ``tool_calls`` or
            ``timeout``.
        usage: Tokens of the request.
        offset: Length of the whole answer in UTF-8 bytes.
        tool_calls: The tools that the model asks for, where ``finishReason`` is ``tool_calls``.
        model: Where a fallback answered: id of that model.
        requested_model: Where a fallback answered: id of the model that was asked.
        saved: False: the store did not take it.
        room_id: The room it belongs to.
        seq: In a room: ``seq`` of the answer in its log.
    """

    stream_id: str
    total_tokens: int
    duration: int
    time_to_first_token: int | None
    finish_reason: FinishReason
    usage: Usage
    offset: int
    tool_calls: tuple[ToolCall, ...] | None = None
    model: str | None = None
    requested_model: str | None = None
    saved: bool | None = None
    room_id: str | None = None
    seq: int | None = None


class StreamStopped(ServerMessage, frozen=True, kw_only=True, tag="stream_stopped"):
    """Ends a stream that someone or something stopped. All text so far came before.

    Attributes:
        stream_id: The stream.
        total_tokens: Tokens so far.
        offset: Length of the answer in UTF-8 bytes.
        reason: Why it was stopped.
        stopped_by: A clientId, or ``server``.
        model: Where a fallback answered: id of that model.
        requested_model: Where a fallback answered: id of the model that was asked.
        saved: False: the store did not take it.
        room_id: The room it belongs to.
        seq: In a room: ``seq`` of the answer in its log.
    """

    stream_id: str
    total_tokens: int
    offset: int
    reason: StopReason
    stopped_by: str
    model: str | None = None
    requested_model: str | None = None
    saved: bool | None = None
    room_id: str | None = None
    seq: int | None = None


class StreamError(Failure, frozen=True, kw_only=True, tag="stream_error"):
    """Ends a ``stream`` or ``continue`` that was refused or failed.

    Attributes:
        stream_id: The stream, if there came to be one.
        offset: Length of the answer so far in UTF-8 bytes.
        saved: False: the store did not take what there was.
        room_id: The room it belongs to.
        seq: In a room: ``seq`` of the answer in its log.
        session_id: With ``stream_not_found``: the session that keeps the text.
        message_id: With ``stream_not_found``: the message that keeps the text.
    """

    stream_id: str | None = None
    offset: int | None = None
    saved: bool | None = None
    room_id: str | None = None
    seq: int | None = None
    session_id: str | None = None
    message_id: str | None = None


class StreamSnapshot(ServerMessage, frozen=True, kw_only=True, tag="stream_snapshot"):
    """Where a watched stream stands, with its text from the offset that was asked for.

    It may end before the present end of the answer; then pieces follow.

    Attributes:
        stream_id: The stream.
        text: The text from ``fromOffset`` to ``offset``.
        from_offset: Where the text begins, in UTF-8 bytes.
        offset: Where the text ends, in UTF-8 bytes.
        position: Tokens of the answer up to there. For people.
        state: Where the stream stands.
        queue_position: Place in the queue, while it waits.
        model: Id of the model that answers.
        room_id: The room it belongs to.
        client_id: In a room: who asked.
        user_id: In a room: the same as a user.
        name: In a room: the same as a name to show.
        session_id: The session it belongs to.
        message_id: Id of the answer in the history or in the room's log.
    """

    stream_id: str
    text: str
    from_offset: int
    offset: int
    position: int
    state: StreamState
    queue_position: int | None = None
    model: str | None = None
    room_id: str | None = None
    client_id: str | None = None
    user_id: str | None = None
    name: str | None = None
    session_id: str | None = None
    message_id: str | None = None


class StreamUnwatched(ServerMessage, frozen=True, kw_only=True, tag="stream_unwatched"):
    """Answer to ``unwatch_stream``: nothing more of the stream comes.

    Attributes:
        stream_id: The stream.
    """

    stream_id: str


class StreamRewind(ServerMessage, frozen=True, kw_only=True, tag="stream_rewind"):
    """Drop the text past the offset: a failover lost it. Other text follows.

    Attributes:
        stream_id: The stream.
        offset: Length that remains, in UTF-8 bytes.
        room_id: The room it belongs to.
    """

    stream_id: str
    offset: int
    room_id: str | None = None


class QueuePosition(ServerMessage, frozen=True, kw_only=True, tag="queue_position"):
    """A waiting request's place has changed; only to the client that asked.

    Attributes:
        position: Place in the queue; 1 is next.
        stream_id: The stream, if it is one.
    """

    position: int
    stream_id: str | None = None
