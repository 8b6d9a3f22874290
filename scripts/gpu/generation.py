"""The libraries' own generators with nothing in front: for comparing answers, and as a baseline.

Imports torch and an engine's library, so only where there is a GPU.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scripts.gpu.agreement import Greedy

PAGE = 256


class Generator(Protocol):
    """What both libraries' generators have in common."""

    def enqueue(self, job: Any) -> Any: ...
    def iterate(self) -> list[dict[str, Any]]: ...
    def num_remaining_jobs(self) -> int: ...


@dataclass(frozen=True)
class Loaded:
    """A loaded model with its generator."""

    library: str
    generator: Generator
    tokenizer: Any

    def encode(self, text: str) -> Any:
        """Tokens, shape (1, n)."""
        return self.tokenizer.encode(text)

    def job(self, tokens: Any, limit: int, name: object, *, logits: bool = False) -> Any:
        """A greedy job that ends by its limit only."""
        common = {"input_ids": tokens, "max_new_tokens": limit, "identifier": name}
        common |= {"return_logits": logits, "decode_special_tokens": True}
        if self.library == "exllamav3":
            from exllamav3 import ArgmaxSampler, Job

            return Job(**common, sampler=ArgmaxSampler())
        from exllamav2.generator import ExLlamaV2DynamicJob, ExLlamaV2Sampler

        return ExLlamaV2DynamicJob(**common, gen_settings=ExLlamaV2Sampler.Settings.greedy())


def load(
    library: str,
    folder: Path,
    *,
    cache_tokens: int,
    slots: int,
    chunk: int = 512,
    cache: str = "fp16",
    paged: bool = True,
) -> Loaded:
    """Load a folder. ``cache``: "fp16" or "q4". ``paged`` is for exllamav2 alone."""
    if library == "exllamav3":
        return _load_v3(folder, cache_tokens, slots, chunk, cache)
    from exllamav2 import (
        ExLlamaV2,
        ExLlamaV2Cache,
        ExLlamaV2Cache_Q4,
        ExLlamaV2Config,
        ExLlamaV2Tokenizer,
    )
    from exllamav2.generator import ExLlamaV2DynamicGenerator

    config = ExLlamaV2Config(str(folder))
    # A decode step of all answers, eight rows each, must fit as well as a chunk of a prompt.
    config.max_input_len = max(chunk, -(-8 * slots // PAGE) * PAGE)
    config.max_attention_size = config.max_input_len**2
    config.max_output_len = 16  # rows of logits: of a prompt none are needed
    # 0.3.2 leaves the causal mask away in one of its paths without flash-attn.
    config.no_flash_attn = config.no_sdpa = config.no_xformers = not paged
    config.arch_compat_overrides()
    model = ExLlamaV2(config)
    kind = ExLlamaV2Cache_Q4 if cache == "q4" else ExLlamaV2Cache
    storage = kind(model, max_seq_len=cache_tokens, lazy=True)
    model.load_autosplit(storage)
    tokenizer = ExLlamaV2Tokenizer(config)
    generator = ExLlamaV2DynamicGenerator(
        model=model,
        cache=storage,
        tokenizer=tokenizer,
        max_batch_size=slots,
        max_chunk_size=chunk,
        paged=paged,
    )
    generator.warmup()
    return Loaded(library, generator, tokenizer)


def _load_v3(folder: Path, cache_tokens: int, slots: int, chunk: int, cache: str) -> Loaded:
    from exllamav3 import Cache, CacheLayer_quant, Config, Generator, Model, Tokenizer

    config = Config.from_directory(str(folder))
    model = Model.from_config(config)
    kind = {"layer_type": CacheLayer_quant, "k_bits": 4, "v_bits": 4} if cache == "q4" else {}
    storage = Cache(model, max_num_tokens=cache_tokens, max_batch_size=slots, **kind)
    model.load()
    tokenizer = Tokenizer.from_config(config)
    generator = Generator(model, storage, tokenizer, max_batch_size=slots, max_chunk_size=chunk)
    return Loaded("exllamav3", generator, tokenizer)


def answer(
    loaded: Loaded, prompts: Sequence[str], limit: int, *, together: bool = True
) -> list[Greedy]:
    """Greedy answers of ``limit`` tokens, at once or one after another, with their logits."""
    batches = [list(enumerate(prompts))] if together else [[item] for item in enumerate(prompts)]
    answers: dict[object, Greedy] = {}
    for batch in batches:
        for number, prompt in batch:
            loaded.generator.enqueue(loaded.job(loaded.encode(prompt), limit, number, logits=True))
        tokens: dict[object, list[int]] = {number: [] for number, _ in batch}
        logits: dict[object, list[Any]] = {number: [] for number, _ in batch}
        while loaded.generator.num_remaining_jobs():
            for result in loaded.generator.iterate():
                if result["stage"] == "streaming" and "token_ids" in result:
                    tokens[result["identifier"]] += result["token_ids"].flatten().tolist()
                    rows = result["logits"].float().cpu().numpy()
                    logits[result["identifier"]].append(rows.reshape(-1, rows.shape[-1]))
        for number, _ in batch:
            answers[number] = Greedy(tuple(tokens[number]), np.concatenate(logits[number]))
    return [answers[number] for number in range(len(prompts))]


def tokens_per_second(loaded: Loaded, prompts: Sequence[str], limit: int) -> float:
    """Tokens of all answers over the time from the first job to the last token."""
    began = time.perf_counter()
    for number, prompt in enumerate(prompts):
        loaded.generator.enqueue(loaded.job(loaded.encode(prompt), limit, number))
    tokens = 0
    while loaded.generator.num_remaining_jobs():
        for result in loaded.generator.iterate():
            if "token_ids" in result:
                tokens += result["token_ids"].shape[-1]
    return tokens / (time.perf_counter() - began)
