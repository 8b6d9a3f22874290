"""Workers and gateways that know of each other through a real Redis, alone and a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from tests.support.core import Core
from tests.support.waiting import eventually
from wsserver.core.engine import ChatMessage, LoadProgress, ModelLoadError
from wsserver.core.ids import new_id
from wsserver.core.models.fleet import FleetModels
from wsserver.core.models.model import ModelStatus
from wsserver.core.models.serving import WorkerModels
from wsserver.stores.redis import RedisLink
from wsserver.stores.redis.calls import NoAnswer, RedisCalls
from wsserver.stores.redis.fleet import KEYS, RedisAnnouncing, RedisFleet
from wsserver_protocol.errors import ErrorCode, WireError


class Worker(NamedTuple):
    core: Core
    node: str
    life: asyncio.Task[None]


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[Worker]:
    """A worker's models, their voice and their ear, over engines without processes."""
    link, core, node = RedisLink.open(url), Core(), new_id("nod")
    models = WorkerModels(node, core.models, RedisAnnouncing(link, node), _nobody_waits)
    calls = RedisCalls(link, node, models.handle)
    await calls.start()
    life = asyncio.create_task(models.run())
    try:
        yield Worker(core, node, life)
    finally:
        life.cancel()
        await asyncio.wait({life})
        await calls.close()
        await models.close()
        await core.close()
        await link.close()


async def _nobody_waits(model_id: str) -> int:
    return 0


@asynccontextmanager
async def gateway(url: str) -> AsyncIterator[FleetModels]:
    """A gateway's view of the fleet."""
    link = RedisLink.open(url)
    calls = RedisCalls(link, new_id("nod"))
    await calls.start()
    fleet = RedisFleet(link, calls)
    await fleet.start()
    models = FleetModels(fleet)
    try:
        yield models
    finally:
        await models.close()
        await fleet.close()
        await calls.close()
        await link.close()


def is_ready(models: FleetModels, model_id: str, slots: int) -> bool:
    try:
        return models.get(model_id).is_ready and models.get(model_id).slots == slots
    except WireError:
        return False


async def test_a_model_of_two_workers_is_one(redis_url: str) -> None:
    """Their slots are summed, either counts tokens, and the default is the operator's."""
    async with worker(redis_url) as one, worker(redis_url) as two, gateway(redis_url) as models:
        await one.core.ready("synthetic:?slots=2")
        await two.core.ready("synthetic:?slots=3")
        await eventually(lambda: is_ready(models, "m", 5))
        model = models.require(None)
        assert (model.id, model.engine, model.kind) == ("m", "synthetic", "synthetic")
        assert (model.replicas, model.busy, len(models.all())) == (2, 0, 1)
        assert await models.count_tokens("m", text="one two three") > 0
        said = [ChatMessage(role="user", content="one two")]
        assert await models.count_tokens(None, messages=said) > 0
        with pytest.raises(WireError) as refused:
            models.require("other")
        assert refused.value.code is ErrorCode.MODEL_NOT_FOUND


async def test_a_load_asked_for_anywhere(redis_url: str) -> None:
    """It is loading at once for who asked, its steps are told, and an unload ends it."""
    async with worker(redis_url), gateway(redis_url) as models, gateway(redis_url) as others:
        await eventually(lambda: len(models._fleet.workers) == 1)
        model = models.begin_load(
            "synthetic:?load_ms=400", model_id=None, settings={}, admit=lambda: None
        )
        assert (model.id, models.require("synthetic").status) == ("synthetic", ModelStatus.LOADING)
        steps: list[LoadProgress] = []
        info = await models.loaded(model, steps.append)
        assert info.slots > 0
        assert steps
        await eventually(lambda: is_ready(others, "synthetic", info.slots))
        again = others.begin_load("synthetic", model_id=None, settings={}, admit=lambda: None)
        assert await others.loaded(again) == info  # joined
        others.begin_unload(others.get("synthetic"), force=False)
        with pytest.raises(WireError) as refused:
            others.require("synthetic")
        assert refused.value.code is ErrorCode.MODEL_NOT_READY
        await others.unloaded(others.get("synthetic"))
        await eventually(lambda: models.get("synthetic").status is ModelStatus.UNLOADED)


async def test_a_second_load_of_a_source_gets_a_name_of_its_own(redis_url: str) -> None:
    """As on one server: -2 where the source's own name is taken."""
    async with worker(redis_url), gateway(redis_url) as models:
        await eventually(lambda: len(models._fleet.workers) == 1)
        begun = [
            models.begin_load("synthetic:", model_id=None, settings={}, admit=lambda: None)
            for _ in range(2)
        ]
        assert [model.id for model in begun] == ["synthetic", "synthetic-2"]
        for model in begun:
            await models.loaded(model)


async def test_refusals_of_a_load_reach_who_asked(redis_url: str) -> None:
    """No such source is an error and no model; a failed load says why and stays to be seen."""
    async with worker(redis_url), gateway(redis_url) as models:
        await eventually(lambda: len(models._fleet.workers) == 1)
        wrong = models.begin_load("evil:thing", model_id="x", settings={}, admit=lambda: None)
        with pytest.raises(WireError) as refused:
            await models.loaded(wrong)
        assert refused.value.code is ErrorCode.INVALID_PARAMETERS
        assert refused.value.details[0].field == "source"
        assert all(model.id != "x" for model in models.all())
        failing = models.begin_load(
            "synthetic:?fail_load=1", model_id="y", settings={}, admit=lambda: None
        )
        with pytest.raises(ModelLoadError):
            await models.loaded(failing)
        assert models.get("y").status is ModelStatus.FAILED
        assert models.get("y").reason


async def test_without_a_worker_it_is_said_that_there_is_none(redis_url: str) -> None:
    """Neither a model's name nor a load is called wrong while nobody could know it."""
    async with gateway(redis_url) as models:
        with pytest.raises(WireError) as refused:
            models.require("m")
        assert (refused.value.code, refused.value.retryable) == (ErrorCode.MODEL_NOT_READY, True)
        load = models.begin_load("synthetic:", model_id=None, settings={}, admit=lambda: None)
        with pytest.raises(WireError) as refused:
            await models.loaded(load)
        assert refused.value.code is ErrorCode.MODEL_NOT_READY
        assert models.all() == []


async def test_a_dead_worker_takes_its_models_along(redis_url: str, link: RedisLink) -> None:
    """When its lease ends its models are away, which is told as something that may pass."""
    async with worker(redis_url) as one, gateway(redis_url) as models:
        await one.core.ready("synthetic:?slots=2")
        await eventually(lambda: is_ready(models, "m", 2))
        one.life.cancel()  # as by kill -9: it takes no leave
        await asyncio.wait({one.life})
        await link.command("ZADD", KEYS[1], 1, one.node)  # and its lease is over
        await eventually(lambda: models.get("m").is_away)
        with pytest.raises(WireError) as refused:
            models.require("m")
        assert (refused.value.code, refused.value.retryable) == (ErrorCode.MODEL_NOT_READY, True)
        with pytest.raises(WireError):
            await models.count_tokens("m", text="one")


async def test_an_emptied_redis_is_filled_again(redis_url: str, link: RedisLink) -> None:
    """Workers tell all again, and gateways lose no model meanwhile."""
    async with worker(redis_url) as one, gateway(redis_url) as models:
        await one.core.ready("synthetic:?slots=2")
        await eventually(lambda: is_ready(models, "m", 2))
        for key in KEYS:
            await link.command("DEL", key)
        await one.core.ready("synthetic:?slots=1", "n")  # a change: told as a whole
        await eventually(lambda: is_ready(models, "n", 1))
        assert models.get("m").is_ready


async def test_lost_letters_are_sent_again(redis_url: str, link: RedisLink) -> None:
    """A call whose letter or answer is lost is answered all the same, and done once."""
    done: list[bytes] = []

    async def handle(body: bytes) -> bytes:
        done.append(body)
        return body.upper()

    served, asking = RedisCalls(link, "nod_b", handle), RedisCalls(link, "nod_a")
    await asking.start()
    call = asyncio.create_task(asking.call("nod_b", b"hello", 20.0))
    box = "wsserver:{n:nod_b}:box"
    while not await link.command("LLEN", box):  # noqa: ASYNC110 - a key tells nobody
        await asyncio.sleep(0.01)
    await link.command("DEL", box)
    await served.start()
    assert await call == b"HELLO"
    assert done == [b"hello"]
    with pytest.raises(NoAnswer):
        await asking.call("nod_nobody", b"", 0.2)
    await served.close()
    await asking.close()


async def test_what_is_started_again_listens_once(redis_url: str, link: RedisLink) -> None:
    """Whoever starts several things begins all of them again when one of them found no Redis."""
    calls = RedisCalls(link, new_id("nod"))
    fleet = RedisFleet(link, calls)
    before = asyncio.all_tasks()
    for started in (calls, fleet):
        await asyncio.gather(started.start(), started.start())
        await started.start()
    began = [task.get_coro().__qualname__ for task in asyncio.all_tasks() - before]  # type: ignore[union-attr]  # all are coroutines
    assert sorted(name for name in began if name.endswith("_look")) == [
        "RedisCalls._look",
        "RedisFleet._look",
    ]
    await fleet.close()
    await calls.close()
