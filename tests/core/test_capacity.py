"""What fits beside what, and who makes place: over real loads on virtual time."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_runner import counted
from tests.support.core import Core
from tests.support.virtual_time import pass_time, until, virtual
from wsserver.core.engine import ModelLoadError
from wsserver.core.models import Bounds, LoadCancelled, Placement
from wsserver.core.models.capacity import (
    MEMORY,
    MODELS,
    Capacity,
    NoPlace,
    room_needed,
    sized,
)
from wsserver.core.models.model import Model, ModelStatus
from wsserver.core.models.sources import ModelSource, SourcePolicy
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import StopReason

GIB = 1 << 30
ENDLESS = "synthetic:?tps=10&ttft_ms=0&slots=1"


@virtual
async def test_what_does_not_fit_is_refused_with_figures() -> None:
    """The refusal says what is needed and what is free; what runs is not disturbed."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    await core.ready(ENDLESS, "first", size=7 * GIB)
    answer = core.answers.submit(core.ask(model="first", max_tokens=50))
    second = core.load(ENDLESS, "second", size=4 * GIB)
    with pytest.raises(ModelLoadError) as refused:
        await core.models.loaded(second)
    assert "needs about 4.0 GiB of memory; 3.0 GiB of 10.0 GiB are free" in str(refused.value)
    assert (second.status, second.reason) == (ModelStatus.FAILED, str(refused.value))
    await core.ended(answer)
    assert answer.record.transcript.text == counted(50)
    await core.close()


@virtual
async def test_an_immediate_load_makes_place() -> None:
    """What stands in the way ends as `unloaded`, what waits there as `model_not_ready`."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    old = await core.ready(ENDLESS, "old", size=7 * GIB)
    running = core.answers.submit(core.ask(model="old", max_tokens=1000))
    waiting = core.answers.submit(core.ask(model="old", max_tokens=1000))
    await pass_time(1)
    new = core.load(ENDLESS, "new", size=4 * GIB, makes_place=True)
    await core.models.loaded(new)
    assert (old.status, new.status) == (ModelStatus.UNLOADED, ModelStatus.READY)
    assert old.room == {}
    assert running.record.ending is not None
    assert waiting.record.ending is not None
    assert running.record.ending.stop_reason is StopReason.UNLOADED
    assert (waiting.record.ending.code, waiting.record.ending.retryable) == (
        ErrorCode.MODEL_NOT_READY,
        True,
    )
    await core.close()


@virtual
async def test_place_is_there_before_the_load_begins() -> None:
    """The engine of an immediate load starts only when the one before it has ended."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    old = await core.ready(ENDLESS, "old", size=7 * GIB)
    new = core.load(ENDLESS, "new", size=4 * GIB, makes_place=True)
    stages: list[tuple[str, bool]] = []
    new.progress_sinks.add(lambda told: stages.append((told.stage, old.is_idle)))
    await core.models.loaded(new)
    assert stages[0] == ("making_place", False)
    assert all(is_gone for stage, is_gone in stages if stage != "making_place")
    await core.close()


@virtual
async def test_the_longest_unused_goes_first() -> None:
    """Of three that would do, the one goes that nobody uses and was used longest ago."""
    core = Core(bounds=Bounds(memory=9 * GIB))
    for name in ("busy", "older", "newer"):
        await core.ready(ENDLESS, name, size=3 * GIB)
        await pass_time(1)
    answer = core.answers.submit(core.ask(model="older", max_tokens=1))
    await core.ended(answer)
    await pass_time(1)
    core.models.require("newer")
    running = core.answers.submit(core.ask(model="busy", max_tokens=40))
    await pass_time(1)
    await core.models.loaded(core.load(ENDLESS, "new", size=3 * GIB, makes_place=True))
    loaded = [model.id for model in core.models.all() if model.is_ready]
    assert loaded == ["busy", "newer", "new"]
    await core.ended(running)
    assert running.record.transcript.text == counted(40)
    await core.close()


@virtual
async def test_no_client_talks_a_model_small() -> None:
    """`memory` in a client's load counts where it is more than the estimate, and not below it."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    core.sizes["m"] = 8 * GIB
    for said, counted_with in ((GIB, 8 * GIB), (9 * GIB, 9 * GIB)):
        model = core.models.begin_load(
            "synthetic:?tps=7", model_id="m", settings={"memory": said}, admit=lambda: None
        )
        await core.models.loaded(model)
        assert model.room["memory"] == counted_with
        core.models.begin_unload(model, force=True)
        await core.models.unloaded(model)
    await core.close()


@virtual
async def test_no_more_goes_than_must() -> None:
    """A small model that was taken first stays where a large one alone is enough."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    await core.ready(ENDLESS, "small", size=GIB)
    await pass_time(1)
    await core.ready(ENDLESS, "large", size=8 * GIB)
    await core.models.loaded(core.load(ENDLESS, "new", size=8 * GIB, makes_place=True))
    assert [model.id for model in core.models.all() if model.is_ready] == ["small", "new"]
    await core.close()


@virtual
async def test_place_under_the_number_of_models() -> None:
    """An immediate load also makes place where as many models are loaded as may be."""
    core = Core(bounds=Bounds(models=1))
    old = await core.ready(ENDLESS, "old")
    new = core.models.begin_load(
        "synthetic:?tps=7", model_id="new", settings={}, admit=lambda: None, makes_place=True
    )
    await core.models.loaded(new)
    assert (old.status, new.status) == (ModelStatus.UNLOADED, ModelStatus.READY)
    await core.close()


@virtual
async def test_two_immediate_loads_do_not_take_turns() -> None:
    """The first to come gets the place; the second is refused and says why."""
    core = Core(bounds=Bounds(memory=10 * GIB, models=1))
    await core.ready(ENDLESS, "old", size=7 * GIB)
    slow = "synthetic:?load_ms=60000"
    first = core.load(slow, "first", size=7 * GIB, makes_place=True)
    second = core.load(slow, "second", size=7 * GIB, makes_place=True)
    with pytest.raises(ModelLoadError):
        await core.models.loaded(second)
    await core.models.loaded(first)
    assert first.is_ready
    await core.close()


@virtual
async def test_a_load_that_made_no_place_may_be_put_off() -> None:
    """A plain load is cancelled by an immediate one, as by an unload."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    plain = core.load("synthetic:?load_ms=60000", "plain", size=7 * GIB)
    follower = asyncio.create_task(core.models.loaded(plain))
    await pass_time(1)
    await core.models.loaded(core.load(ENDLESS, "new", size=7 * GIB, makes_place=True))
    with pytest.raises(LoadCancelled):
        await follower
    assert plain.status is ModelStatus.UNLOADED
    await core.close()


@virtual
async def test_what_can_never_fit_unloads_nothing() -> None:
    """A load larger than the bound is refused, also an immediate one, and all others stay."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    old = await core.ready(ENDLESS, "old", size=7 * GIB)
    new = core.load(ENDLESS, "new", size=11 * GIB, makes_place=True)
    with pytest.raises(ModelLoadError, match=r"about 11\.0 GiB.*may take 10\.0 GiB"):
        await core.models.loaded(new)
    assert old.is_ready
    await core.close()


@virtual
async def test_the_machines_memory_stops_no_model_that_is_alone() -> None:
    """Where nobody set the bound, one model alone is let try, and a second one is not."""
    core = Core(bounds=Bounds(memory=10 * GIB, is_machine=True))
    await core.ready(ENDLESS, "large", size=12 * GIB)
    with pytest.raises(ModelLoadError, match="0 bytes of 10"):
        await core.models.loaded(core.load(ENDLESS, "second", size=GIB))
    larger = core.load(ENDLESS, "larger", size=13 * GIB, makes_place=True)
    await core.models.loaded(larger)
    assert [model.id for model in core.models.all() if model.is_ready] == ["larger"]
    absurd = core.load(ENDLESS, "absurd", size=21 * GIB, makes_place=True)
    with pytest.raises(ModelLoadError, match=r"about 21\.0 GiB"):
        await core.models.loaded(absurd)
    assert larger.is_ready
    await core.close()


@virtual
async def test_a_failed_load_gives_its_room_back() -> None:
    """After a load that failed, another one finds all of the memory."""
    core = Core(bounds=Bounds(memory=10 * GIB))
    broken = core.load("synthetic:?no=1", "broken", size=7 * GIB)
    with pytest.raises(ModelLoadError, match="no key"):
        await core.models.loaded(broken)
    await core.ready(ENDLESS, "next", size=7 * GIB)
    await core.close()


@virtual
async def test_an_unload_goes_on_without_its_asker() -> None:
    """Who asked for an unload may go: it ends all the same."""
    core = Core()
    model = await core.ready(ENDLESS)
    answer = core.submit(max_tokens=30)
    await pass_time(1)
    core.models.begin_unload(model, force=False)
    asker = asyncio.create_task(core.models.unloaded(model))
    await pass_time(0.1)
    asker.cancel()
    await core.ended(answer)
    await until(lambda: model.status is ModelStatus.UNLOADED)
    assert answer.record.transcript.text == counted(30)
    await core.close()


def test_room_is_split_over_the_gpus_of_each_replica() -> None:
    """GPUs take their shares of each replica; a replica without any takes the host's memory."""
    assert room_needed(90, [(0, 1), (1, 2)], (2, 1)) == {
        MODELS: 1,
        "memory of GPU 0": 60,
        "memory of GPU 1": 90,
        "memory of GPU 2": 30,
    }
    assert room_needed(90, [(), ()], ()) == {MODELS: 1, MEMORY: 180}


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0 bytes"), (1536, "1.5 KiB"), (5 << 40, "5.0 TiB")]
)
def test_sizes_in_words(amount: int, words: str) -> None:
    """Bytes are told in the unit that people use for so many."""
    assert sized(amount) == words


POLICY = SourcePolicy(
    models_dir=None, allowed_schemes=frozenset(), choose_engine=lambda source: None
)


def loaded_model(name: str, size: int, used_at: float) -> Model:
    """A model that holds room, without an engine."""
    spec = POLICY.spec(ModelSource(name, "x", "none"), name)
    model = Model(spec, description=None, is_default=False, placement=Placement())
    model.status, model.used_at = ModelStatus.READY, used_at
    model.room = {MODELS: 1, MEMORY: size}
    return model


@given(
    sizes=st.lists(st.integers(0, 6), max_size=7),
    need=st.integers(1, 12),
    most=st.integers(1, 7),
)
def test_the_fewest_go_that_must(sizes: list[int], need: int, most: int) -> None:
    """Whatever is loaded: after place was made the load fits, and each that went was needed."""
    models = [loaded_model(str(number), size, number) for number, size in enumerate(sizes)]
    bounds = Bounds(models=most, memory=10)
    capacity = Capacity(lambda: models, bounds)
    new = loaded_model("new", 0, 99)
    room = {MODELS: 1, MEMORY: need}

    def fits(staying: list[Model]) -> bool:
        held = sum(model.room[MEMORY] for model in staying)
        return held + need <= 10 and len(staying) < most

    try:
        going = capacity.take(new, room, makes_place=True)
    except NoPlace:
        assert need > 10
        return
    staying = [model for model in models if model not in going]
    assert fits(staying)
    assert not any(fits([*staying, one]) for one in going)
