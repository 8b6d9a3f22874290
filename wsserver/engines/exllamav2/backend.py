"""exllamav2's dynamic generator behind the interface of both ExLlama engines.

Decides which of the library's calls make a job and a step. It is imported in the child, and
imports the library only in `V2Backend.open`: without a GPU that fails in ways of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from wsserver.core.engine import ModelLoadError
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.backend import Order
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.results import Event, Scored, bounded, read_result
from wsserver.engines.exllama.sampling import MAX_TOP, choose_samplers, logit_bias
from wsserver.engines.exllama.settings import ExllamaSettings, Rules
from wsserver.engines.exllamav2.sampling import settings_fields
from wsserver.engines.folders import WeightFormat
from wsserver.engines.grammar import matcher_grammar

NO_PAGING: Final = (
    "one answer at a time, others wait: ExLlamaV2 computes several at once only with flash-attn"
    " 2.5.7 or later on an Ampere GPU or newer (pip install flash-attn, built for this torch)"
)


class V2Backend:
    """A `wsserver.engines.exllama.backend.Backend`."""

    name = "exllamav2"
    extension = "exllamav2_ext"
    formats = frozenset((WeightFormat.EXL2, WeightFormat.GPTQ, WeightFormat.PLAIN))
    rules = Rules("exllamav2", {"fp16": 16, "q8": 8.5, "q6": 6.5, "q4": 4.5})
    lacks: frozenset[str] = frozenset()
    extra_reserve = 0

    def __init__(self) -> None:
        self._config: Any = None
        self._is_paged = False
        self._settings: ExllamaSettings | None = None
        self._weights: Any = None
        self._draft: Any = None
        self._tokenizer: Any = None
        self._generator: Any = None
        self._grammars: Any = None

    def open(self, files: ModelFiles) -> bool:
        """Import the library and read the folder with it."""
        from wsserver.engines.exllamav2 import loading

        self._config = loading.open_config(files.folder)
        self._is_paged = loading.has_paging(self._config)
        return self._is_paged

    def load(
        self, files: ModelFiles, settings: ExllamaSettings, report: Callable[[float], None]
    ) -> Sequence[str]:
        """The draft first: the model itself then takes what is left."""
        from wsserver.engines.exllamav2 import loading

        if settings.tensor_parallel and (not self._is_paged or files.format is WeightFormat.PLAIN):
            raise ModelLoadError("'tensor_parallel' needs quantized weights and flash-attn 2.5.7")
        self._settings = settings
        chunk = loading.fit_config(self._config, settings, is_paged=self._is_paged)
        self._draft = loading.load_draft(settings, self._config, is_paged=self._is_paged)
        self._weights = loading.load_weights(
            self._config, settings, lambda done, total: report(done / max(1, total))
        )
        self.open_generator(settings, chunk)
        if settings.loras:
            self._generator.set_loras(loading.load_loras(self._weights.model, settings))
        # Kernels are chosen and buffers made at the first use; a fault shows now, not to a client.
        self._generator.warmup()
        return () if self._is_paged else (NO_PAGING,)

    def open_generator(self, settings: ExllamaSettings, chunk: int) -> None:
        """Make the tokenizer and the generator of the weights that are there."""
        from exllamav2 import ExLlamaV2Tokenizer
        from exllamav2.generator import ExLlamaV2DynamicGenerator

        self._tokenizer = ExLlamaV2Tokenizer(self._config)
        # Built at the first answer otherwise, whose step would then take a second.
        for with_special in (False, True):
            self._tokenizer.get_id_to_piece_list(with_special)
        self._generator = ExLlamaV2DynamicGenerator(
            model=self._weights.model,
            cache=self._weights.cache,
            tokenizer=self._tokenizer,
            max_batch_size=settings.slots,
            max_chunk_size=chunk,
            draft_model=self._draft and self._draft.model,
            draft_cache=self._draft and self._draft.cache,
            num_draft_tokens=settings.draft_tokens,
            use_ngram_draft=settings.ngram_draft,
            paged=self._is_paged,
        )

    def open_grammars(self, tokenizer: str, end_tokens: frozenset[int]) -> None:
        """Read the tokenizer once for all grammars."""
        from wsserver.engines.exllamav2.filters import open_tokenizer

        self._grammars = open_tokenizer(tokenizer, end_tokens)

    def make_job(self, order: Order) -> Any:
        """An ``ExLlamaV2DynamicJob``."""
        import torch
        from exllamav2.generator import ExLlamaV2DynamicJob

        assert self._settings is not None
        sampling, filters = order.sampling, self._filters(order)
        if filters and sampling.banned_strings:
            message = "exllamav2 can't have bannedStrings and a grammar in one answer"
            raise JobRefused("unsupported_option", message)
        return ExLlamaV2DynamicJob(
            input_ids=torch.tensor([order.tokens], dtype=torch.long),
            # It ends a job by the length of a guess too early.
            max_new_tokens=order.max_tokens + self._settings.drafted,
            gen_settings=self._sampler(order),
            seed=sampling.seed,
            stop_conditions=sorted(order.end_tokens),
            return_logits=sampling.logprobs is not None,
            filters=filters,
            identifier=order.job_id,
            banned_strings=list(sampling.banned_strings) or None,
        )

    def enqueue(self, job: Any) -> None:
        """Hand it to the generator."""
        self._generator.enqueue(job)

    def cancel(self, job: Any) -> None:
        """Free its pages."""
        self._generator.cancel(job)

    def iterate(self) -> list[Event]:
        """One step of the generator."""
        results = self._generator.iterate()
        return [read_result(result, logit_scores, keeps_suppressed=True) for result in results]

    def synchronize(self) -> None:
        """Wait for the GPUs in use."""
        from exllamav2.util import cuda_sync_active

        cuda_sync_active()

    def cached_tokens(self, job: Any) -> int:
        """Whole pages, and what was copied of one."""
        return int(job.cached_pages * self._generator.page_size + job.cached_tokens)

    def fault_of(self, job: Any) -> str | None:
        """What its grammar could not follow."""
        return next((item.fault for item in job.filters if item.fault), None)

    def close(self) -> None:
        """Unload, with all that holds on to the GPUs' memory."""
        self._generator = None
        for weights in (self._weights, self._draft):
            if weights is not None:
                weights.model.unload()
        self._weights = self._draft = None

    def _sampler(self, order: Order) -> Any:
        import torch
        from exllamav2.generator import ExLlamaV2Sampler

        assert self._settings is not None
        samplers = choose_samplers(order.sampling, self._settings.sampling)
        settings = ExLlamaV2Sampler.Settings(**settings_fields(samplers))
        bias = logit_bias(order.sampling.logit_bias, self._tokenizer.get_vocab_size())
        if bias:
            width = -(-self._config.vocab_size // 32) * 32
            settings.token_bias = torch.zeros((width,), dtype=torch.float)
            settings.token_bias[list(bias)] = torch.tensor(list(bias.values()))
        return settings

    def _filters(self, order: Order) -> list[Any]:
        grammar = matcher_grammar(order.sampling)
        if grammar is None:
            return []
        from wsserver.engines.exllamav2.filters import GrammarFilter, open_matcher

        matcher = open_matcher(self._grammars, grammar, order.prior)
        made = GrammarFilter(self._weights.model, self._tokenizer, matcher)
        if made.fault is not None:
            message = "an answer bound by a grammar could not be taken up again"
            raise JobRefused("generation_failed" if order.prior else "invalid_parameters", message)
        return [made]


def logit_scores(result: Mapping[str, Any]) -> tuple[Scored, ...]:
    """Of ``logits``, shape (1, n, vocabulary): penalties and biases reckoned in, temperature and
    cut-offs not. What the library tells as probabilities is after these: 1 for a greedy answer."""
    if "logits" not in result or "token_ids" not in result:
        return ()
    logprobs = result["logits"][0].float().log_softmax(-1)
    chosen = result["token_ids"][:, : logprobs.shape[0]]
    own = logprobs.gather(1, chosen.T).flatten().tolist()
    values, names = logprobs.topk(min(MAX_TOP, logprobs.shape[-1]))
    return tuple(
        Scored(bounded(score), tuple(zip(ids, map(bounded, others), strict=True)))
        for score, ids, others in zip(own, names.tolist(), values.tolist(), strict=True)
    )
