"""What must be so of rooms when everything has healed.

All who are in a room have the same log, to its end and without a gap, and the same list of who is
there, which is who is connected: no ghosts. The log that the server hands out is the one that they
have seen: each thing that was said once, however often it was sent, and each question and answer
once, with the text that its readers have put together.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from scripts.chaos import truth
from scripts.chaos.book import Book, Frame
from scripts.chaos.device import Device
from scripts.chaos.people import Person
from scripts.chaos.room_screen import RoomView

PATIENCE = 75.0
"""Seconds for the last seat of a dead process to lapse: its lease, the window, half a minute."""

LOOK_EVERY = 0.5

PAGE = 200


async def rooms(people: Sequence[Person], book: Book) -> None:
    """Everyone who is in a room sees what is so, and so does the server."""
    deadline = time.monotonic() + PATIENCE
    wrong = _differences(people)
    while wrong and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_EVERY)
        wrong = _differences(people)
    for device, what in wrong:
        device.wrong(what)
    seats = [(device, view) for device, view in _seats(people) if view.is_seated]
    logs: dict[str, list[Frame]] = {}
    read = await asyncio.gather(*(_read(*seat) for seat in seats))
    for (device, view), log in zip(seats, read, strict=True):
        if log is None:
            continue
        for entry in log:
            book.rooms.fact(view.room_id, view.epoch, entry)
        _compare_view(book, device, view, log)
        logs[view.room_id] = log
    _compare_said(book, logs)
    _compare_answers(book, logs)


def _seats(people: Sequence[Person]) -> list[tuple[Device, RoomView]]:
    devices = [device for person in people for device in person.devices]
    return [(device, view) for device in devices for view in device.rooms.wanted]


def _differences(people: Sequence[Person]) -> list[tuple[Device, str]]:
    """What one is shown and another is not, or who is shown and is not there."""
    there: dict[str, set[str]] = defaultdict(set)
    ends: dict[str, int] = defaultdict(int)
    for device, view in _seats(people):
        there[view.room_id].add(device.user)
        ends[view.room_id] = max([ends[view.room_id], view.live, *view.entries])
    wrong = []
    for device, view in _seats(people):
        if not view.is_seated:
            wrong.append((device, f"has not been let in to {view.room_id}"))
            continue
        if view.members != there[view.room_id]:
            ghosts = sorted(view.members - there[view.room_id])
            missing = sorted(there[view.room_id] - view.members)
            seen = f"sees ghosts {ghosts} in {view.room_id} and does not see {missing}"
            wrong.append((device, seen))
        if view.have != ends[view.room_id]:
            last = f"{view.have}, not to {ends[view.room_id]}"
            wrong.append((device, f"has the log of {view.room_id} up to {last}"))
    return wrong


async def _read(device: Device, view: RoomView) -> list[Frame] | None:
    """The whole log, as this client's gateway hands it out."""
    log: list[Frame] = []
    before: dict[str, Any] = {}
    while True:
        fields = {"roomId": view.room_id, "limit": PAGE, **before}
        page = await device.ask("room_history", **fields)
        if page["type"] != "room_history":
            device.wrong(f"can't read the log of {view.room_id}", page)
            return None
        log[:0] = page["messages"]
        if not page["hasMore"]:
            return log
        before = {"before": page["messages"][0]["seq"]}


def _compare_view(book: Book, device: Device, view: RoomView, log: list[Frame]) -> None:
    seqs = [entry["seq"] for entry in log]
    if seqs != list(range(1, len(seqs) + 1)):
        book.wrong(f"the log of {view.room_id} has gaps", seqs)
    by_seq = {entry["seq"]: entry for entry in log}
    for seq, seen in view.entries.items():
        entry = by_seq.get(seq, {})
        if any(entry.get(name) != value for name, value in seen.items()):
            book.wrong(f"{device.name} has another entry of {view.room_id}", seen, "not", entry)


def _compare_said(book: Book, logs: dict[str, list[Frame]]) -> None:
    """What was said stands in the log once; what may not have been taken, at most once."""
    times = Counter(
        (room_id, entry["text"])
        for room_id, log in logs.items()
        for entry in log
        if entry["role"] == "user" and entry.get("streamId") is None
    )
    for said in book.rooms.said.values():
        if said.room_id not in logs:
            continue
        count = times[said.room_id, said.text]
        least = int(said.is_logged and not book.has_lost(said.began))
        if not least <= count <= 1:
            book.wrong(f"what was said is {count} times in the log", said)


def _compare_answers(book: Book, logs: dict[str, list[Frame]]) -> None:
    """Each question and each answer stands in the log once, with the text that was seen."""
    questions, answers = Counter[str](), Counter[str]()
    texts: dict[str, Frame] = {}
    for log in logs.values():
        for entry in log:
            stream_id = entry.get("streamId")
            if stream_id is not None:
                (questions if entry["role"] == "user" else answers)[stream_id] += 1
                if entry["role"] == "assistant":
                    texts[stream_id] = entry
    for asked in book.asked.values():
        if asked.room_id not in logs or asked.stream_id is None or asked.end is None:
            continue
        stream_id, end = asked.stream_id, asked.end
        least = int("seq" in end and not book.may_have_lost(asked))
        if not least <= questions[stream_id] <= 1:
            book.wrong(f"a question is {questions[stream_id]} times in its log", asked, end)
        if not least <= answers[stream_id] <= 1:
            book.wrong(f"an answer is {answers[stream_id]} times in its log", asked, end)
        if not least and end["type"] in ("stream_complete", "stream_stopped"):
            book.counts["room_ends_without_seq"] += 1
        if stream_id in texts:
            said = texts[stream_id]["text"].encode()
            book.bytes_compared += len(said)
            length = len(said) if book.may_have_lost(asked) else end.get("offset") or 0
            if said != truth.text(asked.first, 0, length):
                book.wrong("a log has another text", asked, end, texts[stream_id])
