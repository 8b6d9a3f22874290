"""The synthetic engine: counts, at a given pace. For tests, load and latency measurements.

Decides what ``synthetic:?tps=50&ttft_ms=20&slots=1024&ctx=1048576&fail_at=0`` does: the k-th token
of an answer is ``"k "``, due ``ttft_ms + 1000·(k−1)/tps`` ms after the job got its slot (``tps=0``:
as fast as it can). It knows no process and no socket, and its clock is given to it. The rule: a
step gives a bounded number of tokens, shared fairly among the jobs that have some due.

Two more keys, both 0 by default: ``load_ms`` makes the load last and report its progress;
``prefill_tps`` makes the prompt take time, that many tokens a second, before ``ttft_ms`` begins.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final
from urllib.parse import parse_qsl

from wsserver.core.engine import (
    ChatMessage,
    Delta,
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    LoadProgress,
    ModelInfo,
    ModelLoadError,
    ModelSpec,
    Prefilled,
)
from wsserver.engines.catalog import ENTRIES, SYNTHETIC_SCHEME
from wsserver.engines.contract import EngineOutput, JobRefused, ProgressReport
from wsserver.engines.link import Count, Counted
from wsserver.engines.stops import StopMatcher

# Tokens of one step, over all jobs, and of one job within it: some 100 µs of work, so that a
# cancel waits for no more than that.
_STEP_TOKENS: Final = 256
_JOB_TOKENS: Final = 8

# With many jobs, tokens are gathered into a frame a millisecond rather than one each: 1,000
# streams of 50 tokens a second would otherwise wake the parent 50,000 times a second.
_GATHER_ABOVE_JOBS: Final = 32
_GATHER_SECONDS: Final = 0.001

_AGENDA_SLACK: Final = 64  # entries of ended jobs that are not worth looking for
_PREFILL_SECONDS: Final = 0.05  # of one chunk
_LOAD_STEPS: Final = 20


@dataclass(frozen=True)
class SyntheticSettings:
    """The keys of the source's query; times in ms, rates in tokens a second."""

    tps: float = 50.0
    ttft_ms: float = 20.0
    slots: int = 1024
    ctx: int = 1_048_576
    fail_at: int = 0
    load_ms: float = 0.0
    prefill_tps: float = 0.0


_WHOLE_KEYS: Final = frozenset(("slots", "ctx", "fail_at"))
_POSITIVE_KEYS: Final = frozenset(("slots", "ctx"))


def read_settings(spec: ModelSpec) -> SyntheticSettings:
    """The settings of a source; what it leaves out is taken from ``spec.settings``.

    Raises:
        ModelLoadError: For an unknown or bad key, or one that the source repeats; it names the key.
    """
    rest = spec.source.removeprefix(SYNTHETIC_SCHEME)
    if rest and not rest.startswith("?"):
        raise ModelLoadError(f"synthetic: takes only a query, like synthetic:?tps=50; got {rest!r}")
    pairs = parse_qsl(rest[1:], keep_blank_values=True)
    own = dict(pairs)
    if len(own) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ModelLoadError(f"synthetic: {repeated!r} is given twice")
    known = [item.name for item in fields(SyntheticSettings)]
    values: dict[str, Any] = {}
    for key, value in (spec.settings | own).items():
        if key not in known:
            raise ModelLoadError(f"synthetic: has no key {key!r}; it has {', '.join(known)}")
        values[key] = _number(key, value)
    return SyntheticSettings(**values)


def _number(key: str, value: object) -> float:
    whole = key in _WHOLE_KEYS
    kind = "a whole number" if whole else "a number"
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = int(value) if whole else float(value)
        if whole and number != float(value):
            raise ValueError
    except (ValueError, OverflowError):
        raise ModelLoadError(f"synthetic: {key!r} must be {kind}, not {value!r}") from None
    least = 1 if key in _POSITIVE_KEYS else 0
    if not least <= number < 1e12:
        raise ModelLoadError(f"synthetic: {key!r} must be {kind} from {least}, not {value!r}")
    return number


def count_words(messages: Sequence[ChatMessage] | None, text: str | None) -> int:
    """A token per whitespace-separated word."""
    if text is not None:
        return len(text.split())
    return sum(len(message.content.split()) for message in messages or ())


def first_number(job: EngineJob) -> int:
    """Where the count goes on: after the number that ends ``prior``, or after its tokens."""
    words = job.prior.split()
    if words and words[-1].isascii() and words[-1].isdigit() and len(words[-1]) < 16:
        return int(words[-1]) + 1
    return job.prior_tokens + 1


@dataclass
class _Job:
    """One running answer. ``due`` is the time of its next event, on the engine's clock."""

    job_id: str
    due: float
    prompt_tokens: int
    number: int  # of the next token
    limit: int  # tokens left to max_tokens, context or fail_at, whichever ends it first
    end: FinishReason | None  # what reaching the limit means; None: the job fails
    matcher: StopMatcher | None  # None without stop strings: most answers have none
    prefilled: int = 0
    first_due: float | None = None  # when the first token was due; None while prefilling
    given: int = 0
    over: bool = field(default=False)


class SyntheticEngine:
    """Counts. See the module's docstring; an `wsserver.engines.contract.Engine`."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._sleep = sleep
        self._settings = SyntheticSettings()
        self._jobs: dict[str, _Job] = {}
        self._agenda: list[tuple[float, int, _Job]] = []
        self._turn = itertools.count()
        self._ready: deque[EngineOutput] = deque()
        self._last_step = float("-inf")

    def load(self, spec: ModelSpec, report: ProgressReport) -> ModelInfo:
        """Read the settings; with ``load_ms`` also take so long, with progress."""
        self._settings = settings = read_settings(spec)
        if settings.load_ms:
            for step in range(_LOAD_STEPS):
                report(LoadProgress("loading", step / _LOAD_STEPS))
                self._sleep(settings.load_ms / 1000 / _LOAD_STEPS)
        return ModelInfo(
            name="synthetic",
            slots=settings.slots,
            context_length=settings.ctx,
            capabilities=("chat",),
            unsupported_options=ENTRIES["synthetic"].unsupported_options,
            description="Counts at a given pace; for tests and load, not a language model.",
        )

    def start(self, job: EngineJob) -> None:
        """Put the job on the agenda; refuses what a count can't honour."""
        self._refuse_unsupported(job)
        settings = self._settings
        prompt_tokens = count_words(job.messages, job.raw)
        room = settings.ctx - prompt_tokens - job.prior_tokens
        if room < 1:
            used = prompt_tokens + job.prior_tokens
            raise JobRefused(
                "context_length_exceeded",
                f"the input has {used} tokens; the context of {settings.ctx} leaves no room",
            )
        limit = min(job.max_tokens, room)
        is_failing = 0 < settings.fail_at <= limit
        entry = _Job(
            job_id=job.job_id,
            due=self._clock(),
            prompt_tokens=prompt_tokens + job.prior_tokens,
            number=first_number(job),
            limit=settings.fail_at if is_failing else limit,
            end=None if is_failing else FinishReason.LENGTH,
            matcher=StopMatcher(job.sampling.stop) if job.sampling.stop else None,
        )
        self._plan_prefill(entry)
        self._jobs[job.job_id] = entry
        self._schedule(entry)

    def _refuse_unsupported(self, job: EngineJob) -> None:
        for option in ENTRIES["synthetic"].unsupported_options:
            if getattr(job.sampling, option) not in (None, ()):
                raise JobRefused("unsupported_option", f"the synthetic engine has no {option}")

    def cancel(self, job_id: str) -> None:
        """Drop the job from the agenda; its end comes with the next step."""
        job = self._jobs.get(job_id)
        if job is not None:
            self._finish(job, self._ready, FinishReason.CANCELLED)
        if len(self._agenda) > _AGENDA_SLACK + 2 * len(self._jobs):
            # Cancelled jobs that are due late would pile up at the far end.
            self._agenda = [entry for entry in self._agenda if not entry[2].over]
            heapq.heapify(self._agenda)

    def count(self, request: Count) -> None:
        """Count words."""
        self._ready.append(Counted(request.request, count_words(request.messages, request.text)))

    def next_due(self) -> float | None:
        """Time to the first event of any job, tokens gathered when there are many."""
        if self._ready:
            return 0.0
        self._drop_ended()
        if not self._agenda:
            return None
        due = self._agenda[0][0]
        if self._settings.tps and len(self._jobs) > _GATHER_ABOVE_JOBS:
            due = max(due, self._last_step + _GATHER_SECONDS)
        return max(0.0, due - self._clock())

    def wake_fd(self) -> int | None:
        """None: it has no threads."""
        return None

    def step(self) -> list[EngineOutput]:
        """All that is due, up to the bounds of one step."""
        now = self._last_step = self._clock()
        outputs = list(self._ready)
        self._ready.clear()
        budget = _STEP_TOKENS
        share = max(1, min(_JOB_TOKENS, _STEP_TOKENS // max(1, len(self._jobs))))
        advanced: list[_Job] = []
        while budget > 0 and self._agenda and self._agenda[0][0] <= now:
            job = heapq.heappop(self._agenda)[2]
            if not job.over:
                budget -= self._advance(job, now, share, outputs)
                advanced.append(job)
        for job in advanced:  # after the loop: whoever had its share goes behind the others
            if not job.over:
                self._schedule(job)
        return outputs

    def has_moved(self) -> bool:
        """True: it works in the loop that asks."""
        return True

    def close(self) -> None:
        """Nothing to let go of."""
        self._jobs.clear()

    def _schedule(self, job: _Job) -> None:
        heapq.heappush(self._agenda, (job.due, next(self._turn), job))

    def _drop_ended(self) -> None:
        while self._agenda and self._agenda[0][2].over:
            heapq.heappop(self._agenda)

    def _advance(self, job: _Job, now: float, share: int, outputs: list[EngineOutput]) -> int:
        """Do what is due for one job, at most ``share`` tokens; returns how many tokens."""
        if job.first_due is None:
            self._prefill(job, outputs)
            return 1
        count = min(share, job.limit - job.given, self._due_tokens(job, now))
        numbers = range(job.number, job.number + count)
        job.number += count
        job.given += count
        if job.matcher is None:
            job_id = job.job_id
            outputs += [Delta(job_id, f"{number} ", 1) for number in numbers]
        elif self._match(job, job.matcher, numbers, outputs):
            return count
        if job.given >= job.limit:
            self._finish(job, outputs, job.end)
        elif self._settings.tps and job.first_due is not None:
            # From the first one's time, not from now: lateness must not add up.
            job.due = job.first_due + job.given / self._settings.tps
        else:
            # From now: whoever is served goes behind those who wait, however old it is.
            job.due = now
        return count

    def _due_tokens(self, job: _Job, now: float) -> int:
        """Tokens that are due and not given yet; at least one, since the job was due."""
        if not self._settings.tps or job.first_due is None:
            return _JOB_TOKENS
        due = int((now - job.first_due) * self._settings.tps + 1e-6) + 1
        return max(1, due - job.given)

    def _match(
        self, job: _Job, matcher: StopMatcher, numbers: range, outputs: list[EngineOutput]
    ) -> bool:
        """Give tokens up to a stop string; True if it ended the job."""
        for number in numbers:
            outputs.append(Delta(job.job_id, matcher.push(f"{number} "), 1))
            if matcher.is_matched:
                self._finish(job, outputs, FinishReason.STOP_STRING)
                return True
        return False

    def _plan_prefill(self, job: _Job) -> None:
        """Take the next chunk of the prompt; it is done at ``job.due``."""
        rate = self._settings.prefill_tps
        rest = job.prompt_tokens - job.prefilled
        chunk = min(rest, max(1, int(rate * _PREFILL_SECONDS))) if rate else rest
        job.prefilled += chunk
        if rate:
            job.due += chunk / rate

    def _prefill(self, job: _Job, outputs: list[EngineOutput]) -> None:
        outputs.append(Prefilled(job.job_id, job.prefilled, job.prompt_tokens))
        if job.prefilled < job.prompt_tokens:
            self._plan_prefill(job)
        else:
            job.first_due = job.due = job.due + self._settings.ttft_ms / 1000

    def _finish(
        self,
        job: _Job,
        outputs: list[EngineOutput] | deque[EngineOutput],
        reason: FinishReason | None,
    ) -> None:
        """End a job; ``reason`` None: it fails, as ``fail_at`` asked."""
        job.over = True
        del self._jobs[job.job_id]
        held = job.matcher.finish() if job.matcher is not None else ""
        if held:
            outputs.append(Delta(job.job_id, held, 0))
        if reason is None:
            outputs.append(Failed(job.job_id, "generation_failed", "fail_at was reached"))
        else:
            outputs.append(Finished(job.job_id, reason, job.prompt_tokens))
