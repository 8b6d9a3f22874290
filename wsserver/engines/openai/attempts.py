"""The life of one job: which endpoint, how many attempts, and how it ends.

Decides when to try again. The rules: **once a token came nothing is asked for a second time** (the
text would repeat); before that only faults of the server are tried again, on another endpoint
first; a fault of the request is the same everywhere. All time limits of a job are here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from wsserver.core.engine import EngineJob, Failed, Finished, RequestRefused
from wsserver.engines.contract import JobRefused
from wsserver.engines.openai import counting, faults
from wsserver.engines.openai.answer import Answer
from wsserver.engines.openai.body import build_request
from wsserver.engines.openai.client import Client
from wsserver.engines.openai.endpoints import Endpoint, Endpoints
from wsserver.engines.openai.faults import Fault
from wsserver.engines.openai.settings import OpenAiSettings, place

_log = logging.getLogger(__name__)

_FIRST_PAUSE: Final = 0.25  # seconds before the second attempt on the same endpoint
_LONGEST_PAUSE: Final = 8.0  # a server that asks for more gets no further attempt


class Generation:
    """Makes answers. Used within one event loop; a call per job, cancelled to stop it."""

    def __init__(
        self,
        settings: OpenAiSettings,
        model: str,
        context: int,
        endpoints: Endpoints,
        client: Client,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._model = model
        self._context = context
        self._endpoints = endpoints
        self._client = client
        self._counter = counting.Counter(client, model)
        self._jitter = jitter

    async def answer(self, job: EngineJob, answer: Answer) -> Finished | Failed:
        """Make the answer; its last output. Cancelling it closes the connection.

        Raises:
            JobRefused: If the job can't be served.
        """
        tried: list[Endpoint] = []
        attempt = 0
        while True:
            try:
                endpoint = self._endpoints.choose(tried)
                if endpoint is None:
                    raise faults.all_rest()
                with endpoint.attempt():
                    await self._attempt(job, answer, endpoint)
                return answer.end()
            except Fault as fault:
                if endpoint is not None:
                    self._note(endpoint, fault)
                    tried.append(endpoint)
                pause = self._pause(fault, attempt, tried)
                if answer.has_begun or pause is None:
                    return Failed(job.job_id, fault.code, fault.message, fault.retryable)
            attempt += 1
            await asyncio.sleep(pause)

    async def _attempt(self, job: EngineJob, answer: Answer, endpoint: Endpoint) -> None:
        limit = await self._token_limit(job, answer, endpoint)
        request = build_request(
            job, endpoint.dialect, self._model, limit, self._settings.extra_body
        )
        answer.begin(request.overlap)
        loop = asyncio.get_running_loop()
        patience = self._settings.first_token_timeout
        try:
            async with asyncio.timeout(patience) as deadline:
                url = endpoint.url + request.path
                async with self._client.stream(url, request.body) as events:
                    async for event in events:
                        answer.take(event, self._client.secrets)
                        if answer.is_over:
                            return
                        if answer.has_begun:
                            endpoint.breaker.show_life()
                            patience = self._settings.token_timeout
                            deadline.reschedule(loop.time() + patience)
        except TimeoutError as error:
            raise faults.too_slow(patience, has_begun=answer.has_begun) from error
        answer.check_end()

    async def _token_limit(self, job: EngineJob, answer: Answer, endpoint: Endpoint) -> int:
        """``max_tokens`` that the context has room for.

        Most requests need no count for that: their bytes tell that they fit.

        Raises:
            JobRefused: If there is no room for a token.
        """
        tools = counting.tools_text(job.sampling)
        text = job.prior + (job.raw or "") + tools
        if counting.bound(job.messages, text) + job.max_tokens <= self._context:
            return job.max_tokens
        tokens = await self._count(job, endpoint)
        if tokens is None:
            room = self._context - counting.estimate(job.messages, text)
            return max(1, min(job.max_tokens, room))
        tokens += counting.estimate(None, tools)
        answer.expect_prompt(tokens)
        if tokens >= self._context:
            raise JobRefused(
                "context_length_exceeded",
                f"the input has {tokens} tokens; the context of {self._context} leaves no"
                " room for an answer",
            )
        return min(job.max_tokens, self._context - tokens)

    async def _count(self, job: EngineJob, endpoint: Endpoint) -> int | None:
        try:
            if job.messages is None:
                return await self._counter.text(endpoint, (job.raw or "") + job.prior)
            turns = await self._counter.chat(endpoint, job.messages)
            prior = await self._counter.text(endpoint, job.prior)
            return None if turns is None or prior is None else turns + prior
        except RequestRefused as refused:
            raise JobRefused("invalid_parameters", str(refused)) from refused

    def _pause(self, fault: Fault, attempt: int, tried: list[Endpoint]) -> float | None:
        """Seconds until the next attempt; None if there is none."""
        if not fault.may_retry or attempt >= self._settings.retries:
            return None
        if any(e not in tried and e.breaker.is_ready for e in self._endpoints.all):
            return 0.0
        pause = _FIRST_PAUSE * 2**attempt * (1 + self._jitter())
        pause = max(pause, fault.retry_after or 0.0)
        return pause if pause <= _LONGEST_PAUSE else None

    def _note(self, endpoint: Endpoint, fault: Fault) -> None:
        """Tell the operator, whose clients read less."""
        if fault.is_servers or fault.code in ("generation_failed", "model_not_found"):
            hint = ""
            if fault.detail.startswith(("status 401", "status 403")):
                hint = " (check api_key_env)"
            _log.warning("%s: %s%s", place(endpoint.url), fault.detail, hint)
