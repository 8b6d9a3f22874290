"""One running answer: from a generator's events to outputs.

Decides what is shown of the tokens, and when the answer is over. It starts and cancels nothing.
The rule: after `Answer.take` or `Answer.cancel` gave an end, nothing more comes of it.
"""

from __future__ import annotations

import re

from wsserver.core.engine import (
    Delta,
    EngineJob,
    Failed,
    Finished,
    FinishReason,
    Output,
    Prefilled,
    TokenLogprob,
)
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.results import End, Event, Scored, Stage
from wsserver.engines.exllama.vocabulary import AnswerText, Vocabulary
from wsserver.engines.stops import StopMatcher


class Answer:
    """Turns one job's events into outputs."""

    def __init__(
        self,
        job: EngineJob,
        prompt_tokens: int,
        vocabulary: Vocabulary,
        own_stops: tuple[str, ...] = (),
    ) -> None:
        """``own_stops`` end the answer like the model's own end of turn, not as a stop string."""
        self.job_id = job.job_id
        self.prompt_tokens = prompt_tokens
        self.is_over = False
        self.is_prefilled = False
        self.done = 0  # prompt tokens processed
        self._vocabulary = vocabulary
        self._top = job.sampling.logprobs
        self._text = AnswerText(vocabulary)
        self._stops = StopMatcher(job.sampling.stop)
        self._own_stops = StopMatcher(own_stops)
        self._banned = [
            re.compile(re.escape(s), re.IGNORECASE) for s in job.sampling.banned_strings
        ]
        self._cached = 0

    @staticmethod
    def unborn(job_id: str) -> list[Output]:
        """The end of one that was cancelled before its prompt was tokens."""
        return [Finished(job_id, FinishReason.CANCELLED, 0)]

    @staticmethod
    def refused(job_id: str, reason: JobRefused) -> list[Output]:
        """The end of one that could not begin."""
        return [reason.as_failed(job_id)]

    def take(self, event: Event, cached: int) -> list[Output]:
        """One event; ``cached``: prompt tokens that were not computed anew, as known by now."""
        if self.is_over:
            return []
        self._cached = min(cached, self.prompt_tokens)
        match event.stage:
            case Stage.STARTED:
                return []
            case Stage.ERROR:
                return self.fail("generation_failed", "the engine failed at this answer")
            case Stage.PREFILL:
                return self._prefilled(min(event.done, self.prompt_tokens))
            case Stage.TOKENS:
                return self._take_tokens(event)

    def cancel(self) -> list[Output]:
        """The end by a cancel, with what a stop string held back."""
        return self._end(FinishReason.CANCELLED)

    def fail(self, code: str, message: str, *, retryable: bool = True) -> list[Output]:
        """The end by a fault of this answer alone."""
        self.is_over = True
        return [Failed(self.job_id, code, message, retryable)]

    def _prefilled(self, done: int) -> list[Output]:
        self.done = done
        return [Prefilled(self.job_id, done, self.prompt_tokens, self._cached)]

    def _take_tokens(self, event: Event) -> list[Output]:
        outputs: list[Output] = []
        if not self.is_prefilled:
            # The generator tells of chunks, and of none where all was in its cache.
            self.is_prefilled = True
            outputs += self._prefilled(self.prompt_tokens)
        text = self._text.push(event.tokens)
        if event.end is End.MODEL:
            # Cut off by a limit or a cancel, half a character is left out, so that an answer that
            # goes on from there can say it whole.
            text += self._text.finish()
        elif event.end is End.LIMIT:
            text = self._without_banned(text)
        shown = self._stops.push(self._own_stops.push(text))
        if shown or event.tokens:
            told = self._told(event)
            outputs.append(Delta(self.job_id, shown, len(event.tokens), told))
        if self._stops.is_matched:
            return outputs + self._end(FinishReason.STOP_STRING)
        if self._own_stops.is_matched or event.end is End.MODEL:
            return outputs + self._end(FinishReason.STOP)
        return outputs if event.end is None else outputs + self._end(FinishReason.LENGTH)

    def _end(self, reason: FinishReason) -> list[Output]:
        self.is_over = True
        held = self._stops.push(self._own_stops.finish()) + self._stops.finish()
        shown: list[Output] = [Delta(self.job_id, held, 0)] if held else []
        return [*shown, Finished(self.job_id, reason, self.prompt_tokens, self._cached)]

    def _without_banned(self, text: str) -> str:
        """The last text of an answer, up to a banned string: the libraries look for these after
        they look at the limit. What might have begun one was held back, so it is all in here."""
        found = (match.start() for ban in self._banned if (match := ban.search(text)))
        return text[: min(found, default=len(text))]

    def _told(self, event: Event) -> tuple[TokenLogprob, ...] | None:
        if self._top is None or not event.scores:
            return None
        pairs = zip(event.tokens, event.scores, strict=False)
        return tuple(self._token_told(token, scored) for token, scored in pairs)

    def _token_told(self, token: int, scored: Scored) -> TokenLogprob:
        show = self._vocabulary.show
        top = tuple((show(other), logprob) for other, logprob in scored.top[: self._top])
        return TokenLogprob(show(token), scored.logprob, top)
