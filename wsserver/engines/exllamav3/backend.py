"""exllamav3's generator behind the interface of both ExLlama engines.

Decides which of the library's calls make a load, a job and a step. It is imported in the child,
and imports the library only in `V3Backend.open`: without a GPU that fails in ways of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from wsserver.core.engine import ModelLoadError
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.backend import Order
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.results import Event, read_result, sampled_scores
from wsserver.engines.exllama.sampling import choose_samplers, logit_bias
from wsserver.engines.exllama.settings import ExllamaSettings, Rules
from wsserver.engines.exllamav3.sampling import sampler_arguments
from wsserver.engines.folders import WeightFormat
from wsserver.engines.grammar import matcher_grammar

_NGRAM_MATCH: Final = 2  # tokens of the text so far that must be met again to guess from it
_BITS: Final = {"q8": 8, "q7": 7, "q6": 6, "q5": 5, "q4": 4, "q3": 3, "q2": 2}
_COLD: Final = "warming up failed in part, see the engine's log: the first answers are slower"


class V3Backend:
    """A `wsserver.engines.exllama.backend.Backend`."""

    name = "exllamav3"
    extension = "exllamav3_ext"
    formats = frozenset((WeightFormat.EXL3, WeightFormat.PLAIN))
    rules = Rules(
        "exllamav3",
        {"fp16": 16} | {name: bits + 0.5 for name, bits in _BITS.items()},
        # Positions are scaled as the model's config.json says.
        lacks=frozenset(("rope_scale", "rope_alpha")),
    )
    lacks = frozenset(("typical_p",))
    extra_reserve = 1  # a job's pages are reckoned with one token more

    def __init__(self) -> None:
        self._config: Any = None
        self._settings: ExllamaSettings | None = None
        self._model: Any = None
        self._draft: Any = None
        self._loras: list[Any] = []
        self._tokenizer: Any = None
        self._generator: Any = None

    def open(self, files: ModelFiles) -> bool:
        """Import the library and read the folder with it; it needs nothing for batches."""
        from exllamav3 import Config

        self._config = Config.from_directory(str(files.folder))
        return True

    def load(
        self, files: ModelFiles, settings: ExllamaSettings, report: Callable[[float], None]
    ) -> Sequence[str]:
        """Caches before weights: the library fills them while it loads."""
        from exllamav3 import Model

        self._settings = settings
        self._model = model = Model.from_config(self._config)
        cache = self.make_cache(model)
        draft_cache = self._load_draft(settings)
        # Without progress bars, which would fill the log.
        self._load_model(model, lambda done, total: report(done / max(1, total)))
        self._load_loras(settings)
        warnings = self._warm_up(model, cache, settings)
        self.open_generator(settings, cache, draft_cache)
        return warnings

    def open_generator(self, settings: ExllamaSettings, cache: Any, draft_cache: Any) -> None:
        """Make the tokenizer and the generator of the model that is there."""
        from exllamav3 import Generator, Tokenizer

        self._tokenizer = Tokenizer.from_config(self._config)
        self._generator = Generator(
            model=self._model,
            cache=cache,
            tokenizer=self._tokenizer,
            max_batch_size=settings.slots,
            max_chunk_size=settings.chunk,
            # The engine bounds a step's prompts itself. Its own way, half a chunk every fifth step
            # while others run, makes a long prompt wait ten times as long.
            shared_chunk_size=settings.chunk,
            prefill_cooldown=0,
            draft_model=self._draft,
            draft_cache=draft_cache,
            num_draft_tokens=settings.drafted or None,
            ngram_match_min=_NGRAM_MATCH if settings.ngram_draft else 0,
        )

    def open_grammars(self, tokenizer: str, end_tokens: frozenset[int]) -> None:
        """Have the library read its tokenizer for grammars now; it keeps what it read."""
        from exllamav3.generator.filter.llguidance import create_ll_tokenizer

        create_ll_tokenizer(self._tokenizer)

    def make_job(self, order: Order) -> Any:
        """A ``Job``."""
        import torch
        from exllamav3 import ComboSampler, Job

        assert self._settings is not None
        sampling = order.sampling
        bias = logit_bias(sampling.logit_bias, self._tokenizer.actual_vocab_size)
        samplers = choose_samplers(sampling, self._settings.sampling)
        return Job(
            input_ids=torch.tensor([order.tokens], dtype=torch.long),
            max_new_tokens=order.max_tokens,
            sampler=ComboSampler(**sampler_arguments(samplers, bias)),
            seed=sampling.seed,
            stop_conditions=sorted(order.end_tokens),
            return_probs=sampling.logprobs is not None,
            return_top_tokens=sampling.logprobs or 0,
            filters=self._filters(order),
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
        return [read_result(result, sampled_scores) for result in self._generator.iterate()]

    def synchronize(self) -> None:
        """Wait for the GPUs in use."""
        from exllamav3.util import cuda_sync_active

        cuda_sync_active()

    def cached_tokens(self, job: Any) -> int:
        """Whole pages, and what was copied of one."""
        from exllamav3.constants import PAGE_SIZE

        return int(job.cached_pages * PAGE_SIZE + job.cached_tokens)

    def fault_of(self, job: Any) -> str | None:
        """What its grammar could not follow; other faults of a job the library tells itself."""
        return next((item.fault for item in job.filters if item.fault), None)

    def close(self) -> None:
        """Unload, with all that holds on to the GPUs' memory."""
        if self._generator is not None:
            self._generator.close()
        self._generator = None
        for model in (self._model, self._draft):
            if model is not None:
                model.unload()
        self._model = self._draft = None

    def make_cache(self, model: Any) -> Any:
        """A cache for a model, which fills it when it loads."""
        from exllamav3 import Cache, CacheLayer_fp16, CacheLayer_quant

        assert self._settings is not None
        settings = self._settings
        bits = _BITS.get(settings.cache_type)
        quantized = {"k_bits": bits, "v_bits": bits} if bits else {}
        return Cache(
            model,
            max_num_tokens=settings.cache_tokens,
            layer_type=CacheLayer_quant if bits else CacheLayer_fp16,
            # Of models with a recurrent state: how many answers have one, and how far guesses that
            # were wrong can be taken back.
            max_batch_size=settings.slots,
            max_history=settings.drafted,
            **quantized,
        )

    def _load_model(self, model: Any, report: Callable[[int, int], None] | None) -> None:
        assert self._settings is not None
        settings = self._settings
        model.load(
            use_per_device=list(settings.gpu_split) or None,
            reserve_per_device=list(settings.gpu_reserve) or None,
            tensor_p=settings.tensor_parallel and report is not None,
            max_chunk_size=settings.chunk,
            max_batch_size=settings.slots,
            callback=report,
        )

    def _load_draft(self, settings: ExllamaSettings) -> Any:
        """Load the model that guesses ahead, if there is one; returns its cache."""
        if settings.draft_model is None:
            return None
        from exllamav3 import Config, Model

        if not Path(settings.draft_model, "config.json").is_file():
            raise ModelLoadError("'draft_model' is no folder of a model")
        config = Config.from_directory(settings.draft_model)
        if (config.vocab_size or 0) < (self._config.vocab_size or 0):
            raise ModelLoadError("'draft_model' has another vocabulary than the model")
        self._draft = Model.from_config(config)
        cache = self.make_cache(self._draft)
        self._load_model(self._draft, None)
        return cache

    def _load_loras(self, settings: ExllamaSettings) -> None:
        from exllamav3.model.lora import LoRA

        for lora in settings.loras:
            if not Path(lora.folder, "adapter_config.json").is_file():
                name = Path(lora.folder).name
                raise ModelLoadError(f"'loras': {name} is no folder of an adapter")
            self._loras.append(LoRA.from_directory(self._model, lora.folder, lora.scale))

    def _warm_up(self, model: Any, cache: Any, settings: ExllamaSettings) -> tuple[str, ...]:
        """Have kernels compiled and tuned before the first answer, not in it."""
        failed = model.warmup(
            cache=cache, max_chunk_size=settings.chunk, max_batch_size=min(8, settings.slots)
        )
        return (_COLD,) if failed else ()

    def _filters(self, order: Order) -> list[Any]:
        grammar = matcher_grammar(order.sampling)
        if grammar is None:
            return []
        from wsserver.engines.exllamav3.filters import GrammarFilter

        try:
            made = GrammarFilter(self._tokenizer, grammar, order.prior)
        except RuntimeError as error:
            message = "an answer bound by a grammar could not be taken up again"
            raise JobRefused("generation_failed", message) from error
        except ValueError as error:
            raise JobRefused("invalid_parameters", f"the grammar can't be used: {error}") from error
        return [made]
