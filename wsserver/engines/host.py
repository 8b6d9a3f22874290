"""The parent's side of an engine: one child process, started, spoken to, watched and ended.

Decides how a child lives and how its end is told. It knows no model, no queue and no client; what
a frame means is `wsserver.engines.link`. The rules: nothing here blocks the event loop; a start or
a cancel is on the socket before the call returns; the child's end is told once, after all that it
had sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from wsserver.core.engine import (
    ChatMessage,
    EngineDied,
    EngineHost,
    EngineJob,
    ExitSink,
    Failed,
    LoadProgress,
    ModelInfo,
    ModelLoadError,
    ModelSpec,
    Output,
    OutputSink,
    ProgressSink,
    RequestRefused,
)
from wsserver.engines import failures, link
from wsserver.engines.catalog import obstacle
from wsserver.engines.channel import Channel
from wsserver.engines.loading import LoadEstimate
from wsserver.engines.process import Child, own_directory, spawn

_log = logging.getLogger(__name__)

_LOG_READ_SIZE: Final = 64 * 1024
_QUARTERS: Final = 4  # beats within `Timing.hang`


class Phase(Enum):
    """Where a host stands; it only moves forward."""

    NEW = auto()
    LOADING = auto()
    READY = auto()
    CLOSING = auto()
    ENDED = auto()


@dataclass(frozen=True)
class Timing:
    """Seconds that a host waits.

    ``hang`` is for a child that gives no sign. It beats four times as often: always while it has
    nothing to do, and else as long as its work advances.
    """

    hang: float = 60.0
    estimate: float = 0.5  # between two estimates of a load's progress
    stderr: float = 1.0  # for the rest of the log after the child's end


class ChildHost:
    """One engine child process; an `wsserver.core.engine.EngineHost`."""

    def __init__(
        self,
        spec: ModelSpec,
        on_outputs: OutputSink,
        on_exit: ExitSink,
        timing: Timing | None = None,
    ) -> None:
        self._spec = spec
        self._on_outputs = on_outputs
        self._on_exit = on_exit
        self._timing = timing or Timing()
        self._phase = Phase.NEW
        self._log_tail = failures.LogTail()
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._life: asyncio.Task[None] | None = None
        self._counts: dict[int, asyncio.Future[int]] = {}
        self._count_ids = itertools.count(1)
        self._loaded: asyncio.Future[ModelInfo] | None = None
        self._load_failure: str | None = None
        self._progress: ProgressSink | None = None
        self._estimate: asyncio.Task[None] | None = None
        self._hung_up = asyncio.Event()
        self._death: str | None = None  # why this host killed the child, if it did
        self._silent_quarters = 0
        self._watch_timer: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, None before `load` and after its end."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    @property
    def returncode(self) -> int | None:
        """How the child ended, as `subprocess` tells it; None before."""
        return self._process.returncode if self._process is not None else None

    async def load(self, progress: ProgressSink) -> ModelInfo:
        """Start the child and load the model; see `EngineHost.load`. Once per host."""
        if self._phase is not Phase.NEW:
            raise RuntimeError("a host loads once")
        self._phase = Phase.LOADING
        self._progress = progress
        progress(LoadProgress("starting", 0.0))
        self._loaded = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(), name=f"engine {self._spec.id}")
        try:
            return await self._loaded
        finally:
            if self._phase is not Phase.READY:
                await self.close(0)

    def start(self, job: EngineJob) -> None:
        """Begin a job at the next step; see `EngineHost.start`."""
        try:
            frame = link.encode_control(link.Start(job))
        except link.LinkError as error:
            failed = Failed(job.job_id, "payload_too_large", f"the input can't be sent: {error}")
            asyncio.get_running_loop().call_soon(self._on_outputs, [failed])
            return
        self._send(frame)

    def cancel(self, job_id: str) -> None:
        """End a job at the next step; on the socket before this returns."""
        self._send(link.encode_control(link.Cancel(job_id)))

    async def count_tokens(
        self, *, messages: Sequence[ChatMessage] | None = None, text: str | None = None
    ) -> int:
        """Count in the child; see `EngineHost.count_tokens`."""
        if self._phase is not Phase.READY:
            raise EngineDied("the engine is not running")
        request = next(self._count_ids)
        turns = None if messages is None else tuple(messages)
        try:
            frame = link.encode_control(link.Count(request=request, messages=turns, text=text))
        except link.LinkError as error:
            raise RequestRefused(str(error)) from error
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._counts[request] = answer
        try:
            self._send(frame)
            return await answer
        finally:
            del self._counts[request]

    async def close(self, grace: float = 5.0) -> None:
        """End the child: ask, then kill after ``grace`` seconds. No output comes any more.

        Idempotent; whoever calls it meanwhile waits for the same end. Cancelled, it kills at once.
        """
        if self._life is None:
            self._phase = Phase.ENDED
            return
        if self._phase is Phase.READY:
            self._phase = Phase.CLOSING
            self._send(link.encode_control(link.Close()))
        elif self._phase is Phase.LOADING:
            # It can't read while it loads.
            self._phase = Phase.CLOSING
            self._kill()
        try:
            await asyncio.wait({self._life}, timeout=grace)
        finally:
            self._kill()
            await asyncio.shield(self._life)

    async def _live(self) -> None:
        """Own the child from its start to its end, and tell how it ended."""
        how = "failed in the server itself"
        try:
            how = await self._follow_child()
        except OSError as error:
            how = f"could not be started: {error.strerror}"
        finally:
            self._end(how)

    async def _follow_child(self) -> str:
        self._load_failure = await asyncio.to_thread(obstacle, self._spec)
        if self._load_failure is not None:
            return "was not started"
        async with own_directory() as directory:
            child = await spawn(directory, self._spec.gpus)
            self._process = child.process
            self._channel = Channel(child.socket, self._take, self._ended)
            if self._phase is Phase.CLOSING:
                self._kill()
            beat = self._timing.hang / _QUARTERS
            self._send(link.encode_control(link.Load(spec=self._spec, beat_seconds=beat)))
            return await self._await_end(child)

    async def _await_end(self, child: Child) -> str:
        log = asyncio.create_task(self._read_log(child.stderr))
        try:
            await self._hung_up.wait()
            if self._phase is not Phase.CLOSING:
                # Its socket is closed: whatever it still does is of no use.
                await self._wait_briefly(child.process)
            returncode = await child.process.wait()
            await asyncio.wait({log}, timeout=self._timing.stderr)
        finally:
            self._kill()
            if self._channel is not None:
                self._channel.close()
            tasks = [task for task in (log, self._estimate) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self._death or failures.ending(returncode)

    async def _read_log(self, stderr: asyncio.StreamReader) -> None:
        while data := await stderr.read(_LOG_READ_SIZE):
            for line in self._log_tail.feed(data):
                _log.debug("engine %s: %s", self._spec.id, line)

    async def _estimate_load(self, pid: int) -> None:
        """Tell how a load goes that the engine can't report on."""
        estimate = await asyncio.to_thread(LoadEstimate.of_process, pid, self._spec.path)
        while self._phase is Phase.LOADING and self._progress is not None:
            await asyncio.sleep(self._timing.estimate)
            self._tell_progress(await asyncio.to_thread(estimate.now))

    async def _wait_briefly(self, process: asyncio.subprocess.Process) -> None:
        try:
            await asyncio.wait_for(process.wait(), self._timing.stderr)
        except TimeoutError:
            self._kill()

    def _end(self, how: str) -> None:
        """The child is gone: tell everyone who waits for it."""
        was, self._phase = self._phase, Phase.ENDED
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        how = f"the engine of {self._spec.id} {how}"
        died = EngineDied(how)
        for answer in self._counts.values():
            if not answer.done():
                answer.set_exception(died)
        if self._loaded is not None and not self._loaded.done():
            reason = "the load was ended" if was is Phase.CLOSING else self._load_reason(how)
            self._loaded.set_exception(ModelLoadError(reason))
        elif was is Phase.READY:
            _log.warning("%s; its last words: %s", died, self._log_tail.last())
            self._on_exit(died)

    def _load_reason(self, how: str) -> str:
        """Why the load failed, from the best witness."""
        told = self._load_failure or failures.load_failure(self._log_tail.lines())
        return failures.without_host_paths(told) if told else how

    def _ended(self, fault: str | None) -> None:
        """The channel's end: the child's, or that of our trust in it."""
        if fault is not None:
            self._give_up(fault)
        self._hung_up.set()

    def _take(self, message: link.ToHost | list[Output]) -> None:
        self._silent_quarters = 0
        match message:
            case list():
                if self._phase is Phase.READY:
                    self._on_outputs(message)
            case link.Beat():
                pass  # read, and that is all it is for
            case link.Counted(request, tokens):
                self._answer(request, tokens)
            case link.CountRefused(request, reason):
                self._answer(request, RequestRefused(reason))
            case link.Hello(version):
                if version != link.VERSION:
                    raise link.LinkError("its code on disk is of another version; restart wsserver")
            case link.Loading(progress):
                self._tell_progress(progress)
            case link.LoadFailed(reason):
                self._load_failure = reason
            case link.Loaded(info):
                self._become_ready(info)

    def _tell_progress(self, progress: LoadProgress) -> None:
        if self._phase is not Phase.LOADING or self._progress is None or self.pid is None:
            return
        self._progress(progress)
        if progress.estimated and self._estimate is None:
            self._estimate = asyncio.create_task(self._estimate_load(self.pid))

    def _become_ready(self, info: ModelInfo) -> None:
        if self._phase is Phase.LOADING and self._loaded is not None and not self._loaded.done():
            self._phase = Phase.READY
            for warning in info.warnings:
                _log.warning("model %s: %s", self._spec.id, warning)
            self._loaded.set_result(info)
            self._watch()

    def _answer(self, request: int, answer: int | RequestRefused) -> None:
        waiting = self._counts.get(request)
        if waiting is None or waiting.done():
            return  # its caller went away
        if isinstance(answer, int):
            waiting.set_result(answer)
        else:
            waiting.set_exception(answer)

    def _watch(self) -> None:
        """Count quarters of `Timing.hang` without a sign.

        Counted, not measured: a parent that was itself held up for a minute must first read what
        lies in the socket before it may call the child dead.
        """
        if self._silent_quarters > _QUARTERS:
            self._give_up(f"gave no sign for {self._timing.hang:g} s and was killed")
            return
        self._silent_quarters += 1
        loop = asyncio.get_running_loop()
        self._watch_timer = loop.call_later(self._timing.hang / _QUARTERS, self._watch)

    def _send(self, frame: bytearray) -> None:
        # Without a channel the child's end is being told, or was.
        if self._channel is not None:
            self._channel.send(frame)

    def _give_up(self, reason: str) -> None:
        """Kill the child for ``reason``, which then stands for how it ended."""
        self._death = reason
        self._kill()

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                self._process.kill()


def create_host(spec: ModelSpec, on_outputs: OutputSink, on_exit: ExitSink) -> EngineHost:
    """A host for a model, not yet started; an `wsserver.core.engine.EngineFactory`."""
    return ChildHost(spec, on_outputs, on_exit)
