"""A process' one link to Redis, single or a cluster: steps, commands, bells.

Decides what a refusal means, and knows whether Redis is there; how a step gets where its keys are
is the hosts' and lanes' affair (one writing a tick to each host). Nothing is asked before the
first use. What is asked while Redis is away fails within three seconds with `StoreUnavailable`, and
the link finds out by itself when Redis is back.

Two things hold for every step, and each script is written for them: it **may run twice** (the
connection broke before its reply came), and after `StoreUnavailable` nobody knows whether it ran,
unless that is `StoreUntouched`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from wsserver.core.errands import Errands
from wsserver.core.sessions.store import StoreUnavailable, StoreUntouched
from wsserver.stores.redis.bells import Bells
from wsserver.stores.redis.hosts import Hosts
from wsserver.stores.redis.insistence import Answered, Insistence, unheard
from wsserver.stores.redis.lane import Lane, Lost, Unreached
from wsserver.stores.redis.outcomes import away, granted, refused
from wsserver.stores.redis.pipe import Command, Value
from wsserver.stores.redis.scripts import PUBLISH, Argument, command_of

__all__ = ["PUBLISH", "Argument", "RedisLink"]

log = logging.getLogger(__name__)

FIRST_RETRY, LAST_RETRY = 0.05, 1.0
"""Seconds between two looks for a Redis that is away: the first pause, and the longest."""


class RedisLink:
    """One Redis, or one cluster. Make it with `RedisLink.open`.

    Attributes:
        bells: Channels to listen at.
        on_up: Called when Redis is back after it was away.
        on_down: Called when it has gone away.
    """

    def __init__(self, url: str) -> None:
        self._hosts = Hosts(url, self._note)
        self._learning: asyncio.Task[None] | None = None
        self._healing: asyncio.Task[None] | None = None
        self._errands = Errands("a step that nobody waits for has failed")
        self._insistence = Insistence(self.call)
        self._is_up, self._is_closed = True, False
        self.on_up: list[Callable[[], None]] = []
        self.on_down: list[Callable[[], None]] = []
        self.bells = Bells(self._hosts, self.command, self.learn)
        self.on_up.append(self.bells.doubt)

    @classmethod
    def open(cls, url: str) -> RedisLink:
        """A link to ``redis://``, ``rediss://`` or ``unix://``. Nothing is asked yet.

        User name, password and database stand at their usual places or in the query
        (``?username=…&password=…&db=…``). For TLS the query may name ``ssl_ca_certs``,
        ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs`` (none, optional, required) and
        ``ssl_check_hostname``.

        Raises:
            ValueError: If the URL is none of these, or says something else.
        """
        return cls(url)

    @property
    def is_up(self) -> bool:
        """Whether Redis answered when last asked; True before it was."""
        return self._is_up

    async def call(self, name: str, keys: Sequence[str], args: Sequence[Argument] = ()) -> Any:
        """Run one step: ``area/name`` of the scripts. What one tick asks for goes out together.

        Args:
            name: Of the script.
            keys: All keys that it touches, of one hash tag.
            args: With `PUBLISH` as the last one if the script rings.

        Raises:
            StoreUntouched: If Redis can't be reached or refuses, and has not done it.
            StoreUnavailable: If that is not known.
        """
        await self._known()
        reply = await self._ask(self._step(name, keys, args), keys[0])
        if isinstance(reply, NoScriptError):
            # A Redis that has been restarted or has never seen it; it keeps the text from now on.
            text = command_of(name, keys, args, self._hosts.publish, as_text=True)
            reply = await self._ask(text, keys[0])
        return granted(reply)

    def post(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        answered: Callable[[Any], None],
    ) -> None:
        """As `call`, for who does it often: without a task, which costs more than the step.

        Args:
            answered: Called with the reply, or with the `StoreUnavailable`, later than this
                returns. Must not raise.
        """
        if self._hosts.is_known:
            try:
                lane = self._hosts.lane_of(keys[0])
            except Lost:
                pass  # the task finds out as much, and tells it
            else:
                lane.post(
                    self._step(name, keys, args),
                    partial(self._posted, name, keys, args, answered),
                )
                return
        self._errands.begin(self._post(name, keys, args, answered))

    def tell(self, name: str, keys: Sequence[str], args: Sequence[Argument] = ()) -> None:
        """Run a step that nobody waits for, in this tick's writing. Failing is only logged."""
        self.post(name, keys, args, partial(_note_failure, name))

    def insist(
        self, name: str, keys: Sequence[str], args: Sequence[Argument], answered: Answered = unheard
    ) -> None:
        """Run a step that nobody waits for, and again until Redis has taken it.

        What it is about is its first key and its first argument: a later step about the same
        takes its place, so that an older one never runs after it. ``answered`` is called with the
        reply of what has run, and must not raise.
        """
        self._errands.begin(self._insistence.run(name, keys, args, answered))

    async def command(self, *command: Value) -> Any:
        """Run a plain command; its key, if it has one, is its second word.

        Returns:
            The reply as the client library gives it: a dict where it is one of names and values.

        Raises:
            StoreUnavailable: As for `call`.
        """
        await self._known()
        return granted(await self._ask(command, command[1] if len(command) > 1 else None))

    async def publish(self, channel: str, data: bytes) -> None:
        """Ring a channel's subscribers, in all processes.

        Raises:
            StoreUnavailable: As for `call`.
        """
        await self._known()
        await self.command(self._hosts.publish, channel, data)

    async def everywhere(self, *command: Value) -> list[Any]:
        """Run a command on every host.

        Raises:
            StoreUnavailable: As for `call`.
        """
        await self._known()
        return [await self._ask_at(lane, command) for lane in self._hosts.lanes]

    async def ping(self) -> None:
        """Ask every host for a sign of life.

        Raises:
            StoreUnavailable: If one gives none.
        """
        await self.everywhere("PING")

    async def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """All keys that match, on all hosts. For tools: never in the path of a request.

        Raises:
            StoreUnavailable: As for `call`.
        """
        await self._known()
        for lane in self._hosts.lanes:
            place = 0
            while True:
                asked = ("SCAN", place, "MATCH", pattern, "COUNT", 1000)
                place, keys = await self._ask_at(lane, asked)
                for key in keys:
                    yield key
                if not place:
                    break

    async def learn(self) -> None:
        """Ask anew which host keeps what; several who ask at once share one answer.

        Raises:
            StoreUnavailable: If nobody answers.
        """
        if self._is_closed:
            raise StoreUntouched("Redis: closed")
        if self._learning is None:
            self._learning = asyncio.get_running_loop().create_task(self._learn())
            self._learning.add_done_callback(_look_at)  # whoever wanted it may have gone
        learning = self._learning
        await asyncio.wait({learning})  # who waits no longer does not end it for the others
        if self._is_closed or learning.cancelled():
            raise StoreUntouched("Redis: closed")
        learning.result()

    async def close(self) -> None:
        """End it. What is under way fails with `StoreUnavailable`."""
        self._is_closed = True
        self._insistence.end()
        await self.bells.close()
        tasks = {task for task in (self._learning, self._healing) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:  # they would open again what is closed
            await asyncio.wait(tasks)
        await self._hosts.close()
        await self._errands.ended()

    def _step(self, name: str, keys: Sequence[str], args: Sequence[Argument]) -> Command:
        return command_of(name, keys, args, self._hosts.publish)

    def _posted(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        answered: Callable[[Any], None],
        reply: Any,
    ) -> None:
        if isinstance(reply, NoScriptError):
            self._errands.begin(self._post(name, keys, args, answered))
        elif isinstance(reply, Lost):
            answered(away(reply))
        elif isinstance(reply, ResponseError):
            answered(refused(reply))
        else:
            answered(reply)

    async def _post(
        self,
        name: str,
        keys: Sequence[str],
        args: Sequence[Argument],
        answered: Callable[[Any], None],
    ) -> None:
        try:
            reply = await self.call(name, keys, args)
        except StoreUnavailable as error:
            reply = error
        answered(reply)

    async def _known(self) -> None:
        if self._is_closed or not self._hosts.is_known:
            await self.learn()

    async def _learn(self) -> None:
        try:
            await self._hosts.learn()
        except Lost as error:
            self._take_state(is_up=False)
            raise StoreUntouched(f"Redis: {error}") from error
        finally:
            self._learning = None

    async def _ask(self, command: Command, key: Value | None) -> Any:
        """A command's reply, or the `ResponseError` that it is."""
        was_sent = False
        try:
            lane = self._hosts.lane_of(key)
            was_up = lane.is_up
            try:
                return await lane.ask(command)
            except Unreached as error:
                was_sent = error.was_sent
                # The first to find a host of a cluster gone: who was quiet while a replica took its
                # place only has to learn of that. Later ones leave it to `_heal`.
                if not was_up or self._hosts.is_alone:
                    raise
                await self.learn()
                heir = self._hosts.lane_of(key)
                if heir is lane:
                    raise
                return await heir.ask(command)
        except Lost as error:
            error.was_sent |= was_sent
            raise away(error) from error
        except StoreUnavailable as error:
            if was_sent:  # and now nobody says where it is
                raise StoreUnavailable(str(error)) from error
            raise

    async def _ask_at(self, lane: Lane, command: Command) -> Any:
        try:
            return granted(await lane.ask(command))
        except Lost as error:
            raise away(error) from error

    def _note(self) -> None:
        """A lane came up or went down."""
        if not self._is_closed:
            self._take_state(is_up=all(lane.is_up for lane in self._hosts.lanes))

    def _take_state(self, *, is_up: bool) -> None:
        if self._is_closed:
            return
        if not is_up and self._healing is None:
            self._healing = asyncio.get_running_loop().create_task(self._heal())
        if is_up is not self._is_up:
            self._is_up = is_up
            log.warning("Redis is back" if is_up else "Redis is away")
            for callback in tuple(self.on_up if is_up else self.on_down):
                callback()

    async def _heal(self) -> None:
        """Look for what is away until all is there. In a cluster another host may have taken over,
        so that is asked first."""
        pause = FIRST_RETRY
        try:
            while not self._is_up:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(2 * pause, LAST_RETRY)
                try:
                    await self.learn()
                    await self.ping()
                except StoreUnavailable:
                    continue
                self._note()
        finally:
            self._healing = None


def _note_failure(name: str, reply: Any) -> None:
    if isinstance(reply, StoreUnavailable):
        log.warning("%s did not reach Redis: %s", name, reply)


def _look_at(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
