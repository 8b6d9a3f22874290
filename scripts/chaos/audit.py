"""What must be so of answers when everything has healed and everyone has what he asked for.

Whoever looks at an answer again, through any gateway, gets the same text and end; histories have
each turn once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, defaultdict
from contextlib import suppress
from typing import Any

from scripts.chaos import truth
from scripts.chaos.book import Asked, Book, Frame
from scripts.chaos.device import Device
from scripts.chaos.surroundings import Surroundings

RETAINED_SECONDS = 500.0
"""Ended answers are asked for again up to this age; the server keeps them for 600 s."""

LOOKS_A_SECOND = 25.0
"""Of one client, which may send 50 frames a second."""


async def watch_again(around: Surroundings, book: Book) -> None:
    """Have every answer's end told once more, from its beginning, to a new client of its user."""
    since = time.monotonic() - RETAINED_SECONDS
    by_user: dict[str, list[Asked]] = defaultdict(list)
    for asked in book.answers.values():
        # Whose asker is gone for good may still run, and would, for whoever looks at it now.
        if asked.end is not None and asked.began > since and not book.may_have_lost(asked):
            by_user[asked.user].append(asked)
    await asyncio.gather(*(_watch_all(around, user, all) for user, all in by_user.items()))


async def _watch_all(around: Surroundings, user: str, answers: list[Asked]) -> None:
    device = Device(around, user, f"{user}.audit", random.Random(user))
    try:
        for asked in answers:
            await device.watch(asked.stream_id or "")
            await asyncio.sleep(1 / LOOKS_A_SECOND)
        with suppress(TimeoutError):
            async with asyncio.timeout(20):
                for view in device.screen.views.values():
                    await view.over.wait()
        device.complain()
    finally:
        await device.close()


async def histories(around: Surroundings, book: Book) -> None:
    """Each session has each of its turns once, with the text that its asker was told."""
    turns: dict[tuple[str, str], list[Asked]] = defaultdict(list)
    for asked in book.asked.values():
        if asked.session_id is not None and asked.end is not None:
            turns[asked.user, asked.session_id].append(asked)
    await asyncio.gather(
        *(_read_history(around, user, session, all) for (user, session), all in turns.items())
    )


async def _read_history(
    around: Surroundings, user: str, session_id: str, turns: list[Asked]
) -> None:
    book = around.book
    device = Device(around, user, f"{user}.reader", random.Random(user))
    messages: list[Frame] = []
    try:
        before: dict[str, Any] = {}
        while True:
            page = await device.ask("get_history", sessionId=session_id, limit=50, **before)
            if page["type"] == "error":
                if page["code"] == "session_not_found" and all(map(book.may_have_lost, turns)):
                    return
                book.wrong("a history can't be read", session_id, page)
                return
            messages[:0] = page["messages"]
            if not page["hasMore"]:
                break
            before = {"before": page["messages"][0]["messageId"]}
    finally:
        await device.close()
    _compare(book, turns, messages)


def _compare(book: Book, turns: list[Asked], messages: list[Frame]) -> None:
    asked_times = Counter(m["content"] for m in messages if m["role"] == "user")
    answers = {m["messageId"]: m for m in messages if m["role"] == "assistant"}
    for asked in turns:
        end = asked.end or {}
        if asked.stream_id is None or end.get("saved") is False:
            continue  # refused, or said to be missing
        if book.may_have_lost(asked):
            _compare_rest(book, asked, answers.get(asked.message_id or ""))
            continue
        if asked_times[asked.prompt] != 1:
            book.wrong(f"a question is {asked_times[asked.prompt]} times in its history", asked)
        answer = answers.get(asked.message_id or "")
        if answer is None:
            book.wrong("an answer is missing in its history", asked)
            continue
        said = answer["content"].encode()
        book.bytes_compared += len(said)
        if said != truth.text(1, 0, end.get("offset") or 0):
            book.wrong("a history has another text", asked, answer)
        if answer.get("streamId") is not None:
            book.wrong("a history says that an ended answer is being made", asked, answer)


def _compare_rest(book: Book, asked: Asked, answer: Frame | None) -> None:
    """A turn of before Redis lost data may be missing, or as it was earlier: no other one."""
    said = b"" if answer is None else answer["content"].encode()
    book.bytes_compared += len(said)
    if said != truth.text(1, 0, len(said)):
        book.wrong("a history has another text", asked, answer)
