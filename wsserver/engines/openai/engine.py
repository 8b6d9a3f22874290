"""The openai engine: a model behind one or more OpenAI-compatible HTTP servers.

Decides how jobs meet the servers: an event loop in a thread of its own, a task per job. It knows
no HTTP (`wsserver.engines.openai.client`). The rules:

* Nothing queues here: a job is a request as soon as it starts. The server may queue it, and a
  cancel closes its connection there, too.
* A cancel cancels the job's task, wherever it is: connecting, waiting, reading or pausing.
* Each task gives one `Finished` or `Failed` when it is done, however it came to be.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections.abc import Coroutine
from typing import Any, Final

from wsserver.core.engine import (
    EngineJob,
    Failed,
    Finished,
    LoadProgress,
    ModelInfo,
    ModelSpec,
    RequestRefused,
)
from wsserver.engines.contract import EngineOutput, JobRefused, ProgressReport
from wsserver.engines.link import Count, Counted, CountRefused
from wsserver.engines.openai import counting
from wsserver.engines.openai.answer import Answer
from wsserver.engines.openai.attempts import Generation
from wsserver.engines.openai.client import Client
from wsserver.engines.openai.dialect import Counting, Dialect
from wsserver.engines.openai.endpoints import Breaker, Endpoint, Endpoints
from wsserver.engines.openai.loading import Served, dialects, explore
from wsserver.engines.openai.settings import OpenAiSettings, read_settings
from wsserver.engines.outbox import Outbox

_OPTIONS: Final = ("json_schema", "grammar", "regex", "logprobs", "tools")
_DRAIN_SECONDS: Final = 2.0


class OpenAiEngine:
    """Serves a remote model; an `wsserver.engines.contract.Engine`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http", daemon=True)
        self._client: Client | None = None
        self._endpoints = Endpoints(())
        self._generation: Generation | None = None
        self._counter: counting.Counter | None = None
        self._unsupported: frozenset[str] = frozenset()
        self._tasks: dict[str, asyncio.Task[Finished | Failed]] = {}  # the loop's thread only
        self._others: set[asyncio.Task[None]] = set()
        self._outbox: Outbox[EngineOutput] = Outbox()
        self._asked = self._answered = 0  # signs of life of the loop

    def load(self, spec: ModelSpec, report: ProgressReport) -> ModelInfo:
        """Ask the servers what they serve."""
        # What is worth a line goes to stderr, the server's log of this child.
        logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
        settings = read_settings(spec)
        report(LoadProgress("loading", 0.0))
        self._thread.start()
        served = self._wait_for(self._connect(settings))
        kinds = dialects(served)
        self._endpoints = Endpoints(
            [
                Endpoint(url, kind, _breaker(settings))
                for url, kind in zip(settings.endpoints, kinds, strict=True)
            ]
        )
        for endpoint, found in zip(self._endpoints.all, served.found, strict=True):
            if found is None:
                endpoint.breaker.open()
        assert self._client is not None
        self._counter = counting.Counter(self._client, served.model)
        self._generation = Generation(
            settings, served.model, served.context, self._endpoints, self._client
        )
        self._unsupported = settings.unsupported.union(*(kind.unsupported for kind in kinds))
        return _describe(settings, served, kinds, self._unsupported)

    async def _connect(self, settings: OpenAiSettings) -> Served:
        self._client = Client(settings)
        return await explore(settings, self._client)

    def start(self, job: EngineJob) -> None:
        """Hand the job to the loop's thread."""
        for option in self._unsupported:
            if getattr(job.sampling, option) not in (None, ()):
                raise JobRefused("unsupported_option", f"this model's server has no {option}")
        self._loop.call_soon_threadsafe(self._begin, job)

    def cancel(self, job_id: str) -> None:
        """Cancel the job's task."""
        self._loop.call_soon_threadsafe(self._cancel, job_id)

    def count(self, request: Count) -> None:
        """Count in the loop's thread."""
        self._loop.call_soon_threadsafe(self._begin_count, request)

    def next_due(self) -> float | None:
        """None: the wake-up comes from the thread."""
        return None

    def wake_fd(self) -> int | None:
        """Readable when the thread has put an output."""
        return self._outbox.fileno()

    def step(self) -> list[EngineOutput]:
        """What the thread has put."""
        return self._outbox.take()

    def has_moved(self) -> bool:
        """Whether the thread's loop turned since the last look.

        A server that is silent is no fault of this process: time limits of the jobs end that.
        """
        is_alive = self._answered == self._asked
        if is_alive:
            self._asked += 1
            self._loop.call_soon_threadsafe(self._answer_ping, self._asked)
        return is_alive

    def close(self) -> None:
        """Close all connections."""
        if self._client is not None:
            self._loop.call_soon_threadsafe(self._loop.create_task, self._shut_down())
            self._thread.join(_DRAIN_SECONDS)

    def _answer_ping(self, number: int) -> None:
        self._answered = number

    async def _shut_down(self) -> None:
        assert self._client is not None
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=_DRAIN_SECONDS / 2)
        await self._client.close()
        self._loop.stop()

    def _wait_for(self, work: Coroutine[Any, Any, Served]) -> Served:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _begin(self, job: EngineJob) -> None:
        assert self._generation is not None
        text = job.prior + (job.raw or "") + counting.tools_text(job.sampling)
        answer = Answer(job, self._outbox.put, counting.estimate(job.messages, text))
        task = self._loop.create_task(self._generation.answer(job, answer))
        self._tasks[job.job_id] = task
        task.add_done_callback(lambda task: self._end(job, answer, task))

    def _cancel(self, job_id: str) -> None:
        task = self._tasks.get(job_id)
        if task is not None:
            task.cancel()

    def _end(self, job: EngineJob, answer: Answer, task: asyncio.Task[Finished | Failed]) -> None:
        """The job's one end. A task cancelled before its first step ends here as well."""
        del self._tasks[job.job_id]
        try:
            last = answer.end() if task.cancelled() else task.result()
        except JobRefused as refused:
            last = refused.as_failed(job.job_id)
        except Exception:
            traceback.print_exc()
            last = Failed(job.job_id, "internal_error", "the engine failed", True)
        self._outbox.put(last)

    def _begin_count(self, request: Count) -> None:
        task = self._loop.create_task(self._count(request))
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _count(self, request: Count) -> None:
        answer: EngineOutput
        try:
            answer = Counted(request.request, await self._counted(request))
        except RequestRefused as refused:
            answer = CountRefused(request.request, str(refused))
        except Exception:
            traceback.print_exc()
            answer = CountRefused(request.request, "the count failed")
        self._outbox.put(answer)

    async def _counted(self, request: Count) -> int:
        assert self._counter is not None
        endpoint = self._endpoints.choose()
        tokens = None
        if endpoint is not None and request.messages is not None:
            tokens = await self._counter.chat(endpoint, request.messages)
        elif endpoint is not None:
            tokens = await self._counter.text(endpoint, request.text or "")
        if tokens is None:
            return counting.estimate(request.messages, request.text or "")
        return tokens


def _breaker(settings: OpenAiSettings) -> Breaker:
    return Breaker(settings.breaker_failures, settings.breaker_pause, time.monotonic)


def _describe(
    settings: OpenAiSettings,
    served: Served,
    kinds: tuple[Dialect, ...],
    unsupported: frozenset[str],
) -> ModelInfo:
    notes = []
    if any(kind.counting is Counting.NONE for kind in kinds):
        notes.append("Its server has no tokenizer to ask: counts of prompt tokens are estimates.")
    return ModelInfo(
        # llama-server calls a model by the path of its file on its own host.
        name=served.model.rpartition("/")[2] or served.model,
        slots=settings.slots,
        context_length=served.context,
        capabilities=("chat", *(name for name in _OPTIONS if name not in unsupported)),
        unsupported_options=unsupported,
        description=" ".join(notes) or None,
    )
