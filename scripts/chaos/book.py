"""What the clients have asked for and seen, and whether it can be: the judge.

It hears every piece of text, every beginning and every end that any client gets, and compares each
with what is known of all answers (`truth`) and with what other clients have seen of the same one.
It knows no socket and no fault but this: whether Redis has lost data.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from scripts.chaos import truth
from scripts.chaos.room_book import RoomBook

Frame = dict[str, Any]

MOST_SHOWN = 900
"""Characters of a frame in a violation."""


@dataclass(slots=True)
class Asked:
    """A request for an answer.

    Attributes:
        limit: Tokens that it may have.
        first: Number that its text counts from.
        session_id: Where it is a turn.
        room_id: Where it is asked before everyone.
        device: The client that asks.
        has_begun: Someone was shown its answer. A question may stand in a room's log and be refused
            then, since Redis is away: there is no answer to look at.
        may_stop: Someone has asked for its stop, or its asker has gone.
        refusal: The code that it was refused with, if it was.
    """

    request_id: str
    kind: str
    user: str
    limit: int
    prompt: str
    first: int = 1
    session_id: str | None = None
    room_id: str | None = None
    device: str = ""
    continues: str | None = None
    stream_id: str | None = None
    message_id: str | None = None
    has_begun: bool = False
    may_stop: bool = False
    end: Frame | None = None
    began: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        end = None if self.end is None else (self.end["type"], self.end.get("code"))
        what = f"{self.kind} {self.request_id} for {self.limit} from {self.first}"
        where = self.room_id or self.session_id
        return f"{what} in {where}: {self.stream_id} {self.message_id} ended {end}"

    @property
    def is_empty(self) -> bool:
        """Never begun, or stopped before its first token. If Redis was away then, only its asker
        was told."""
        end = self.end or {}
        was_stopped = end.get("type") == "stream_stopped" and not end.get("offset")
        return was_stopped or not self.has_begun

    @property
    def tokens(self) -> int:
        """Of its whole text, once it has ended."""
        offset = 0 if self.end is None else self.end.get("offset") or 0
        return truth.tokens_at(self.first, offset) or 0


class Book:
    """Everything that was asked and seen.

    Attributes:
        violations: What must not be.
        rooms: What was seen in rooms.

    Args:
        window: Seconds for which a client's place is kept.
    """

    def __init__(self, window: float) -> None:
        self.violations: list[str] = []
        self.asked: dict[str, Asked] = {}
        self.answers: dict[str, Asked] = {}  # by streamId
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.bytes_compared = 0
        self.lost_data_at: list[float] = []
        self.sessions: dict[str, float] = {}  # when they were opened
        self._prompts: dict[str, Asked] = {}
        self._began = time.monotonic()
        self.rooms = RoomBook(self.wrong, self.has_lost, window)

    def now(self) -> float:
        """Seconds since the first client."""
        return time.monotonic() - self._began

    def wrong(self, what: str, *about: object) -> None:
        """A violation."""
        shown = " | ".join(_short(item) for item in about)
        line = f"[{self.now():7.2f}] {what}: {shown}"
        self.violations.append(line)
        print(f"VIOLATION {line}", flush=True)

    def ask(self, asked: Asked) -> Asked:
        """Note a request before it is sent."""
        self.asked[asked.request_id] = asked
        self._prompts[asked.prompt] = asked
        self.counts[asked.kind] += 1
        return asked

    def may_have_lost(self, asked: Asked) -> bool:
        """Whether Redis has lost data since a request was sent."""
        return self.has_lost(asked.began)

    def has_lost(self, since: float) -> bool:
        """Whether Redis has lost data since some time."""
        return any(at >= since for at in self.lost_data_at)

    def heard_question(self, prompt: str, stream_id: str | None) -> None:
        """Someone else than its asker was told of a question and its answer."""
        asked = self._prompts.get(prompt)
        if asked is None or stream_id is None or stream_id in self.answers:
            return
        if asked.stream_id is None:
            asked.stream_id = stream_id
            self.answers[stream_id] = asked

    def started(self, asked: Asked, frame: Frame) -> None:
        """A `stream_start` has come, for the first time or again."""
        stream_id = frame["streamId"]
        asked.has_begun = True
        if asked.stream_id is None:
            asked.stream_id, asked.message_id = stream_id, frame.get("messageId")
            self.answers[stream_id] = asked
        elif asked.stream_id != stream_id:
            if not self.may_have_lost(asked):
                self.wrong("a repeat was run again", asked.stream_id, frame)
            # Redis does not know the first one any more: this is the answer now.
            asked.stream_id, asked.message_id, asked.end = stream_id, frame.get("messageId"), None
            self.answers[stream_id] = asked

    def text(self, stream_id: str, begin: int, data: bytes) -> None:
        """Text of an answer has come to someone."""
        asked = self.answers.get(stream_id)
        if asked is None:
            return
        self.bytes_compared += len(data)
        wanted = truth.text(asked.first, begin, begin + len(data))
        if data != wanted:
            self.wrong(f"wrong text of {stream_id} at {begin}", data[:120], "not", wanted[:120])

    def ended(self, stream_id: str, frame: Frame) -> None:
        """Someone was told the end of an answer that has begun."""
        asked = self.answers.get(stream_id)
        if asked is None:
            return
        if asked.end is None:
            asked.end = frame
            self.counts[frame["type"]] += 1
            self._judge_end(asked, frame)
        elif _said(frame) != _said(asked.end) and not self.may_have_lost(asked):
            self.wrong("two ends of one answer", asked.end, "and", frame)

    def generated(self, asked: Asked, frame: Frame) -> None:
        """The end of a `generate`."""
        asked.end = frame
        self.counts[frame["type"]] += 1
        if frame["type"] != "generation_complete":
            self.refused(asked, frame)
            return
        result = frame["result"]
        data = result["text"].encode()
        self.bytes_compared += len(data)
        if data != truth.text(1, 0, len(data)):
            self.wrong("wrong text of a generate", frame)
        is_whole = len(data) == truth.length(1, asked.limit)
        if not is_whole and not (asked.may_stop and result["finishReason"] == "stopped"):
            self.wrong("a generate that is cut short", asked, frame)

    def refused(self, asked: Asked, frame: Frame) -> None:
        """A request has ended in an error before it began."""
        asked.end = frame
        self.errors[frame["code"]] += 1
        if not self.is_excused(asked, frame):
            self.wrong(f"a {asked.kind} was refused", asked, frame)

    def is_excused(self, asked: Asked, frame: Frame) -> bool:
        """Whether faults may bring an error; or someone asks where he may not be any more."""
        code = frame.get("code", "store_unavailable")
        if code == "session_not_found":
            return self.has_lost(self.sessions.get(asked.session_id or "", asked.began))
        if code == "stream_not_found":  # a cluster may know the request, and have lost its answer
            return self.may_have_lost(asked)
        return code in EXCUSES or (
            asked.room_id is not None
            and code == "not_in_room"
            and not self.rooms.has_sat(asked.room_id, asked.device, asked.began)
        )

    def _may_stop_in_room(self, asked: Asked, frame: Frame) -> bool:
        """A later question may end an answer where questions steer; an empty room ends all."""
        room_id = asked.room_id
        if room_id is None:
            return False
        if frame["reason"] == "interrupt":
            return self.rooms.rule(room_id) == "steer" and frame["stoppedBy"] != "server"
        return frame["reason"] == "disconnect" and self.rooms.may_have_been_empty(
            room_id, asked.began
        )

    def _judge_end(self, asked: Asked, frame: Frame) -> None:
        offset = frame.get("offset") or 0
        tokens = truth.tokens_at(asked.first, offset)
        match frame["type"]:
            case "stream_complete":
                if tokens != asked.limit or frame["finishReason"] != "length":
                    self.wrong("an answer that is not whole", asked, frame)
            case "stream_stopped":
                if not (asked.may_stop or self._may_stop_in_room(asked, frame)):
                    self.wrong("stopped unasked", asked, frame)
            case "stream_error":
                self.errors[frame["code"]] += 1
                is_lost = frame["code"] in LOST and self.may_have_lost(asked)
                if frame["code"] not in EXCUSES and not is_lost:
                    self.wrong("an answer failed", asked, frame)
        if tokens is None:
            self.wrong("an answer that ends within a token", asked, frame)
        elif "totalTokens" in frame and frame["totalTokens"] != tokens:
            self.wrong("totalTokens is not the text's", asked, frame)


EXCUSES = frozenset(
    (
        "store_unavailable",  # Redis was away
        "draining",  # the gateway was told to end
        "model_not_ready",  # no worker was there
        "overloaded",
        "generation_failed",  # one that has seen three workers die
        "internal_error",  # accepted by a gateway that died before it could line it up
    )
)
"""Codes of errors that faults may bring. Each is counted."""

LOST = frozenset(("stream_not_found",))
"""Codes that only a Redis brings that has lost data: of what it knew before."""


def _short(item: object) -> str:
    if isinstance(item, dict):
        item = {name: value for name, value in item.items() if name not in ("requestId", "usage")}
    shown = str(item)
    return shown if len(shown) < MOST_SHOWN else f"{shown[:MOST_SHOWN]} …"


def _said(frame: Frame) -> tuple[Any, ...]:
    """What all who are told an end must be told alike."""
    return tuple(
        frame.get(name)
        for name in ("type", "offset", "totalTokens", "reason", "code", "saved", "seq")
    )
