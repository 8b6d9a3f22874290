"""Steps that are done again when Redis is back."""

from __future__ import annotations

import asyncio

import pytest

from wsserver.core.rooms import refusals
from wsserver.core.sessions.store import StoreUnavailable
from wsserver.stores.redis import RedisLink, lately
from wsserver.stores.redis.lately import Lately


@pytest.mark.parametrize(
    "failure",
    [StoreUnavailable("The cluster is down"), refusals.store_away()],
    ids=["store", "wire"],
)
async def test_a_return_that_was_told_too_early_is_waited_for(
    failure: Exception, link: RedisLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All hosts of a cluster are there again, and it is still down: the step is tried until it is
    done, once for each return at most, however often that is told meanwhile."""
    monkeypatch.setattr(lately, "RETRY_SECONDS", 0.0)
    tries: list[str] = []
    is_done = asyncio.Event()

    async def again(step: str) -> None:
        tries.append(step)
        _come_back(link)
        if len(tries) < 3:
            raise failure
        is_done.set()

    steps = Lately(link, again)
    steps.note("end")
    _come_back(link)
    await asyncio.wait_for(is_done.wait(), 5)
    await steps._errands.ended()
    assert tries == ["end"] * 3
    _come_back(link)
    await steps._errands.ended()
    assert tries == ["end"] * 4
    steps.close()


async def test_what_is_refused_is_not_asked_for_ever(link: RedisLink) -> None:
    """Another answer than that the store is away is the last word."""
    tries: list[str] = []

    async def again(step: str) -> None:
        tries.append(step)
        raise refusals.banned()

    steps = Lately(link, again)
    steps.note("answer")
    _come_back(link)
    assert await steps._errands.ended(within=5)
    assert tries == ["answer"]
    steps.close()


def _come_back(link: RedisLink) -> None:
    for told in tuple(link.on_up):
        told()
