"""Calls from one process to another: a letter into the other's box, a bell, a letter back.

| key | type | holds |
|---|---|---|
| ``wsserver:{n:<node>}:box`` | list | letters not taken out yet; gone after a minute |

Channel ``wsserver:b:{n:<node>}:box`` rings for each letter. Letters may get lost (a reply from
Redis that breaks off takes those with it that were just taken out), so an unanswered call is sent
again under its number; whoever answers does so once for each, and sends the same answer again.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from wsserver.core.errands import Errands
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis.keys import PREFIX
from wsserver.stores.redis.link import PUBLISH, RedisLink
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

log = logging.getLogger(__name__)

MOST_LETTERS = 10_000
LETTER_MS = 60_000

SEND_AGAIN = 2.0
"""Seconds without an answer after which a call is sent once more."""

LOOK_EVERY = 1.0
"""Seconds between looks into the box while no bell rings."""

MOST_ANSWERS = 1000
"""Answers kept to be sent again."""

Handler = Callable[[bytes], Awaitable[bytes]]
"""Answers a call. Raises WireError to refuse it."""


class NoAnswer(Exception):
    """The other process did not answer in time, or could not be reached."""


class _Refusal(msgspec.Struct, frozen=True, kw_only=True):
    code: ErrorCode
    message: str
    retryable: bool
    retry_after: int | None
    details: tuple[FieldError, ...]


class _Ask(msgspec.Struct, frozen=True, tag="a", array_like=True):
    sender: str
    number: int
    body: bytes


class _Answer(msgspec.Struct, frozen=True, tag="r", array_like=True):
    number: int
    body: bytes
    refusal: _Refusal | None = None


_letter = msgspec.msgpack.Decoder(_Ask | _Answer)


class RedisCalls:
    """One process' box, and its way to those of others. `start` before the first use.

    Args:
        link: Redis.
        node: This process.
        handler: Answers what others ask of this process; None: it is asked nothing.
    """

    def __init__(self, link: RedisLink, node: str, handler: Handler | None = None) -> None:
        self._link = link
        self._node = node
        self._handler = handler
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._answers: OrderedDict[tuple[str, int], asyncio.Task[bytes]] = OrderedDict()
        self._bell = asyncio.Event()
        self._errands = Errands("a call could not be answered")
        self._looking: asyncio.Task[None] | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to listen. Again, also at the same time: nothing.

        Whoever starts several things tries all of them again when one of them found no Redis.

        Raises:
            StoreUnavailable: If Redis is away.
        """
        unsubscribe = await self._link.bells.subscribe(
            _channel(self._node), lambda _: self._bell.set(), self._bell.set
        )
        if self._looking is not None:
            unsubscribe()
            return
        self._unsubscribe = unsubscribe
        self._looking = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """Answer nothing more. Calls under way end with `NoAnswer`."""
        self._unsubscribe()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        self._errands.cancel()
        await self._errands.ended()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(NoAnswer("this process ends"))

    async def call(self, node: str, body: bytes, timeout: float) -> bytes:
        """What another process (or this one) answers.

        Raises:
            WireError: Its refusal.
            NoAnswer: If nothing comes within ``timeout`` seconds.
        """
        if node == self._node and self._handler is not None:
            return await self._handler(body)  # also while Redis is away
        number = next(self._numbers)
        letter = msgspec.msgpack.encode(_Ask(self._node, number, body))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self._send(node, letter)
                    done, _ = await asyncio.wait({answer}, timeout=SEND_AGAIN)
                    if done:
                        return answer.result()
        except TimeoutError:
            raise NoAnswer(f"{node} did not answer within {timeout:g} s") from None
        except StoreUnavailable as error:
            raise NoAnswer(str(error)) from error
        finally:
            del self._waiting[number]
            answer.cancel()

    async def _send(self, node: str, letter: bytes) -> None:
        channel = _channel(node)
        args = (letter, MOST_LETTERS, LETTER_MS, channel, PUBLISH)
        await self._link.call("calls/put", [_box(node)], args)

    async def _look(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LOOK_EVERY if self._waiting else 5 * LOOK_EVERY):
                    await self._bell.wait()
            except TimeoutError:
                pass
            self._bell.clear()
            try:
                letters = await self._link.call("calls/take", [_box(self._node)])
            except StoreUnavailable:
                await asyncio.sleep(LOOK_EVERY)
                self._bell.set()
                continue
            for letter in letters:
                self._take(letter)

    def _take(self, data: bytes) -> None:
        try:
            letter = _letter.decode(data)
        except msgspec.MsgspecError as error:  # of a process of another version
            log.warning("a letter could not be read: %s", error)
            return
        if isinstance(letter, _Ask):
            self._begin(letter)
            return
        waiting = self._waiting.get(letter.number)
        if waiting is None or waiting.done():
            return  # the second answer to a call that was sent twice
        if letter.refusal is None:
            waiting.set_result(letter.body)
        else:
            refusal = letter.refusal
            waiting.set_exception(
                WireError(
                    refusal.code,
                    refusal.message,
                    retryable=refusal.retryable,
                    retry_after=refusal.retry_after,
                    details=refusal.details,
                )
            )

    def _begin(self, ask: _Ask) -> None:
        """Answer a call, once; what is asked again gets the same answer again."""
        key = (ask.sender, ask.number)
        work = self._answers.get(key)
        if work is None:
            work = self._answers[key] = self._errands.begin(self._answer(ask))
            while len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)
        elif not work.done():
            return
        self._errands.begin(self._reply(ask.sender, work))

    async def _answer(self, ask: _Ask) -> bytes:
        """The letter that answers a call."""
        assert self._handler is not None  # nobody calls a process that has none
        try:
            return msgspec.msgpack.encode(_Answer(ask.number, await self._handler(ask.body)))
        except WireError as error:
            refused = error
        except Exception:
            log.exception("a call of %s failed", ask.sender)
            refused = WireError(ErrorCode.INTERNAL_ERROR, "Something went wrong in the server.")
        refusal = _Refusal(
            code=refused.code,
            message=refused.message,
            retryable=refused.retryable,
            retry_after=refused.retry_after,
            details=refused.details,
        )
        return msgspec.msgpack.encode(_Answer(ask.number, b"", refusal))

    async def _reply(self, sender: str, work: asyncio.Task[bytes]) -> None:
        letter = await work
        try:
            await self._send(sender, letter)
        except StoreUnavailable as error:
            log.warning("an answer to %s was not sent; it will ask again: %s", sender, error)


def _box(node: str) -> str:
    return f"{PREFIX}:{{n:{node}}}:box"


def _channel(node: str) -> str:
    return f"{PREFIX}:b:{{n:{node}}}:box"
