"""The contract's rules for each frame of one connection, where texts are counts.

The rules are the tests' (`tests.support.invariants`), which know nothing of the project's clients.
What differs here: after a rewind the tokens that are left are known, since the text is. And who
stops an answer that he begins to follow before it has ended is told its end twice: as the reply to
his stop, and as the end of what he follows.
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
        self._book = book

    def sent(self, fields: dict[str, Any]) -> None:
        super().sent(fields)
        if fields["type"] == "stop_stream":
            self.stops.add(fields["requestId"])

    def _take_end(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        if frame.get("requestId") not in self.stops:
            super()._take_end(stream, frame)

    def _take_rewind(self, stream: StreamCopy, frame: dict[str, Any]) -> None:
        super()._take_rewind(stream, frame)
        asked = self._book.answers.get(frame["streamId"])
        if asked is not None:
            stream.tokens = truth.tokens_at(asked.first, frame["offset"]) or 0
