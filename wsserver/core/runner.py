"""One replica of a model: an engine child, the answers it is making, and their next life.

The runner claims work while the engine has free slots (nothing ever queues inside an engine),
writes what the engine makes into the stream log under its claim's fence, and when the child dies
starts a new one and goes on with each answer from the text it had. It is the only writer of a
running answer and the only one who talks to the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from wsserver.core.engine import (
    Delta,
    EngineDied,
    EngineError,
    EngineFactory,
    EngineHost,
    EngineJob,
    Failed,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelLoadError,
    ModelSpec,
    Output,
    Prefilled,
)
from wsserver.core.fairness import ANSWER_WEIGHT
from wsserver.core.jobs import AnswerKeeper, Job, WorkQueue
from wsserver.core.restarts import RestartPolicy
from wsserver.core.run import Run, ending_of, failure_of
from wsserver.core.streams import Claim, Ending, Fenced, RunnerLog, StreamRecord
from wsserver.core.taking import Taker
from wsserver.core.telemetry import Telemetry
from wsserver_protocol.errors import ErrorCode
from wsserver_protocol.lifecycle import FinishReason


class Runner:
    """Drives one engine child for one model.

    Args:
        spec: What to load.
        factory: Makes the engine's host; called again for each restart.
        queue: Where work comes from.
        log: Where text goes.
        keeper: Told of each answer that begins and ends here.
        on_ready: Called at each successful load.
        on_progress: Called while loading.
        telemetry: Told of tokens, waits and restarts.
    """

    def __init__(
        self,
        spec: ModelSpec,
        *,
        factory: EngineFactory,
        queue: WorkQueue,
        log: RunnerLog,
        keeper: AnswerKeeper,
        on_ready: Callable[[ModelInfo], None],
        on_progress: Callable[[LoadProgress], None],
        telemetry: Telemetry,
        restarts: RestartPolicy | None = None,
    ) -> None:
        self.spec = spec
        self._factory = factory
        self._queue = queue
        self._log = log
        self._keeper = keeper
        self._taker = Taker(spec.id, queue, log, keeper)
        self._on_ready = on_ready
        self._on_progress = on_progress
        self._telemetry = telemetry
        self._restarts = restarts or RestartPolicy()
        self._host: EngineHost | None = None
        self._info: ModelInfo | None = None
        self._runs: dict[str, Run] = {}
        self._bell = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._died: asyncio.Future[EngineDied] | None = None
        self._admitting = True
        self._has_served = False
        self._crashes = 0
        self._ready_at = 0.0  # when the present child had loaded

    @property
    def host(self) -> EngineHost | None:
        """The loaded engine's host, None while there is none."""
        return self._host if self._info is not None else None

    @property
    def slots(self) -> int:
        """Jobs at once; 0 while nothing is loaded."""
        return self._info.slots if self._info is not None else 0

    @property
    def busy(self) -> int:
        """Slots in use."""
        return len(self._runs) + self._taker.in_hand

    async def run(self) -> None:
        """Load, serve, and start again after each crash, until cancelled.

        Raises:
            ModelLoadError: If the first load fails, or the engine keeps dying.
        """
        unsubscribe = self._queue.subscribe(self.spec.id, self._bell.set)
        try:
            while True:
                try:
                    died: EngineError = await self._serve()
                except ModelLoadError as error:
                    if not self._has_served:
                        raise
                    died = error  # it did load before: whatever kills it may be over the next time
                self._requeue()
                lived = asyncio.get_running_loop().time() - self._ready_at
                self._crashes = 1 if lived > self._restarts.stable_seconds else self._crashes + 1
                if self._crashes > self._restarts.max_crashes:
                    raise ModelLoadError(f"the engine died {self._crashes} times in a row: {died}")
                self._telemetry.engine_restarted(self.spec.id)
                await asyncio.sleep(self._restarts.delay(self._crashes))
        finally:
            unsubscribe()

    def stop(self, stream_id: str) -> bool:
        """End a running answer at the engine's next step. False if it does not run here."""
        if stream_id not in self._runs:
            return False
        if self._host is not None:
            self._host.cancel(stream_id)
        return True

    def admit_nothing(self) -> None:
        """Claim nothing more."""
        self._admitting = False

    async def drained(self) -> None:
        """Claim nothing more, and wait until the running answers have ended."""
        self.admit_nothing()
        await self._idle.wait()

    def running(self) -> list[StreamRecord]:
        """The answers in slots."""
        return [run.record for run in self._runs.values()]

    async def _serve(self) -> EngineDied:
        """One child's life. Returns how it died."""
        self._died = asyncio.get_running_loop().create_future()
        host = self._factory(self.spec, self._on_outputs, self._on_exit)
        self._host = host
        try:
            self._info = await host.load(self._on_progress)
            self._ready_at = asyncio.get_running_loop().time()
            self._has_served = True
            self._on_ready(self._info)
            claiming = asyncio.create_task(self._claim_work(host, self._info.slots))
            died = self._died
            ends: set[asyncio.Future[Any]] = {claiming, died}
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if claiming.done():
                    claiming.result()  # only ever ends by an exception: let it out
                return died.result()
            finally:
                claiming.cancel()
                await asyncio.wait({claiming})
        finally:
            self._info = None
            self._host = None
            await host.close()

    async def _claim_work(self, host: EngineHost, slots: int) -> None:
        self._bell.set()
        while True:
            await self._bell.wait()
            self._bell.clear()
            while self._admitting and len(self._runs) < slots:
                self._settle_charges()
                taken = await self._taker.next()
                if taken is None:
                    break
                self._begin(host, *taken)

    def _begin(self, host: EngineHost, job: Job, record: StreamRecord, claim: Claim) -> None:
        self._keeper.claimed(job, record)
        loop = asyncio.get_running_loop()
        run = Run(job, record, claim.fence, len(claim.text.encode()), claim.tokens)
        self._runs[job.stream_id] = run
        self._idle.clear()
        self._telemetry.queue_waited(self.spec.id, loop.time() - record.accepted_at)
        if record.cancel is not None:  # asked for while the claim was on its way
            self._end(run, record.cancel)
            return
        left = job.max_tokens - claim.tokens
        if left <= 0:  # a failover that lost nothing but the end
            self._end(run, Ending.complete(FinishReason.LENGTH))
            return
        host.start(
            EngineJob(
                job_id=job.stream_id,
                messages=job.messages,
                raw=job.raw,
                prior=job.prior + claim.text,
                prior_tokens=claim.tokens,
                max_tokens=left,
                sampling=job.sampling,
            )
        )

    def _on_outputs(self, outputs: Sequence[Output]) -> None:
        runs = self._runs
        append = self._log.append
        tokens = 0
        for output in outputs:
            run = runs.get(output.job_id)
            if run is None:
                continue  # fenced off meanwhile
            if type(output) is Delta:
                tokens += output.tokens
                run.uncharged += output.tokens * ANSWER_WEIGHT
                first = run.record.first_token_at is None
                try:
                    run.offset = append(
                        output.job_id,
                        run.fence,
                        run.offset,
                        output.text,
                        output.tokens,
                        output.logprobs,
                    )
                except Fenced:
                    self._abandon(run)
                    continue
                if first:
                    self._note_first_token(run.record)
            else:
                self._on_event(run, output)
        if tokens:
            self._telemetry.completion_tokens(self.spec.id, tokens)

    def _on_event(self, run: Run, output: Output) -> None:
        record = run.record
        match output:
            case Prefilled(total=total, cached=cached):
                record.prompt_tokens, record.cached_tokens = total - run.prior_tokens, cached
                run.charge_prompt(total)
            case Finished(prompt_tokens=prompt, cached_tokens=cached):
                record.prompt_tokens, record.cached_tokens = prompt - run.prior_tokens, cached
                run.charge_prompt(prompt)
                self._telemetry.prompt_tokens(self.spec.id, prompt - cached)
                self._crashes = 0
                self._end(run, ending_of(record, output))
            case Failed():
                self._end(run, record.cancel or failure_of(output))

    def _note_first_token(self, record: StreamRecord) -> None:
        if record.first_token_at is not None:
            self._telemetry.first_token(record.model_id, record.first_token_at - record.accepted_at)

    def _end(self, run: Run, ending: Ending) -> None:
        self._free(run)
        self._queue.done(self.spec.id, run.job.owner, run.job.stream_id)
        self._keeper.close(run.record, run.fence, ending)

    def _abandon(self, run: Run) -> None:
        self._free(run)
        self._queue.abandon(self.spec.id, run.job.owner, run.job.stream_id)
        if self._host is not None:
            self._host.cancel(run.job.stream_id)

    def _settle_charges(self) -> None:
        """Tell the queue what was used: before it is asked who is next, not at each token."""
        for run in self._runs.values():
            if run.uncharged:
                self._queue.charge(self.spec.id, run.job.owner, run.uncharged)
                run.uncharged = 0.0

    def _free(self, run: Run) -> None:
        self._settle_charges()
        del self._runs[run.job.stream_id]
        if not self._runs:
            self._idle.set()
        self._bell.set()

    def _on_exit(self, died: EngineDied) -> None:
        self._info = None  # no slot of a dead child is free
        if self._died is not None and not self._died.done():
            self._died.set_result(died)

    def _requeue(self) -> None:
        """Give every running answer back to the queue, at its head, with the text it had."""
        for run in reversed(self._runs.copy().values()):
            record = run.record
            if record.cancel is not None:
                self._end(run, record.cancel)
            elif record.attempts + 1 >= self._restarts.max_attempts:
                self._end(
                    run,
                    Ending.error(
                        ErrorCode.GENERATION_FAILED,
                        f"The engine died {record.attempts + 1} times while making this answer.",
                        retryable=True,
                    ),
                )
            else:
                self._give_back(run)

    def hand_over(self) -> None:
        """Give every running answer back to the queue, for another process to go on with."""
        self._admitting = False
        for run in reversed(self._runs.copy().values()):
            if run.record.cancel is not None:
                self._end(run, run.record.cancel)
                continue
            if self._host is not None:
                self._host.cancel(run.job.stream_id)
            self._give_back(run)

    def _give_back(self, run: Run) -> None:
        self._free(run)
        self._keeper.released(run.job)
        self._taker.put_back(run.job, run.record, run.fence)

    def give_up(self, ending: Ending) -> None:
        """End every answer still here; for a replica that will not come back."""
        for run in list(self._runs.values()):
            self._end(run, run.record.cancel or ending)
