"""What differs between ExLlamaV2 and ExLlamaV3, seen from the engine that drives either.

Decides the shape of a backend: load, jobs, one step. The two know no messages, templates or text;
the engine knows no library. The rule: a backend asks nothing back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wsserver.core.engine import Sampling
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.results import Event
from wsserver.engines.exllama.settings import ExllamaSettings, Rules
from wsserver.engines.folders import WeightFormat


@dataclass(frozen=True)
class Order:
    """A job to make. ``end_tokens`` end the turn; ``prior`` is the answer so far, which a grammar
    has to be led through."""

    job_id: str
    tokens: list[int]
    max_tokens: int
    sampling: Sampling
    prior: str
    end_tokens: frozenset[int]


class Backend(Protocol):
    """One library. All but `make_job` are called from one thread; that one from another, and
    never at once with itself."""

    name: str
    extension: str
    formats: frozenset[WeightFormat]
    rules: Rules
    lacks: frozenset[str]  # snake_case names of the wire's options
    extra_reserve: int  # tokens of cache that a job takes beyond prompt, answer and guesses

    def open(self, files: ModelFiles) -> bool:
        """Import the library and read the folder's configuration with it; whether it can serve
        several answers at once here.

        Raises:
            Exception: Anything at all, as these libraries do.
        """

    def load(
        self, files: ModelFiles, settings: ExllamaSettings, report: Callable[[float], None]
    ) -> Sequence[str]:
        """Load the model and make its generator; ``report`` takes 0 to 1.

        Returns:
            Warnings for the operator.

        Raises:
            ModelLoadError: For what can be said in words; other exceptions are the library's.
        """

    def open_grammars(self, tokenizer: str, end_tokens: frozenset[int]) -> None:
        """Make ready for grammars; ``tokenizer`` is the content of ``tokenizer.json``.

        Raises:
            Exception: If this tokenizer can't have any.
        """

    def make_job(self, order: Order) -> Any:
        """The library's job; takes no memory of the GPU.

        Raises:
            JobRefused: If an option's value can't be honoured.
        """

    def enqueue(self, job: Any) -> None:
        """Take a job; raises AssertionError if it can never fit."""

    def cancel(self, job: Any) -> None:
        """Drop a job, whatever its stage."""

    def iterate(self) -> Sequence[Event]:
        """One step; an exception means that nothing of the generator can be trusted."""

    def synchronize(self) -> None:
        """Wait until the GPU has done all that it was given."""

    def cached_tokens(self, job: Any) -> int:
        """Tokens of its prompt that came out of the cache."""

    def fault_of(self, job: Any) -> str | None:
        """What went wrong within this job alone, in words; None if nothing did."""

    def close(self) -> None:
        """Unload the model."""
