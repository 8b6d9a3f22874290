"""What every engine must do, run against each through its real host and child process.

A suite for one engine derives from `EngineContract` and gives a `Case`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engines.driver import Driver, Result, running
from wsserver.core.engine import (
    ChatMessage,
    Delta,
    EngineDied,
    FinishReason,
    ModelLoadError,
    ModelSpec,
    Sampling,
)

ENDLESS = 1_000_000
LONG_PROMPT = "fox " * 1500


@dataclass(frozen=True)
class Case:
    """One engine under test. Its answers are endless and known."""

    spec: Callable[..., ModelSpec]  # keyword arguments are settings
    answer: Callable[[int], str]  # the text of so many tokens
    stop: str  # a stop string of two tokens in the answer, complete with token 5
    half_stop: str  # begins with the answer's token 5, and never completes
    unsupported: dict[str, Any]  # sampling options that the engine must refuse
    slow_prefill: dict[str, Any]  # settings for a prompt that takes some steps
    broken: ModelSpec  # does not load
    broken_reason: str  # part of why


def is_running(pid: int) -> bool:
    """Whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def has_text(result: Result) -> bool:
    """Whether an answer has begun."""
    return any(delta.text for delta in result.deltas)


class EngineContract:
    """The suite."""

    @pytest.fixture
    def case(self) -> Case:
        """The engine under test."""
        raise NotImplementedError

    async def test_answer_streams_in_pieces(self, case: Case) -> None:
        """Progress of the prompt, then pieces whose tokens add up, then one end with the usage."""
        async with running(case.spec()) as driver:
            result = await driver.run("a", max_tokens=12)
            assert result.text == case.answer(12)
            assert result.tokens == 12
            assert len(result.deltas) > 1
            assert result.reason is FinishReason.LENGTH
            assert result.prefills[-1].done == result.prefills[-1].total
            assert not isinstance(result.outputs[0], Delta)

    async def test_usage_agrees_with_the_count_of_the_same_messages(self, case: Case) -> None:
        """A prompt's tokens are those that counting it told."""
        async with running(case.spec()) as driver:
            messages = (
                ChatMessage(role="system", content="be quick"),
                ChatMessage(role="user", content="where is the fox"),
            )
            counted = await driver.host.count_tokens(messages=messages)
            result = await driver.run("a", messages=messages, max_tokens=1)
            assert result.reason is FinishReason.LENGTH
            assert getattr(result.end, "prompt_tokens", None) == counted
            assert counted >= 6

    async def test_text_is_counted_without_a_template(self, case: Case) -> None:
        """Bare text has the tokens of its words."""
        async with running(case.spec()) as driver:
            assert await driver.host.count_tokens(text="the quick brown fox") == 4
            assert await driver.host.count_tokens(text="") == 0

    async def test_raw_prompt_answers(self, case: Case) -> None:
        """A prompt without a template answers, too."""
        async with running(case.spec()) as driver:
            result = await driver.run("a", raw="story", max_tokens=4)
            assert result.tokens == 4

    async def test_answer_goes_on_from_what_it_had(self, case: Case) -> None:
        """Fed the beginning of its answer, the engine goes on after it, byte for byte."""
        async with running(case.spec()) as driver:
            for had in (1, 7, 18):
                prior = case.answer(had)
                result = await driver.run(
                    f"from {had}", prior=prior, prior_tokens=had, max_tokens=24 - had
                )
                assert prior + result.text == case.answer(24)
                assert result.tokens == 24 - had

    async def test_two_answers_run_at_once(self, case: Case) -> None:
        """One answer comes to its end while another goes on."""
        async with running(case.spec(slots=2)) as driver:
            driver.start("long", max_tokens=ENDLESS)
            await driver.until("long", has_text)
            short = await driver.run("short", max_tokens=10)
            assert short.text == case.answer(10)
            driver.host.cancel("long")
            assert (await driver.ended("long")).reason is FinishReason.CANCELLED

    async def test_cancel_while_decoding_frees_the_slot(self, case: Case) -> None:
        """A cancelled answer keeps what it had, and the only slot serves the next."""
        async with running(case.spec(slots=1)) as driver:
            driver.start("a", max_tokens=ENDLESS)
            await driver.until("a", has_text)
            driver.host.cancel("a")
            result = await driver.ended("a")
            assert result.reason is FinishReason.CANCELLED
            assert result.text == case.answer(result.tokens)
            assert (await driver.run("b", max_tokens=3)).text == case.answer(3)

    async def test_cancel_while_prefilling_frees_the_slot(self, case: Case) -> None:
        """A prompt half processed is dropped, and the only slot serves the next."""
        async with running(case.spec(slots=1, **case.slow_prefill)) as driver:
            driver.start("a", LONG_PROMPT, max_tokens=ENDLESS)
            await driver.until("a", lambda result: any(p.done for p in result.prefills))
            driver.host.cancel("a")
            result = await driver.ended("a")
            assert result.reason is FinishReason.CANCELLED
            assert result.deltas == []
            assert result.prefills[-1].done < result.prefills[-1].total
            assert (await driver.run("b", max_tokens=3)).text == case.answer(3)

    async def test_cancel_at_once_after_the_start(self, case: Case) -> None:
        """A cancel that overtakes the first step still ends the job, once."""
        async with running(case.spec(slots=1)) as driver:
            for attempt in range(20):
                driver.start(f"job {attempt}", max_tokens=ENDLESS)
                driver.host.cancel(f"job {attempt}")
                result = await driver.ended(f"job {attempt}")
                assert result.reason is FinishReason.CANCELLED
            assert (await driver.run("b", max_tokens=3)).text == case.answer(3)

    async def test_cancel_of_an_unknown_or_ended_job_is_ignored(self, case: Case) -> None:
        """A cancel that comes too late, twice or for nobody does nothing."""
        async with running(case.spec()) as driver:
            driver.host.cancel("nobody")
            assert (await driver.run("a", max_tokens=2)).reason is FinishReason.LENGTH
            driver.host.cancel("a")
            driver.host.cancel("a")
            assert (await driver.run("b", max_tokens=2)).reason is FinishReason.LENGTH
            assert driver.so_far("a").reason is FinishReason.LENGTH

    async def test_answer_ends_before_a_stop_string(self, case: Case) -> None:
        """A stop string ends the answer and not even its beginning shows."""
        async with running(case.spec()) as driver:
            sampling = Sampling(temperature=0.0, stop=("never said", case.stop))
            result = await driver.run("a", max_tokens=50, sampling=sampling)
            assert result.reason is FinishReason.STOP_STRING
            whole = case.answer(50)
            assert result.text == whole[: whole.index(case.stop)]

    async def test_half_a_stop_string_shows_in_the_end(self, case: Case) -> None:
        """What was kept back for a stop string that never came is given before the end."""
        async with running(case.spec()) as driver:
            sampling = Sampling(temperature=0.0, stop=(case.half_stop,))
            result = await driver.run("a", max_tokens=5, sampling=sampling)
            assert result.reason is FinishReason.LENGTH
            assert result.text == case.answer(5)
            assert result.tokens == 5

    async def test_full_context_ends_by_length(self, case: Case) -> None:
        """An answer that fills the context ends there, with all that fitted."""
        async with running(case.spec(ctx=256, slots=1)) as driver:
            assert driver.info is not None
            assert driver.info.context_length == 256
            result = await driver.run("a", max_tokens=ENDLESS)
            assert result.reason is FinishReason.LENGTH
            used = getattr(result.end, "prompt_tokens", 0) + result.tokens
            assert 250 <= used <= 256

    async def test_input_that_leaves_no_room_fails(self, case: Case) -> None:
        """A prompt over the context is refused with both numbers, and the engine goes on."""
        async with running(case.spec(ctx=256)) as driver:
            failure = (await driver.run("a", LONG_PROMPT)).failure
            assert failure.code == "context_length_exceeded"
            assert "256" in failure.message
            assert not failure.retryable
            assert (await driver.run("b", max_tokens=2)).tokens == 2

    async def test_unsupported_options_are_refused_by_name(self, case: Case) -> None:
        """What the engine can't honour it declares, and refuses without breaking."""
        async with running(case.spec()) as driver:
            assert driver.info is not None
            assert driver.info.unsupported_options == set(case.unsupported)
            for option, value in case.unsupported.items():
                sampling = Sampling(**{option: value})
                failure = (await driver.run(f"job {option}", sampling=sampling)).failure
                assert failure.code == "unsupported_option"
            assert (await driver.run("b", max_tokens=2)).tokens == 2

    async def test_hundred_starts_and_cancels_leave_all_slots_free(self, case: Case) -> None:
        """No order of starts and cancels loses a slot or an end."""
        async with running(case.spec(slots=2)) as driver:
            for attempt in range(100):
                job = f"job {attempt}"
                driver.start(job, max_tokens=ENDLESS)
                if attempt % 2:
                    await driver.until(job, has_text)
                driver.host.cancel(job)
                assert (await driver.ended(job)).reason is FinishReason.CANCELLED
            driver.start("a", max_tokens=4)
            driver.start("b", max_tokens=4)
            assert (await driver.ended("a")).text == case.answer(4)
            assert (await driver.ended("b")).text == case.answer(4)

    async def test_killed_child_is_told_once(self, case: Case) -> None:
        """After kill -9 the exit sink is called once and waiting counts fail."""
        async with running(case.spec()) as driver:
            driver.start("a", max_tokens=ENDLESS)
            await driver.until("a", has_text)
            pid = driver.host.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await driver.wait_for(lambda: bool(driver.exits))
            assert "SIGKILL" in str(driver.exits[0])
            assert driver.host.pid is None
            driver.start("b")
            driver.host.cancel("a")
            with pytest.raises(EngineDied):
                await driver.host.count_tokens(text="x")
        assert len(driver.exits) == 1

    async def test_close_ends_running_answers_and_the_process(self, case: Case) -> None:
        """A close while answers run ends the child quickly and is no death."""
        driver = Driver(case.spec(slots=2))
        await driver.load()
        pid = driver.host.pid
        assert pid is not None
        driver.start("a", max_tokens=ENDLESS)
        driver.start("b", max_tokens=ENDLESS)
        await driver.until("a", has_text)
        async with asyncio.timeout(4):
            await asyncio.gather(driver.host.close(), driver.host.close())
        assert not is_running(pid)
        assert driver.exits == []
        await driver.host.close()

    async def test_close_while_loading_ends_the_load(self, case: Case) -> None:
        """A load that is no longer wanted fails, and its process is gone."""
        driver = Driver(case.spec())
        load = asyncio.create_task(driver.load())
        await wait_for_loading(driver)
        pid = driver.host.pid
        assert pid is not None
        await driver.host.close()
        with pytest.raises(ModelLoadError):
            await load
        assert not is_running(pid)
        assert driver.exits == []

    async def test_cancelled_load_ends_its_process(self, case: Case) -> None:
        """Cancelling a load ends the child before the cancel returns."""
        driver = Driver(case.spec())
        load = asyncio.create_task(driver.load())
        await wait_for_loading(driver)
        pid = driver.host.pid
        assert pid is not None
        load.cancel()
        with pytest.raises(asyncio.CancelledError):
            await load
        assert not is_running(pid)

    async def test_failed_load_says_why(self, case: Case) -> None:
        """The engine's own reason reaches the caller, without a path of this host."""
        driver = Driver(case.broken)
        with pytest.raises(ModelLoadError) as caught:
            await driver.load()
        assert case.broken_reason in str(caught.value)
        assert "/" not in str(caught.value)
        assert driver.host.pid is None
        assert driver.exits == []

    async def test_unknown_setting_is_refused_by_name(self, case: Case) -> None:
        """A setting that the engine does not know fails the load."""
        driver = Driver(case.spec(slotz=3))
        with pytest.raises(ModelLoadError, match="slotz"):
            await driver.load()


async def wait_for_loading(driver: Driver) -> None:
    """Wait until the child loads its model."""
    await driver.wait_for(lambda: any(p.stage == "loading" for p in driver.progress))
