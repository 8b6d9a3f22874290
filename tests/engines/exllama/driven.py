"""An ExLlama engine in the test's own process, stepped by hand."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wsserver.core.engine import Delta, EngineJob, Failed, Finished
from wsserver.engines.contract import EngineOutput
from wsserver.engines.exllama.engine import ExllamaEngine


@dataclass
class Driven:
    """An engine, stepped by the test."""

    engine: ExllamaEngine
    outputs: list[EngineOutput] = field(default_factory=list)

    def step(self) -> list[EngineOutput]:
        """One step, when the engine says that there is something to do."""
        if self.engine.next_due() is None:
            with selectors.SelectSelector() as selector:
                wake_fd = self.engine.wake_fd()
                assert wake_fd is not None
                selector.register(wake_fd, selectors.EVENT_READ)
                assert selector.select(10), "nothing came of the thread"
        made = self.engine.step()
        self.outputs += made
        return made

    def until(self, condition: Callable[[], bool]) -> None:
        """Step until it holds."""
        while not condition():
            self.step()

    def start(self, job_id: str, words: int = 4, **fields: Any) -> None:
        """Begin an answer to so many words."""
        fields.setdefault("raw", " ".join(["a"] * words))
        self.engine.start(EngineJob(job_id=job_id, **fields))

    def prepared(self) -> None:
        """Wait until the thread is through with all that was started."""
        self.engine._thread.submit(lambda: None).result(10)

    def of(self, job_id: str) -> list[Any]:
        """All that came of a job."""
        return [o for o in self.outputs if getattr(o, "job_id", None) == job_id]

    def text(self, job_id: str) -> str:
        """What a job has said."""
        return "".join(o.text for o in self.of(job_id) if isinstance(o, Delta))

    def tokens(self, job_id: str) -> int:
        """How many tokens that was."""
        return sum(o.tokens for o in self.of(job_id) if isinstance(o, Delta))

    def end(self, job_id: str) -> Finished | Failed:
        """The one end of a job, waited for."""
        self.until(lambda: any(isinstance(o, Finished | Failed) for o in self.of(job_id)))
        (end,) = [o for o in self.of(job_id) if isinstance(o, Finished | Failed)]
        return end
