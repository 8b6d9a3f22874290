"""How a view of a stream begins: with its start, or with the text so far."""

from __future__ import annotations

from wsserver.core.ask import Answer
from wsserver.gateway.views.stream import Opening, StreamView
from wsserver_protocol import events

MAX_SNAPSHOT_BYTES = 32 * 1024

MAX_ECHOED_CHARS = 64 * 1024
"""A longer prompt is not echoed: escaped as JSON it could fill a frame of 1 MiB by itself."""


def started(answer: Answer, prompt: str | None, request_id: str | None) -> Opening:
    """The opening of a stream's own beginning, for its asker or (without requestId) a watcher."""

    def opening(view: StreamView) -> events.Event:
        kept, ask = answer.place, answer.ask
        is_room = ask.room_id is not None
        position = answer.record.queue_position if request_id is not None else None
        view.told_place(position)
        return events.StreamStart(
            request_id=request_id,
            stream_id=answer.stream_id,
            model=answer.record.model_id,
            requested_model=answer.record.requested_model,
            prompt=prompt if prompt is None or len(prompt) <= MAX_ECHOED_CHARS else None,
            session_id=kept.session_id if kept is not None else None,
            message_id=kept.message_id if kept is not None else None,
            user_message_id=kept.user_message_id if kept is not None else None,
            context_tokens=kept.context_tokens if kept is not None else None,
            dropped_messages=kept.dropped_messages if kept is not None else None,
            room_id=ask.room_id,
            client_id=ask.client_id if is_room else None,
            user_id=ask.owner.user_id if is_room else None,
            name=ask.name if is_room else None,
            queue_position=position,
            continues=answer.continues,
            seq=answer.ask_seq,
        )

    return opening


def snapshot(request_id: str | None, from_offset: int) -> Opening:
    """The opening of a `watch_stream`: the text from an offset, as far as one frame holds it."""

    def opening(view: StreamView) -> events.Event:
        record, kept, ask = view.answer.record, view.answer.place, view.answer.ask
        is_room = ask.room_id is not None
        transcript = record.transcript
        start = transcript.boundary(from_offset)
        end = transcript.boundary(min(start + MAX_SNAPSHOT_BYTES, len(transcript)))
        view.cursor = end
        view.told_place(record.queue_position)
        if from_offset > len(transcript):
            view.rewind()
        return events.StreamSnapshot(
            request_id=request_id,
            stream_id=record.stream_id,
            text=transcript.slice(start, end),
            from_offset=start,
            offset=end,
            position=transcript.position_at(end),
            state=record.state,
            queue_position=record.queue_position,
            model=record.model_id,
            room_id=ask.room_id,
            client_id=ask.client_id if is_room else None,
            user_id=ask.owner.user_id if is_room else None,
            name=ask.name if is_room else None,
            session_id=kept.session_id if kept is not None else None,
            message_id=kept.message_id if kept is not None else None,
        )

    return opening
