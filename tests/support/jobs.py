"""Jobs for tests of queues."""

from __future__ import annotations

from wsserver.core.engine import Sampling
from wsserver.core.jobs import Job


def make_job(
    stream_id: str,
    model_id: str = "m",
    owner: str = "a",
    *,
    priority: int = 0,
    prompt: str = "x",
) -> Job:
    """A job with a prompt of one's own."""
    return Job(
        stream_id=stream_id,
        model_id=model_id,
        owner=owner,
        messages=None,
        raw=prompt,
        max_tokens=10,
        sampling=Sampling(),
        priority=priority,
    )
