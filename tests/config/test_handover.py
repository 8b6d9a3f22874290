"""A configuration goes to another process whole."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from pathlib import Path

import pytest

from wsserver.config import Request, load
from wsserver.config.handover import Lifeline, death_notice, pack, receive


def test_everything_arrives(tmp_path: Path) -> None:
    """What the other process reads is equal, models and engines' own keys included."""
    settings = ["redis.url=redis://:secret@host/1", "models.engines.llamacpp.slots=3"]
    request = Request(flags={"models.start": ("--model", ["a=synthetic:"])}, settings=settings)
    config = load(request, {}, tmp_path).config
    stream = io.BytesIO(pack(config) + b"after")
    assert receive(stream).config == config
    assert stream.read() == b"after"


def test_half_a_configuration_is_none(tmp_path: Path) -> None:
    """A sender that died while it wrote leaves an error, not defaults."""
    packed = pack(load(Request(), {}, tmp_path).config)
    with pytest.raises(EOFError):
        receive(io.BytesIO(packed[:-1]))


def test_who_has_died_comes_with_it(tmp_path: Path) -> None:
    """The name of the new life, and those of former ones."""
    config = load(Request(), {}, tmp_path).config
    handover = receive(io.BytesIO(pack(config, "nod_3", ("nod_1", "nod_2"))))
    assert (handover.node, handover.dead) == ("nod_3", ("nod_1", "nod_2"))


async def test_deaths_are_told_through_the_pipe() -> None:
    """Who was dead at first, then each one as it is told, also in pieces; the end is the pipe's."""
    reading, writing = os.pipe()
    lifeline = Lifeline("nod_9", ["nod_0"])
    holding = threading.Thread(target=lifeline.hold, args=(reading,))
    holding.start()
    deaths = lifeline.deaths()
    try:
        assert await anext(deaths) == "nod_0"
        os.write(writing, death_notice("nod_1") + death_notice("nod_2")[:4])
        assert await anext(deaths) == "nod_1"
        os.write(writing, death_notice("nod_2")[4:])
        assert await asyncio.wait_for(anext(deaths), 5) == "nod_2"
    finally:
        os.close(writing)
        await asyncio.to_thread(holding.join, 5)
        os.close(reading)
    assert not holding.is_alive()
