"""Whatever breaks, all readers of an answer end with the text that Redis has: on a real one."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.support.redis_faults import Storm
from wsserver.stores.redis import streams, text_tick


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_all_readers_end_with_one_text(
    redis_url: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost, doubled, late bells; broken connections; takeovers, zombies; lost tails: one text."""
    monkeypatch.setattr(text_tick, "FLUSH_SECONDS", 0.004)
    monkeypatch.setattr(streams, "PLACE_SECONDS", 0.5)
    async with AsyncExitStack() as stack:
        storm = Storm(redis_url, seed, stack)
        await storm.run(answers=5, readers=6)
        assert storm.takeovers and storm.tails and storm.cuts and storm.lost_bells
        for reader in storm.readers:
            final = await storm.final(reader.stream_id)
            assert reader.text == final
            assert any(writer.text == final for writer in storm.writers[reader.stream_id])
