"""What people do: ask, stop, drop, come back, look from elsewhere, talk, go for good."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from zlib import crc32

from scripts.chaos.book import Asked, Frame
from scripts.chaos.device import Device
from scripts.chaos.guests import Guest
from scripts.chaos.surroundings import Gone, Surroundings

MOST_AT_ONCE = 2
"""Things that one person waits for. Whoever waits asks for nothing more: a fleet that is slow slows
people down, and what waits in it stays bounded."""

ENDLESS = 20_000
"""Tokens of an answer that is not meant to come to its end."""


class Person:
    """One user, on one client or two."""

    def __init__(
        self, around: Surroundings, name: str, homes: list[str], rng: random.Random
    ) -> None:
        self.name = name
        self.book = around.book
        self.session_id = f"ses-{name}"
        self.devices: list[Device] = []
        self.left: list[Device] = []  # clients that are gone for good
        self._around = around
        self._rng = rng
        self._work: set[asyncio.Task[Any]] = set()
        self._asked: list[Asked] = []
        self._devices_made = 0
        self.failures: list[BaseException] = []
        self._guest = Guest(self, homes, random.Random(rng.random()))

    async def live(self, until: float) -> None:
        """Do things until that time (of the monotonic clock)."""
        self._begin_device()
        if self._guest.homes:
            await self._guest.move_in()
        deeds: dict[Callable[[], Awaitable[None]], int] = {
            self._stream: 30,
            self._turn: 16,
            self._generate: 8,
            self._stop_midway: 10,
            self._drop: 12,
            self._look_from_elsewhere: 8,
            self._go_on: 8,
            self._repeat: 4,
            self._batch: 3,
            self._small_talk: 4,
            self._stall: 3,
            self._interrupt: 2,
            self._vanish: 2,
            **(self._guest.deeds if self._guest.homes else {}),
        }
        while time.monotonic() < until:
            await self._around.pace.pause(self._rng)
            (deed,) = self._rng.choices(list(deeds), list(deeds.values()))
            with suppress(Gone):
                await deed()

    async def settle(self) -> None:
        """Wait until everything that was asked for has its end."""
        while self._work:
            await asyncio.wait(self._work)
        for device in self.devices:
            while still := device.screen.open:  # a room may show it another one meanwhile
                await still[0].over.wait()

    async def close(self) -> None:
        for device in self.devices:
            await device.close()
        for task in self._work:
            task.cancel()

    @property
    def device(self) -> Device:
        """Where this person works."""
        return self.devices[0]

    # Deeds.

    async def _stream(self) -> None:
        if self.is_free():
            self.ask(self.new("stream", self._rng.choice((5, 20, 60, 150, 300))))

    async def _turn(self) -> None:
        if not self.is_free():
            return
        opened_at = self.book.sessions.get(self.session_id)
        if opened_at is None or self.book.has_lost(opened_at):
            self.spawn(self._open_session())
        else:
            self.ask(self.new("stream", self._rng.choice((5, 20, 60)), self.session_id))

    async def _open_session(self) -> None:
        asked_at = time.monotonic()
        opened = await self.device.ask("open_session", sessionId=self.session_id)
        if opened["type"] == "session_opened":
            self.book.sessions[self.session_id] = asked_at

    async def _generate(self) -> None:
        if self.is_free():
            self.ask(self.new("generate", self._rng.choice((5, 30, 80))))

    async def _batch(self) -> None:
        if not self.is_free():
            return
        prompts = [f"{self.name} wants {number}" for number in range(3)]
        self.spawn(self.device.ask("batch", prompts=prompts, options={"maxTokens": 15}))

    async def _stop_midway(self) -> None:
        if self.is_free():
            self.ask(self.new("stream", ENDLESS))

    async def _wait_for(self, device: Device, asked: Asked) -> None:
        """Wait for an answer's end, and stop one that has none of its own."""
        waiting = asyncio.ensure_future(device.ask(asked.kind, asked=asked, **_fields(asked)))
        patience = self._rng.uniform(0, 6) if asked.limit == ENDLESS else None
        try:
            while not (await asyncio.wait({waiting}, timeout=patience))[0]:
                asked.may_stop = True
                if asked.stream_id is not None:
                    hand = self._rng.choice(self.devices)
                    await hand.tell("stop_stream", streamId=asked.stream_id)
                patience = 3.0  # again, should the connection have taken it along
            waiting.result()
        finally:
            waiting.cancel()

    async def _interrupt(self) -> None:
        for asked in self._asked:
            asked.may_stop = True
        await self.device.tell("interrupt")

    async def _drop(self) -> None:
        self._rng.choice(self.devices).cut(self._rng.choice((0.0, 0.0, 0.5, 2.0, 4.0)))

    async def _stall(self) -> None:
        self._rng.choice(self.devices).stall(self._rng.uniform(0.5, 3.0))

    async def _look_from_elsewhere(self) -> None:
        if len(self.devices) < 2:
            self._begin_device()
        known = [asked for asked in self._asked if asked.stream_id is not None]
        if known:
            await self.devices[1].watch(self._rng.choice(known[-4:]).stream_id or "")

    async def _repeat(self) -> None:
        """The same request again, under its id, from wherever: it is not run again."""
        if not self._asked or len(self.devices) < 2:
            return
        asked = self._rng.choice(self._asked[-4:])
        is_here = asked.room_id is None or self.devices[1].rooms.view(asked.room_id).is_seated
        is_whole = asked.kind == "stream" and asked.continues is None
        if is_whole and is_here and asked.stream_id is not None:
            self.spawn(self._ask_again(asked))

    async def _ask_again(self, asked: Asked) -> None:
        device = self.devices[1]
        if asked.stream_id not in device.screen.views:
            await self._wait_for(device, asked)

    async def _go_on(self) -> None:
        """Continue an answer that has ended."""
        alone = [a for a in self._asked if a.session_id is None and a.room_id is None]
        ended = [a for a in alone if a.end is not None and a.stream_id]
        if not ended or not self.is_free():
            return
        before = self._rng.choice(ended[-3:])
        if self.book.may_have_lost(before) or not before.tokens:
            return
        asked = self.new("continue", self._rng.choice((10, 40)))
        asked.first = before.first + before.tokens
        asked.continues = before.stream_id
        self.ask(asked)

    async def _small_talk(self) -> None:
        if not self.is_free():
            return
        kind = self._rng.choice(("get_status", "models", "ping", "count_tokens"))
        fields: Frame = {"text": "one two three"} if kind == "count_tokens" else {}
        self.spawn(self.device.ask(kind, **fields))

    async def _vanish(self) -> None:
        """Go for good, and come back as another client."""
        device = self.devices.pop()
        self.left.append(device)
        own = [a for a in self._asked if a.request_id.startswith(f"{device.name}-")]
        for asked in own:
            asked.may_stop = True  # what nobody waits for is stopped
        self._asked = [a for a in self._asked if a.end is not None or a not in own]
        device.vanish()
        if not self.devices:
            self._begin_device()

    # How.

    def _begin_device(self) -> None:
        self._devices_made += 1
        name = f"{self.name}.{self._devices_made}"
        rng = random.Random(self._rng.random())
        self.devices.append(Device(self._around, self.name, name, rng))

    def is_free(self) -> bool:
        """Whether this person waits for few enough things to ask for another one."""
        return len(self._work) < MOST_AT_ONCE

    def new(
        self, kind: str, limit: int, session_id: str | None = None, room_id: str | None = None
    ) -> Asked:
        """A request for an answer, noted before it is sent."""
        request_id = self.device.new_id()
        asked = Asked(request_id, kind, self.name, limit, f"{request_id} asks")
        asked.session_id, asked.room_id, asked.device = session_id, room_id, self.device.name
        self._asked.append(self.book.ask(asked))
        return asked

    def ask(self, asked: Asked) -> None:
        """Send a request for an answer, and wait for its end."""
        self.spawn(self._wait_for(self.device, asked))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have something done that this person waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._work.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Gone):
            self.failures.append(error)


def _fields(asked: Asked) -> Frame:
    options = {"maxTokens": asked.limit, "tokenInterval": 25 * (crc32(asked.prompt.encode()) % 11)}
    fields: Frame = {"requestId": asked.request_id, "options": options}
    if asked.continues is None:
        fields["prompt"] = asked.prompt
    else:
        fields["streamId"] = asked.continues
    if asked.session_id is not None:
        fields["sessionId"] = asked.session_id
    if asked.room_id is not None:
        fields["roomId"] = asked.room_id
    return fields
