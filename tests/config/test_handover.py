"""A configuration goes to another process whole."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from wsserver.config import Request, load
from wsserver.config.handover import pack, receive


def test_everything_arrives(tmp_path: Path) -> None:
    """What the other process reads is equal, models and engines' own keys included."""
    settings = ["redis.url=redis://:secret@host/1", "models.engines.llamacpp.slots=3"]
    request = Request(flags={"models.start": ("--model", ["a=synthetic:"])}, settings=settings)
    config = load(request, {}, tmp_path).config
    stream = io.BytesIO(pack(config) + b"after")
    assert receive(stream) == config
    assert stream.read() == b"after"


def test_half_a_configuration_is_none(tmp_path: Path) -> None:
    """A sender that died while it wrote leaves an error, not defaults."""
    packed = pack(load(Request(), {}, tmp_path).config)
    with pytest.raises(EOFError):
        receive(io.BytesIO(packed[:-1]))
