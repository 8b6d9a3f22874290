"""One connection: its client, its views, its lifecycle. What a handler acts on.

Frames come in through `Dispatcher`; everything goes out through the outbox. A connection owns its
tasks: when it is lost they are cancelled, while what its client runs lives on with the client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Protocol

from wsserver.core.ask import Answer
from wsserver.core.batches import Batch
from wsserver.core.broadcast import Broadcast
from wsserver.core.clients import Client
from wsserver.core.errands import Errands
from wsserver.core.limits import Meter
from wsserver.core.results import generation_terminal, stream_terminal
from wsserver.core.streams import Ending
from wsserver.gateway.outbox import Link as OutboxLink
from wsserver.gateway.outbox import Outbox
from wsserver.gateway.services import Services
from wsserver.gateway.views import BatchView, GenerationView, Opening, StreamView, snapshot, started
from wsserver_protocol import events
from wsserver_protocol.codec import Encoding, encode
from wsserver_protocol.errors import CloseCode
from wsserver_protocol.events import Event
from wsserver_protocol.lifecycle import ConnectionState, ConnectionStep, next_connection_state

SHOWN_KEPT = 256
"""Streams of which is known that a connection was shown their end."""

ABORT_AFTER = 5.0
"""Seconds between a close frame that may not arrive and the cut of the TCP connection."""


class Link(OutboxLink, Protocol):
    """The socket as a connection sees it."""

    last_heard: float  # loop time at which the peer last sent anything

    def send_close(self, code: int, reason: str) -> None:
        """Begin the closing handshake. Never blocks, and does not wait for an answer."""

    def abort(self) -> None:
        """Cut the TCP connection."""


class Connection:
    """State of one connection, from its handshake to its loss."""

    def __init__(self, link: Link, services: Services, *, encoding: Encoding, address: str) -> None:
        policy = services.policy
        self.link = link
        self.services = services
        self.encoding = encoding
        self.address = address
        self.state = ConnectionState.OPEN
        self.auth_tries = 0
        self.frames = Meter(policy.frames_per_second, 1.0, policy.frames_burst)
        self.flood = Meter(policy.frames_per_second * 10, 1.0, policy.frames_burst * 10)
        self.unreadable: list[float] = []  # loop times of the last unreadable frames
        self.outbox = Outbox(
            link,
            services.clock,
            send_timeout=policy.send_timeout,
            on_stalled=self._stalled,
            on_sent=self._sent,
        )
        self.client: Client = services.clients.create(self, address)
        self.close_code: int | None = None
        self._early: list[Event] | None = []  # what is to be sent, until it is greeted
        self._views: dict[str, StreamView] = {}  # by streamId
        self._shown: deque[str] = deque(maxlen=SHOWN_KEPT)  # streams whose end was told here
        self._generations: dict[str, GenerationView] = {}  # by streamId
        self._batches: dict[str, BatchView] = {}  # by batchId
        self._errands = Errands("what a connection had begun has failed")

    @property
    def is_open(self) -> bool:
        """Whether frames are read and sent."""
        return self.state in (
            ConnectionState.OPEN,
            ConnectionState.DRAINING,
            ConnectionState.AWAITING_AUTH,
        )

    def send(self, event: Event) -> None:
        """Queue an event; never blocks."""
        if self._early is not None:
            self._early.append(event)
        elif self.is_open:
            self.outbox.send(encode(event, self.encoding))

    def greet(self, event: Event) -> None:
        """Send the first event of all, and then what had to wait for it."""
        early, self._early = self._early or [], None
        for each in (event, *early):
            self.send(each)

    def send_shared(self, broadcast: Broadcast) -> None:
        """Queue an event that others get, too; never blocks."""
        if self.is_open:
            self.outbox.send_now(broadcast.frame(self.encoding))

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run something that takes its time, for as long as the connection lives."""
        self._errands.begin(work)

    # Views -------------------------------------------------------------------------------------

    def open_view(
        self,
        answer: Answer,
        opening: Opening,
        *,
        request_id: str | None,
        is_of_all: bool = False,
    ) -> StreamView:
        """Follow a stream that is not followed yet."""
        interval = answer.ask.options.token_interval
        if interval is None:
            interval = self.services.policy.token_interval_ms
        company = None
        if request_id is None:
            company = self.services.audiences.of(answer, self.encoding, interval / 1000)
        view = StreamView(
            answer,
            self.outbox,
            self.encoding,
            opening=opening,
            request_id=request_id,
            interval=interval / 1000,
            is_of_all=is_of_all,
            company=company,
            on_done=self._view_done,
        )
        self._views[answer.stream_id] = view
        self.services.answers.followed(answer)
        self.outbox.mark(view)
        return view

    def watch(
        self,
        answer: Answer,
        *,
        request_id: str | None = None,
        from_offset: int = 0,
        has: int | None = None,
    ) -> None:
        """Follow a stream from an offset, also one that has ended, or begin again with it.

        ``request_id`` is that of the `watch_stream`. The pieces carry the asker's own. A reader
        that ``has`` more than the offset is told first to drop it.
        """
        if has is not None and has > from_offset:
            room_id = answer.ask.room_id
            self.send(
                events.StreamRewind(stream_id=answer.stream_id, offset=from_offset, room_id=room_id)
            )
        asked_here = answer.ask.client_id == self.client.client_id
        asked_as = answer.request_id if asked_here else None
        opening = snapshot(request_id or asked_as, from_offset)
        view = self._views.get(answer.stream_id)
        if view is not None:
            view.reopen(opening)
        else:
            self.open_view(answer, opening, request_id=asked_as)

    def show_stream(self, answer: Answer, prompt: str | None) -> None:
        """Show a stream of a room from its beginning, unless it is or was shown here already."""
        if not self._was_shown(answer):
            is_own = answer.ask.client_id == self.client.client_id
            request_id = answer.request_id if is_own else None
            opening = started(answer, prompt, request_id)
            self.open_view(answer, opening, request_id=request_id, is_of_all=not is_own)

    def join_stream(self, answer: Answer) -> None:
        """Show a stream of a room with what there is of it, unless it is or was shown here.

        It may have ended since the room said that it is made: then its end is told, too.
        """
        if not self._was_shown(answer):
            self.watch(answer)

    def _was_shown(self, answer: Answer) -> bool:
        return answer.stream_id in self._views or answer.stream_id in self._shown

    def follow_instead(self, answer: Answer, other: Answer, *, request_id: str) -> None:
        """Follow another answer from its beginning instead of one whose start was never told."""
        generation = self._generations.pop(answer.stream_id, None)
        if generation is not None:
            generation.close()
            self.await_generation(other, request_id=request_id)
        if self.close_view(answer.stream_id) and self.view_of(other.stream_id) is None:
            self.open_view(other, started(other, None, request_id), request_id=request_id)

    def view_of(self, stream_id: str) -> StreamView | None:
        return self._views.get(stream_id)

    def close_view(self, stream_id: str) -> bool:
        """Follow a stream no longer. False if it was not followed."""
        if stream_id in self._views:
            self._flush()  # what it was to show by now: its start, at least
        view = self._views.pop(stream_id, None)
        if view is None:
            return False
        view.close()
        return True

    def await_generation(self, answer: Answer, *, request_id: str | None) -> None:
        """Wait for a `generate` here, unless that is done already."""
        if answer.stream_id not in self._generations:
            self._generations[answer.stream_id] = GenerationView(
                answer,
                self.outbox,
                self.encoding,
                request_id=request_id,
                on_done=lambda view: self._generations.pop(view.answer.stream_id, None),
            )

    def follow_batch(self, batch: Batch, *, request_id: str | None) -> None:
        """Follow a batch here, unless that is done already."""
        if batch.batch_id not in self._batches:
            self._batches[batch.batch_id] = BatchView(
                batch,
                self.outbox,
                self.encoding,
                request_id=request_id,
                on_done=lambda view: self._batches.pop(view.batch.batch_id, None),
            )

    def follows(self, answer: Answer) -> bool:
        """Whether the end of this answer will be told here."""
        return answer.stream_id in self._views or answer.stream_id in self._generations

    def follows_batch(self, batch: Batch) -> bool:
        """Whether the end of this batch will be told here."""
        return batch.batch_id in self._batches

    def send_end(self, answer: Answer, ending: Ending, *, request_id: str) -> None:
        """Tell an answer's end to someone who did not follow it."""
        if answer.is_stream:
            self.send(stream_terminal(answer, ending, request_id))
        else:
            self.send(generation_terminal(answer.record, ending, request_id))

    def _view_done(self, view: StreamView) -> None:
        self._views.pop(view.answer.stream_id, None)
        self._shown.append(view.answer.stream_id)

    # Lifecycle ---------------------------------------------------------------------------------

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Begin to close: nothing more is sent, and the TCP connection is cut if need be."""
        if not self.is_open:
            return
        self.state = next_connection_state(self.state, ConnectionStep.CLOSE)
        self.close_code = code
        # What was said before the close still belongs to it, as far as the socket takes it.
        self._flush()
        self.outbox.close()
        self.link.send_close(code, reason)
        # The library's own close waits in drain() outside its timeout: a peer that has stopped
        # reading would keep it for ever. So the deadline is ours.
        asyncio.get_running_loop().call_later(ABORT_AFTER, self.link.abort)

    def lost(self) -> list[Answer | Batch]:
        """The socket is gone. Returns what was followed here."""
        self.state = next_connection_state(self.state, ConnectionStep.LOSE)
        self.outbox.close()
        self._errands.cancel()
        followed: list[Answer | Batch] = []
        for view in self._views.values():
            view.close()
            followed.append(view.answer)
        for generation in self._generations.values():
            generation.close()
            followed.append(generation.answer)
        for batch_view in self._batches.values():
            batch_view.close()
            followed.append(batch_view.batch)
        self._views.clear()
        self._generations.clear()
        self._batches.clear()
        return followed

    def _flush(self) -> None:
        """Send what is due, also what others would be sent first."""
        for view in self._views.values():
            view.go_alone()
        self.outbox.flush()

    def _stalled(self) -> None:
        self.services.telemetry.slow_reader_closed()
        self.close(CloseCode.SLOW_READER, "the peer reads too slowly")

    def _sent(self, size: int) -> None:
        self.services.telemetry.frame_sent("text" if self.encoding.is_text else "binary", size)
