"""What a stream is, beside its text: which model, whose, where, how far.

Only what events have told; nothing here decides anything.
"""

from __future__ import annotations

from wsserver_client.calls import Message
from wsserver_client.reading import StreamPhase

STARTED = (
    ("model", "model"),
    ("room_id", "roomId"),
    ("session_id", "sessionId"),
    ("asker", "clientId"),
    ("asker_id", "userId"),
    ("asker_name", "name"),
    ("message_id", "messageId"),
    ("user_message_id", "userMessageId"),
    ("prompt", "prompt"),
    ("continues", "continues"),
    ("dropped_messages", "droppedMessages"),
)
"""Attribute and wire name of what ``stream_start`` and ``stream_snapshot`` may say."""


class StreamFacts:
    """What is known of a stream.

    Attributes:
        stream_id: The server's id of it, None until the server has answered.
        model: The model that answers, None until then.
        room_id, session_id: Where it belongs.
        asker: clientId of who asked, in a room.
        asker_id, asker_name: Their userId, and the name to show.
        message_id, user_message_id: Ids of the answer and of the question in a history.
        prompt: The question, if it is a prompt and known.
        continues: The stream that this one goes on with.
        dropped_messages: Older messages of the history that did not fit; None: not told.
        phase: Where it stands.
        queue_position: Its place in the queue, 1 is next; None if it does not wait in one.
        tokens: Tokens so far, as last told.
        tokens_per_second: Speed as last told, None before.
    """

    def __init__(self, message: Message, stream_id: str | None) -> None:
        self.stream_id = stream_id
        self.model: str | None = message.get("model")
        self.room_id: str | None = message.get("roomId")
        self.session_id: str | None = message.get("sessionId")
        self.asker: str | None = None
        self.asker_id: str | None = None
        self.asker_name: str | None = None
        self.message_id: str | None = None
        self.user_message_id: str | None = None
        self.prompt: str | None = message.get("prompt")
        self.continues: str | None = None
        self.dropped_messages: int | None = None
        self.phase = StreamPhase.ASKED
        self.queue_position: int | None = None
        self.tokens = 0
        self.tokens_per_second: float | None = None

    def note_start(self, event: Message) -> None:
        self.stream_id = str(event["streamId"])
        self.phase = StreamPhase.WAITING
        self._describe(event)

    def note_snapshot(self, event: Message) -> None:
        self._describe(event)
        self.tokens = max(self.tokens, int(event.get("position", 0)))
        waits = event.get("state") in ("queued", "loading")
        self.phase = StreamPhase.WAITING if waits else StreamPhase.RUNNING

    def note_progress(self, event: Message) -> None:
        self.tokens = int(event.get("tokenCount", self.tokens))
        # The first generation of the protocol sent this number as a string.
        self.tokens_per_second = float(event.get("tokensPerSecond", 0.0))

    def note_text(self, event: Message) -> None:
        self.tokens = max(self.tokens, int(event.get("position", 0)))
        self.phase = StreamPhase.RUNNING
        self.queue_position = None

    def _describe(self, event: Message) -> None:
        for name, key in STARTED:
            if event.get(key) is not None:
                setattr(self, name, event[key])
        self.queue_position = event.get("queuePosition")
