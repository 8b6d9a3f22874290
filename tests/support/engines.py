"""The synthetic engine in the test's own loop, on the loop's clock: an engine without a process.

It stands where an engine's child process would: the same engine, driven by timers in place of a
socket, so that core is tested against real outputs on virtual time. A test may let it die.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wsserver.core.engine import (
    ChatMessage,
    Delta,
    EngineDied,
    EngineHost,
    EngineJob,
    ExitSink,
    Failed,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelLoadError,
    ModelSpec,
    Output,
    OutputSink,
    Prefilled,
    ProgressSink,
)
from wsserver.engines.contract import JobRefused
from wsserver.engines.synthetic import SyntheticEngine, count_words, read_settings


class LocalHost:
    """An `wsserver.core.engine.EngineHost` without a process."""

    def __init__(self, spec: ModelSpec, on_outputs: OutputSink, on_exit: ExitSink) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine = SyntheticEngine(clock=self._loop.time, sleep=lambda seconds: None)
        self._spec = spec
        self._on_outputs = on_outputs
        self._on_exit = on_exit
        self._timer: asyncio.TimerHandle | None = None
        self._is_gone = False
        self.started: list[str] = []  # job ids, in order
        self.cancelled: list[str] = []

    @property
    def pid(self) -> int | None:
        """There is no process."""
        return None

    async def load(self, progress: ProgressSink) -> ModelInfo:
        """Take as long as the settings say."""
        settings = read_settings(self._spec)
        progress(LoadProgress("loading", 0.0))
        await asyncio.sleep(settings.load_ms / 1000)  # the load itself
        if self._is_gone:
            raise ModelLoadError("it died while it loaded")
        return self._engine.load(self._spec, progress)

    def start(self, job: EngineJob) -> None:
        """Begin a job."""
        self.started.append(job.job_id)
        try:
            self._engine.start(job)
        except JobRefused as refused:
            failed = Failed(job.job_id, refused.code, str(refused), refused.retryable)
            self._loop.call_soon(self._on_outputs, [failed])
        self._plan()

    def cancel(self, job_id: str) -> None:
        """End a job at the next step."""
        self.cancelled.append(job_id)
        self._engine.cancel(job_id)
        self._plan()

    async def count_tokens(
        self, *, messages: Sequence[ChatMessage] | None = None, text: str | None = None
    ) -> int:
        """Count words."""
        return count_words(messages, text)

    async def close(self, grace: float = 5.0) -> None:
        """Make no more outputs."""
        self._is_gone = True
        if self._timer is not None:
            self._timer.cancel()

    def die(self) -> None:
        """End as a killed child does: no output follows."""
        self._is_gone = True
        if self._timer is not None:
            self._timer.cancel()
        self._on_exit(EngineDied("the engine was killed by a test"))

    def fail(self, failed: Failed) -> None:
        """End a job as an engine does that can't make it."""
        self._engine.cancel(failed.job_id)
        self._engine.step()
        self._on_outputs([failed])

    def _plan(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self._engine.next_due()
        if due is not None and not self._is_gone:
            self._timer = self._loop.call_later(due, self._step)

    def _step(self) -> None:
        made = self._engine.step()
        outputs: list[Output] = [
            output for output in made if isinstance(output, Prefilled | Delta | Finished | Failed)
        ]
        if outputs:
            self._on_outputs(outputs)
        self._plan()


class LocalEngines:
    """An `wsserver.core.engine.EngineFactory` that keeps the hosts it made."""

    def __init__(self) -> None:
        self.hosts: list[LocalHost] = []

    def __call__(self, spec: ModelSpec, on_outputs: OutputSink, on_exit: ExitSink) -> EngineHost:
        self.hosts.append(LocalHost(spec, on_outputs, on_exit))
        return self.hosts[-1]

    @property
    def last(self) -> LocalHost:
        """The host that was made last."""
        return self.hosts[-1]
