"""The ports of a fleet: what its processes share, and how they reach it.

Each step is atomic for all processes. All may raise `StoreUnavailable`: it is then unknown whether
the step took place, and each can be repeated.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from wsserver.core.cache import CachedAnswer
from wsserver.core.limits import LimitReport
from wsserver.core.streams import Ending, StreamRecord
from wsserver_protocol.lifecycle import StreamState


class Cancelled(NamedTuple):
    """What a cancel found."""

    is_first: bool  # False: the answer has ended, or someone asked for its end before
    state: StreamState


class Barred(Exception):
    """The answer must not begin: its maker was believed dead, and another is made in its place."""


class SharedStreams(Protocol):
    """Answers as gateways see them: mirrors of the log, one for each answer that is needed here.

    Attributes:
        on_cancelled: Called when a mirrored record is seen to be asked to end, from elsewhere.
        on_end: Called once for each mirrored record that has taken its end in, before its
            watchers are woken.
        on_gone: Called, and again until it has ended, for a mirrored record that the log has not
            known for a while: nobody there will end it.
        on_rewind: Called after a record's text was cut to so many bytes, before anyone looks.
    """

    on_cancelled: StreamHook
    on_end: StreamHook
    on_gone: StreamHook
    on_rewind: RewindHook

    async def create(self, record: StreamRecord, meta: bytes, *, needs_asker: bool = True) -> None:
        """Begin an answer in the log; ``record`` is its mirror from now on.

        With ``needs_asker`` it is wanted as long as someone looks, or a process says that its
        asker is there.

        Raises:
            Barred: If it must not come into the log any more.
        """

    def describe(self, stream_id: str, meta: bytes) -> None:
        """Give an answer another meta, for those who open it from now on. Never waits; a store
        that is away keeps the one before."""

    async def meta(self, stream_id: str) -> bytes | None:
        """The meta that an answer was given last; None if it is gone."""

    async def bar(self, stream_id: str) -> bool:
        """Have an answer never come into the log. False if it is there."""

    async def open(self, stream_id: str) -> tuple[StreamRecord, bytes] | None:
        """The mirror of any answer in the log, true from now on, and its meta; None if gone.

        Each mirror that is got needs a `release`.
        """

    def get(self, stream_id: str) -> StreamRecord | None:
        """The mirror that is here."""

    def release(self, stream_id: str) -> None:
        """One who created or opened the mirror needs it no more; without any it goes."""

    async def place(self, stream_id: str, offset: int) -> int:
        """Where a reader stands that has ``offset`` bytes; see `Answers.place`.

        Raises:
            KeyError: If there is no mirror here.
        """

    async def is_known(self, stream_id: str) -> bool:
        """Whether the log has an answer, ended or not."""

    async def living(self, stream_ids: list[str]) -> set[str]:
        """Which of these answers have not ended."""

    async def cancel(self, stream_id: str, ending: Ending) -> Cancelled:
        """Ask for an end, durably; the first one asked of a living answer counts."""

    async def end(self, stream_id: str, ending: Ending) -> bool:
        """End an answer that no writer holds, where its text ends. False if it had ended."""

    async def fill(self, stream_id: str, text: str, tokens: int) -> None:
        """Put a whole text into an answer that no writer holds."""

    async def view(self, stream_id: str, *, has_viewers: bool) -> bool:
        """Tell whether anyone looks at an answer in this process.

        Returns:
            True if nobody looks at it in any living process, and its asker is gone.
        """

    async def asker_gone(self, stream_id: str) -> bool:
        """Note that the asker is gone for good. Returns as `view`."""


class StreamHook(Protocol):
    def __call__(self, record: StreamRecord) -> None:
        """Told of a record."""


class RewindHook(Protocol):
    def __call__(self, record: StreamRecord, offset: int) -> None:
        """Told of a record and the length that it was cut to."""


class SharedLimits(Protocol):
    """Allowances over the whole fleet."""

    async def admit(self, key: str, requests: int) -> None:
        """Charge requests.

        Raises:
            WireError: ``rate_limited``.
        """

    async def enter(self, key: str, stream_id: str) -> None:
        """Charge one request and take a place for its answer, or neither.

        Raises:
            WireError: ``rate_limited``, ``too_many_streams``.
        """

    def undo(self, key: str, stream_id: str) -> None:
        """Give back what an `enter` before has charged and taken, if it has. Never waits, neither
        for that."""

    async def begin(self, key: str, stream_id: str) -> None:
        """Take a place for a running or waiting answer.

        It is the answer's while that lives in the log. One that is in no log yet is believed to
        live for a while; again for the same one prolongs that.

        Raises:
            WireError: ``too_many_streams``.
        """

    async def end(self, key: str, stream_id: str) -> None:
        """Give an answer's place back. Idempotent."""

    async def use_tokens(self, key: str, tokens: int) -> None:
        """Charge tokens that were used."""

    async def report(self, key: str) -> LimitReport:
        """What is left of a key's allowances."""


class Became(NamedTuple):
    """What a request becomes, and what others were to make of it that never did."""

    outcome: bytes  # the caller's own if it is the caller's to do
    last: bytes  # the one before, and the first of all; ``outcome`` itself if there was none
    first: bytes


class Repeats(Protocol):
    """Requests by identity and requestId, over the whole fleet. Each outcome is one caller's."""

    async def claim(
        self, identity_key: str, request_id: str, fingerprint: bytes, outcome: bytes
    ) -> Became:
        """Note what a request becomes, unless it has become something before.

        Raises:
            WireError: ``duplicate_request`` if the id was used for another request.
        """

    async def look(
        self, identity_key: str, request_id: str, fingerprint: bytes | None
    ) -> bytes | None:
        """What a request has become, or (no fingerprint) whatever was asked under its id; None if
        it has not become anything.

        Raises:
            WireError: As `claim`.
        """

    async def take_over(
        self, identity_key: str, request_id: str, earlier: bytes, outcome: bytes
    ) -> bool:
        """Have a request that became ``earlier`` become ``outcome``. False if it is not that."""

    def settle(self, identity_key: str, request_id: str, outcome: bytes, ended: bytes) -> None:
        """The request that became ``outcome`` has ended: it is ``ended`` from now on, for the
        retention. Never waits, and is repeated until the store has it."""

    def release(self, identity_key: str, request_id: str, outcome: bytes) -> None:
        """The request did not become ``outcome``: its id is free again, and who sends the same
        once more within the retention is told what it was to become. Never waits either."""


class SharedCache(Protocol):
    """Answers that are given again, over the whole fleet."""

    async def get(self, key: bytes) -> CachedAnswer | None:
        """The answer under a key."""

    async def put(self, key: bytes, answer: CachedAnswer) -> None:
        """Keep an answer."""


class TurnOrder(Protocol):
    """The turns of a session, over all processes: one at a time, in order of arrival."""

    async def arrive(self, session: str, stream_id: str) -> bool:
        """Take the last place in the session's line. Again: nothing happens.

        Returns:
            Whether nobody stands before it.
        """

    async def wait(self, session: str, stream_id: str, *, to_place: bool = False) -> None:
        """Wait until all that arrived before have ended, wherever they were led.

        With ``to_place`` only until each has ended or is `placed`.
        """

    def placed(self, session: str, stream_id: str) -> None:
        """The turn's messages are in the tree: the next one may put its own behind them."""

    def leave(self, session: str, stream_id: str) -> None:
        """The turn has ended: the next one's begins."""


class Ledger(Protocol):
    """What this process leads into line, known to the others should it die."""

    async def add(self, stream_id: str) -> None:
        """This process leads an answer: known once it returns, before the answer is in the log.

        Raises:
            StoreUnavailable: If it can't be made known.
        """

    def remove(self, stream_id: str) -> None:
        """It does so no longer: the answer is in line, or over. Never waits."""

    async def is_led_elsewhere(self, stream_id: str) -> bool:
        """Whether another process, which lives, leads an answer.

        Raises:
            StoreUnavailable: If that can't be told.
        """
        ...

    async def is_in_line(self, model_id: str, stream_id: str) -> bool:
        """Whether an answer stands in its model's line, or is being made.

        Raises:
            StoreUnavailable: If that can't be told.
        """
