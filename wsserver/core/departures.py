"""What happens to work when the people it was for are gone.

Streams, generates and batches go on for the resume window after their asker's connection has
gone, while anyone watches, with ``detach`` to their end, in a room while it has a member. Then
they are stopped (``disconnect``): nothing is generated for nobody. ``cancel`` does not wait for
the window.
"""

from __future__ import annotations

from collections.abc import Iterable

from wsserver.core.answers import Answers
from wsserver.core.ask import Answer
from wsserver.core.batches import Batch, Batches
from wsserver.core.clients import Client
from wsserver.core.rooms import Rooms
from wsserver_protocol.lifecycle import StopReason


class Departures:
    """Decides, each time someone goes, what nobody is left for."""

    def __init__(self, answers: Answers, batches: Batches, rooms: Rooms) -> None:
        self._answers = answers
        self._batches = batches
        self._rooms = rooms

    def dropped(self, client: Client, followed: Iterable[Answer | Batch]) -> None:
        """A client's connection is gone; ``followed`` is what was followed on it."""
        for answer in _by_themselves(client):
            if answer.ask.options.on_disconnect == "cancel":
                self._answers.orphaned(answer)
        for batch in list(client.batches.values()):
            if batch.asks[0].options.on_disconnect == "cancel":
                self._stop_unless_followed(batch)
        for work in followed:
            self.unfollowed(work)

    def unfollowed(self, work: Answer | Batch) -> None:
        """Someone follows an answer or a batch no longer."""
        if isinstance(work, Answer):
            self._answers.unfollowed(work)
        elif work.asker_is_gone:
            self._stop_unless_followed(work)

    def gone(self, client: Client) -> None:
        """A client's resume window is over."""
        self._rooms.depart(client)
        for answer in _by_themselves(client):
            answer.asker_is_gone = True
            self._answers.orphaned(answer)
        for batch in list(client.batches.values()):
            batch.asker_is_gone = True
            self._stop_unless_followed(batch)

    def moved(self, client: Client) -> None:
        """Another process has the client now, and what it asked for goes on there."""
        self._rooms.vacate(client)
        for batch in list(client.batches.values()):
            self._batches.let_go(batch)

    def _stop_unless_followed(self, batch: Batch) -> None:
        if batch.asks[0].options.on_disconnect != "detach" and not batch.watchers:
            self._batches.stop(batch, StopReason.DISCONNECT, "server")


def _by_themselves(client: Client) -> list[Answer]:
    """What a client asked for, without the items of batches that are led here."""
    items = {a.stream_id for batch in client.batches.values() for a in batch.running.values()}
    return [answer for answer in client.answers.values() if answer.stream_id not in items]
