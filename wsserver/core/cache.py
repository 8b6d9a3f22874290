"""Answers that would come out the same again: kept, and given again.

Only an answer at temperature 0 or with a seed is ever kept or served, and only one that ended by
itself in one undisturbed run. The key is everything that the text depends on: the model's load
(another load is another key, so a reload forgets), the whole input and every sampling option.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Protocol

from wsserver.core.jobs import Job
from wsserver.core.streams import Ending, EndKind, StreamRecord
from wsserver_protocol.lifecycle import FinishReason
from wsserver_protocol.options import GenerationOptions


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A whole answer as it was."""

    text: str
    tokens: int
    prompt_tokens: int
    finish_reason: FinishReason

    @property
    def size(self) -> int:
        """Bytes that it costs to keep, about: the text, and the same again for all else."""
        return len(self.text.encode()) + 512


class ResponseCache(Protocol):
    """Bounded by entries, bytes and age. Never raises; a miss is always right."""

    def get(self, key: bytes, now: float) -> CachedAnswer | None:
        """The answer under a key, None if there is none or it is too old."""

    def put(self, key: bytes, answer: CachedAnswer, now: float) -> None:
        """Keep an answer; the least recently used go where room is needed."""


CACHED_ENDS = (FinishReason.STOP, FinishReason.LENGTH, FinishReason.STOP_STRING)
"""How an answer must have ended to be given again; a time limit cuts elsewhere each time."""


def keepable(record: StreamRecord, ending: Ending) -> CachedAnswer | None:
    """An answer in the form in which it is kept; None unless one undisturbed run made it whole."""
    is_whole = ending.kind is EndKind.COMPLETE and ending.finish_reason in CACHED_ENDS
    if record.is_cached or record.attempts or not is_whole:
        return None
    transcript = record.transcript
    return CachedAnswer(
        transcript.text, transcript.generated, record.prompt_tokens, ending.finish_reason
    )


def is_deterministic(options: GenerationOptions) -> bool:
    """Whether an answer under these options may come from the cache, or go there."""
    return (
        options.cache is not False
        and options.logprobs is None
        and (options.temperature == 0 or options.seed is not None)
    )


def cache_key(job: Job, build: str) -> bytes:
    """A digest of everything that a deterministic answer depends on.

    Args:
        job: The work, as the engine gets it.
        build: What stands for the loaded model: changes with every load.
    """
    sampling = job.sampling
    document = {
        "build": build,
        "model": job.model_id,
        "messages": [
            [m.role, m.content, m.name, *((c.id, c.name, c.arguments) for c in m.tool_calls)]
            + [m.tool_call_id]
            for m in job.messages or ()
        ],
        "raw": job.raw,
        "prior": job.prior,
        "max_tokens": job.max_tokens,
        "sampling": {name: getattr(sampling, name) for name in sampling.__struct_fields__},
    }
    canonical = json.dumps(document, sort_keys=True).encode()
    return hashlib.blake2b(canonical, digest_size=20).digest()
