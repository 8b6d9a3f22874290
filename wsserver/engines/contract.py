"""What an engine must do, seen from the loop that drives it inside the child process.

Decides the shape of an engine: synchronous, one thread, nothing that waits. It does not know the
socket, the parent or how often it is called. The rule that keeps every engine alike: **one loop
drives them all** (`wsserver.engines.child`), and before each `Engine.step` the loop has taken its
inbox, so that a start or a cancel never waits for more than the step under way.

Two kinds of engine fit:

* One that computes in the loop (ExLlamaV2's dynamic generator, `synthetic`): ``next_due`` says
  when `step` has something to do, and `step` does it.
* One with threads of its own (llama.cpp): ``next_due`` is None, its threads put outputs aside and
  make ``wake_fd`` readable; `step` collects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from wsserver.core.engine import EngineJob, Failed, LoadProgress, ModelInfo, ModelSpec, Output
from wsserver.engines.link import Count, Counted, CountRefused

EngineOutput = Output | Counted | CountRefused
ProgressReport = Callable[[LoadProgress], None]


class JobRefused(Exception):
    """The engine will not begin this job; it becomes the job's `Failed`.

    ``code`` is one of the wire's error codes, ``message`` is fit for the client to read, ``field``
    is the path of the field that it is about, if it is about one.
    """

    def __init__(
        self, code: str, message: str, *, retryable: bool = False, field: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.field = field

    def as_failed(self, job_id: str) -> Failed:
        """The end of the job that was refused."""
        return Failed(job_id, self.code, self.message, self.retryable, self.field)


class Engine(Protocol):
    """One loaded model. Called from one thread only; made and driven by the child's loop."""

    def load(self, spec: ModelSpec, report: ProgressReport) -> ModelInfo:
        """Load the model; the only call that may take long. Called once, before all others.

        Raises:
            ModelLoadError: With a reason for people. Other exceptions end the child, and its
                stderr then is the reason.
        """

    def start(self, job: EngineJob) -> None:
        """Take a job; its outputs come from later steps.

        Raises:
            JobRefused: If this job can't be served. The slot stays free.
        """

    def cancel(self, job_id: str) -> None:
        """End a job: one of the next steps gives its `Finished` (``cancelled``).

        Unknown ids are ignored; what a step gave before stays given.
        """

    def count(self, request: Count) -> None:
        """Count tokens: one of the next steps gives the `Counted` or `CountRefused`."""

    def next_due(self) -> float | None:
        """Seconds until `step` has something to do: 0 = now, None = not before a message or a
        readable ``wake_fd``. Must be cheap: it is asked before each wait."""

    def wake_fd(self) -> int | None:
        """A file descriptor that turns readable when `step` has outputs to collect, or None."""

    def step(self) -> Sequence[EngineOutput]:
        """Do one bounded piece of work and give what came of it, in order.

        Must return within about one decode step or prefill chunk. An exception says that the
        engine's state can't be trusted any more: it ends the child, and the parent starts a new
        one.
        """

    def has_moved(self) -> bool:
        """Whether work advanced since the last call, or none is under way.

        Vouches for threads that the loop can't see; an engine that computes in `step` returns
        True, since being asked proves it.
        """

    def close(self) -> None:
        """End all work, without outputs; the process exits right after."""
