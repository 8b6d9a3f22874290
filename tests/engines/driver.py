"""Drives one engine host in a test: starts jobs, records what comes, waits for it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from wsserver.core.engine import (
    ChatMessage,
    Delta,
    EngineDied,
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    LoadProgress,
    ModelInfo,
    ModelSpec,
    Output,
    Prefilled,
    Sampling,
)
from wsserver.engines.host import ChildHost, Timing


@dataclass(frozen=True)
class Result:
    """What became of a job."""

    outputs: tuple[Output, ...]

    @property
    def deltas(self) -> list[Delta]:
        """The pieces of text."""
        return [output for output in self.outputs if isinstance(output, Delta)]

    @property
    def prefills(self) -> list[Prefilled]:
        """The steps of the prompt."""
        return [output for output in self.outputs if isinstance(output, Prefilled)]

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(delta.text for delta in self.deltas)

    @property
    def tokens(self) -> int:
        """Tokens of the answer."""
        return sum(delta.tokens for delta in self.deltas)

    @property
    def end(self) -> Finished | Failed:
        """The one end."""
        ends = [output for output in self.outputs if isinstance(output, Finished | Failed)]
        assert len(ends) == 1, ends
        assert self.outputs[-1] is ends[0]
        return ends[0]

    @property
    def reason(self) -> FinishReason:
        """Why it ended in order."""
        assert isinstance(self.end, Finished), self.end
        return self.end.reason

    @property
    def failure(self) -> Failed:
        """Why it failed."""
        assert isinstance(self.end, Failed), self.end
        return self.end


class Driver:
    """One host and all that it said."""

    def __init__(self, spec: ModelSpec, timing: Timing | None = None) -> None:
        self.host = ChildHost(spec, self._take, self._take_exit, timing)
        self.exits: list[EngineDied] = []
        self.progress: list[LoadProgress] = []
        self.info: ModelInfo | None = None
        self._outputs: dict[str, list[Output]] = defaultdict(list)
        self._news = asyncio.Event()

    def _take_exit(self, died: EngineDied) -> None:
        self.exits.append(died)
        self._news.set()

    def _take(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            self._outputs[output.job_id].append(output)
        self._news.set()

    def _take_progress(self, progress: LoadProgress) -> None:
        self.progress.append(progress)
        self._news.set()

    async def load(self) -> ModelInfo:
        """Load the model."""
        self.info = await self.host.load(self._take_progress)
        return self.info

    def start(self, job_id: str, prompt: str = "hello there", **fields: Any) -> None:
        """Begin a job; greedy unless ``sampling`` is given."""
        fields.setdefault("sampling", Sampling(temperature=0.0))
        if "raw" not in fields:
            fields.setdefault("messages", (ChatMessage(role="user", content=prompt),))
        self.host.start(EngineJob(job_id=job_id, **fields))

    async def run(self, job_id: str, prompt: str = "hello there", **fields: Any) -> Result:
        """Begin a job and wait for its end."""
        self.start(job_id, prompt, **fields)
        return await self.ended(job_id)

    async def ended(self, job_id: str) -> Result:
        """Wait for a job's end."""
        await self.until(job_id, _has_ended)
        return self.so_far(job_id)

    async def until(self, job_id: str, condition: Callable[[Result], bool]) -> None:
        """Wait until what came for a job meets the condition; an error if it ends before."""

        def is_met() -> bool:
            result = self.so_far(job_id)
            is_met = condition(result)
            assert is_met or not _has_ended(result), result.outputs[-1]
            return is_met

        await self.wait_for(is_met)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something came that meets the condition."""
        while not condition():
            self._news.clear()
            await self._news.wait()

    def so_far(self, job_id: str) -> Result:
        """What came for a job until now."""
        return Result(tuple(self._outputs[job_id]))


def _has_ended(result: Result) -> bool:
    return bool(result.outputs) and isinstance(result.outputs[-1], Finished | Failed)


@asynccontextmanager
async def running(spec: ModelSpec, timing: Timing | None = None) -> AsyncIterator[Driver]:
    """A driver with its model loaded, closed in the end."""
    driver = Driver(spec, timing)
    try:
        await driver.load()
        yield driver
    finally:
        await driver.host.close()
