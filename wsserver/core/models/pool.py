"""The replicas of one model: several engines, one queue in front of them.

Each replica claims from the model's queue by itself, so that work goes wherever a slot is free,
and what a dying replica gives back is taken up by another at once. The model lives as long as one
replica does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from wsserver.core.engine import EngineHost, ModelLoadError
from wsserver.core.runner import Runner
from wsserver.core.streams import Ending, StreamRecord

log = logging.getLogger(__name__)


class Pool:
    """Runs a model's replicas."""

    def __init__(self, model_id: str, runners: Sequence[Runner]) -> None:
        self._model_id = model_id
        self._runners = runners

    @property
    def replicas(self) -> int:
        """Replicas that answer now."""
        return sum(runner.host is not None for runner in self._runners)

    @property
    def slots(self) -> int:
        """Jobs at once, over the replicas that answer now."""
        return sum(runner.slots for runner in self._runners)

    @property
    def busy(self) -> int:
        """Slots in use."""
        return sum(runner.busy for runner in self._runners)

    @property
    def host(self) -> EngineHost | None:
        """An engine for questions that need no slot; None while none is loaded."""
        return next((r.host for r in self._runners if r.host is not None), None)

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            ModelLoadError: When no replica is left; the last one's reason.
        """
        tasks = [asyncio.create_task(runner.run()) for runner in self._runners]
        reason: BaseException | None = None
        try:
            pending = set(tasks)
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    reason = task.exception()
                    if not isinstance(reason, ModelLoadError):
                        break  # a fault of ours ends them all
                    if pending:  # else the model has failed, which is told elsewhere
                        log.warning("a replica of model %s is gone: %s", self._model_id, reason)
                else:
                    continue
                break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if reason is not None:
            raise reason

    def stop(self, stream_id: str) -> bool:
        """End a running answer at its engine's next step. False if it is in no slot."""
        return any(runner.stop(stream_id) for runner in self._runners)

    def running(self) -> list[StreamRecord]:
        """The answers in slots."""
        return [record for runner in self._runners for record in runner.running()]

    def admit_nothing(self) -> None:
        """Claim nothing more."""
        for runner in self._runners:
            runner.admit_nothing()

    async def drained(self) -> None:
        """Claim nothing more, and wait until the running answers have ended."""
        await asyncio.gather(*(runner.drained() for runner in self._runners))

    def hand_over(self) -> None:
        """Give every answer in a slot back to the queue."""
        for runner in self._runners:
            runner.hand_over()

    def give_up(self, ending: Ending) -> None:
        """End every answer still in a slot."""
        for runner in self._runners:
            runner.give_up(ending)
