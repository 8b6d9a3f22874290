"""Fixtures of the terminal client's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.clients.terminal.emulator import Emulator

OpenChat = Callable[..., Emulator]


@pytest.fixture
def open_chat(tmp_path: Path) -> Iterator[OpenChat]:
    """Starts ``wsserver chat`` in a terminal; all are ended with the test."""
    opened: list[Emulator] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> Emulator:
        opened.append(Emulator(arguments, tmp_path, environment))
        return opened[-1]

    yield start
    for emulator in opened:
        emulator.kill()
