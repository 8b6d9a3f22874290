"""The contract's rules for each frame of one connection, where texts are counts.

The rules are the tests' (`tests.support.invariants`), which know nothing of the project's clients.
What differs here: after a rewind the tokens that are left are known, since the text is. And who
stops an answer that he begins to follow before it has ended is told its end twice: as the reply to
his stop, and as the end of what he follows. Whoever repeats a request may be told its end twice:
it may have been on its way to him when he asked again.
"""

from __future__ import annotations

from typing import Any

from scripts.chaos import truth
from scripts.chaos.book import Book
from tests.support.invariants import Invariants, StreamCopy


class Rules(Invariants):
    """What one connection may be sent.

    Args:
        sent_ids: Of all requests of this client, on earlier connections, too.
    """

    def __init__(self, book: Book, sent_ids: set[str]) -> None:
        super().__init__()
        self.sent_ids = sent_ids
        self.stops: set[str] = set()  # ids of requests to stop something
        self._repeated: set[str] = set()
        self._book = book

    def sent(self, fields: dict[str, Any]) -> None:
        request_id = fields.get("requestId", "")
        if request_id in self.sent_ids:
            self._repeated.add(request_id)
        super().sent(fields)
        if fields["type"] == "stop_stream":
            self.stops.add(fields["requestId"])

    def _check_request_id(self, frame: dict[str, Any]) -> None:
        request_id = frame.get("requestId", "")
        if request_id in self._ended and request_id in self._repeated:
            self._repeated.discard(request_id)
            self._ended.pop(request_id, None)
        super()._check_request_id(frame)

    def _take_end(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        if frame.get("requestId") not in self.stops:
            super()._take_end(stream, frame)

    def _take_rewind(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        super()._take_rewind(stream, frame)
        asked = self._book.answers.get(frame["streamId"])
        if asked is not None:
            stream.tokens = truth.tokens_at(asked.first, frame["offset"]) or 0
