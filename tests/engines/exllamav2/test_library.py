"""exllamav2 itself on a CPU: what of it needs no GPU does what the engine relies on."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from tests.tiny_models import EOS, IM_END, SENTENCE
from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.backend import Order
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.machine import look_around, what_is_missing
from wsserver.engines.exllama.sampling import choose_samplers
from wsserver.engines.exllama.settings import ExllamaSettings, SamplingDefaults
from wsserver.engines.exllama.tokens import ModelTokenizer
from wsserver.engines.exllamav2.backend import V2Backend, logit_scores
from wsserver.engines.exllamav2.sampling import settings_fields

# Fields of Settings that are state of an answer, or have a value of their own kind.
NO_VALUE = {
    *("mirostat_tau", "mirostat_eta", "mirostat_mu", "post_sampling_hooks", "token_bias"),
    *("ngram_trie", "ngram_index", "ngram_history", "dry_allowed_length", "dry_base"),
    *("dry_sequence_breakers", "dry_range", "dry_max_ngram"),
    *("xtc_threshold", "xtc_ignore_tokens"),
}


def order(sampling: Sampling, tokens: list[int] | None = None, prior: str = "") -> Order:
    """A job for three tokens."""
    ends = frozenset((EOS, IM_END))
    return Order("a", tokens or [1, 40, 41], 3, sampling, prior, ends)


def sample(backend: V2Backend, logits: Any, sampling: Sampling, random: float = 0.5) -> int:
    """A token, chosen by the library from ``logits``."""
    import torch
    from exllamav2.generator import ExLlamaV2Sampler

    past = torch.tensor([[1, 40, 41]], dtype=torch.long)
    chosen, *_ = ExLlamaV2Sampler.sample(
        logits.clone().view(1, 1, -1),
        backend._sampler(order(sampling)),
        past,
        random,
        backend._tokenizer,
    )
    return int(chosen.item())


def slope(backend: V2Backend) -> Any:
    """Logits that rise with the token: the likeliest is the last of the vocabulary."""
    import torch

    width = -(-backend._config.vocab_size // 32) * 32
    return torch.arange(width, dtype=torch.float) / 20


def test_configuration_takes_our_overrides(backend: V2Backend) -> None:
    """Lengths, rope scaling and the guard against torch's attention without a mask."""
    from wsserver.engines.exllamav2 import loading

    settings = ExllamaSettings(
        slots=200, ctx=1024, cache_tokens=2048, rope_scale=2.0, rope_alpha=3.0
    )
    config = backend._config
    assert loading.fit_config(config, settings, is_paged=False) == 512
    assert config.max_input_len * config.max_batch_size >= 8 * 200
    assert (config.scale_pos_emb, config.scale_alpha_value, config.no_sdpa) == (2.0, 3.0, True)
    assert config.max_seq_len >= 1024
    small = ExllamaSettings(slots=1, ctx=256, cache_tokens=256)
    assert loading.fit_config(config, small, is_paged=True) == 256


def test_no_field_of_the_settings_keeps_the_librarys_default(library: Any) -> None:
    """Each field that takes part in sampling has a value of ours, and none is unknown to it."""
    from exllamav2.generator import ExLlamaV2Sampler

    known = {item.name for item in dataclasses.fields(ExLlamaV2Sampler.Settings)}
    fields = settings_fields(choose_samplers(Sampling(), SamplingDefaults()))
    assert set(fields) <= known
    assert known - set(fields) == NO_VALUE


@pytest.mark.parametrize("random", [0.0, 0.5, 0.999])
@pytest.mark.parametrize(
    "sampling",
    [Sampling(temperature=0.0), Sampling(top_k=1), Sampling(top_p=0.0), Sampling(min_p=1.0)],
)
def test_greedy_takes_the_likeliest(backend: V2Backend, sampling: Sampling, random: float) -> None:
    """Whatever the dice say, for each of the ways to ask for it."""
    last = backend._tokenizer.get_vocab_size() - 1
    assert sample(backend, slope(backend), sampling, random) == last


def test_options_reach_the_sampler(backend: V2Backend) -> None:
    """A bias bans a token, top-k bounds the choice, a high temperature opens it."""
    last = backend._tokenizer.get_vocab_size() - 1
    banned = Sampling(temperature=0.0, logit_bias={str(last): -100.0})
    assert sample(backend, slope(backend), banned) == last - 1
    wide = Sampling(temperature=2.0)
    assert sample(backend, slope(backend), wide, 0.3) < last - 5
    narrow = Sampling(temperature=2.0, top_k=2)
    assert sample(backend, slope(backend), narrow, 0.3) >= last - 1


def test_penalty_moves_the_choice(backend: V2Backend) -> None:
    """A token of the prompt loses its place to the next one."""
    import torch

    logits = torch.zeros_like(slope(backend))
    logits[40], logits[50] = 5.0, 4.5
    assert sample(backend, logits, Sampling(temperature=0.0)) == 40
    repeated = Sampling(temperature=0.0, repetition_penalty=1.5)
    assert sample(backend, logits, repeated) == 50
    present = Sampling(temperature=0.0, presence_penalty=1.0)
    assert sample(backend, logits, present) == 50


def test_both_tokenizers_agree(backend: V2Backend, tokenizer: ModelTokenizer) -> None:
    """Ours and the library's make the same tokens, and mean the same by them."""
    for text in (SENTENCE, "größer 🎻\n", " the quick"):
        theirs = backend._tokenizer.encode(text)[0].tolist()
        assert tokenizer.tokenize(text, is_beginning=False, parse_control=False) == theirs
    pieces = backend._tokenizer.get_id_to_piece_list(False)
    vocabulary = tokenizer.vocabulary
    for token in range(len(vocabulary)):
        assert vocabulary.show(token) == pieces[token], token
    steering = backend._tokenizer.encode("<|im_end|>", encode_special_tokens=True)[0].tolist()
    assert steering == [IM_END]


def constrained(backend: V2Backend, sampling: Sampling, prior: str = "", steps: int = 60) -> str:
    """Text sampled under a grammar from logits that know nothing, up to the end of the turn."""
    import torch
    from exllamav2.generator import ExLlamaV2Sampler

    job = backend.make_job(order(sampling, prior=prior))
    dice = torch.Generator().manual_seed(3)
    text = ""
    for _ in range(steps):
        logits = torch.randn((1, 1, slope(backend).shape[-1]), generator=dice)
        chosen, *_ = ExLlamaV2Sampler.sample(
            logits,
            job.gen_settings,
            job.sequences[0].sequence_ids.torch(),
            0.5,
            backend._tokenizer,
            filters=job.filters,
        )
        for each in job.filters:
            each.feed(chosen)
        assert backend.fault_of(job) is None
        if int(chosen.item()) in (EOS, IM_END):
            return text
        text += backend._tokenizer.get_id_to_piece_list(False)[int(chosen.item())]
    raise AssertionError(f"the turn did not end: {text!r}")


def test_grammars_bind_what_is_sampled(backend: V2Backend) -> None:
    """An expression, a schema and GBNF hold at every token, and then only the end is left."""
    assert len(constrained(backend, Sampling(regex="[0-9]{3}"))) == 3
    assert constrained(backend, Sampling(regex="[0-9]{3}")).isdigit()
    schema = {"type": "object", "properties": {"a": {"enum": ["x", "y"]}}, "required": ["a"]}
    closed = schema | {"additionalProperties": False}
    assert json.loads(constrained(backend, Sampling(json_schema=closed)))["a"] in ("x", "y")
    assert constrained(backend, Sampling(grammar='root ::= "ye" ("s" | "a")')) in ("yes", "yea")


def test_grammar_goes_on_behind_what_was_said(backend: V2Backend) -> None:
    """An answer taken up again is led through its beginning; one that breaks it is refused."""
    assert len(constrained(backend, Sampling(regex="[0-9]{3}"), prior="12")) == 1
    with pytest.raises(JobRefused, match="taken up again"):
        backend.make_job(order(Sampling(regex="[0-9]{3}"), prior="no"))


def test_token_against_the_grammar_is_a_fault_of_the_answer(backend: V2Backend) -> None:
    """It is kept for the engine and not raised into the step of all answers."""
    import torch

    job = backend.make_job(order(Sampling(regex="[0-9]{3}")))
    job.filters[0].feed(torch.tensor([[backend._tokenizer.encode("x")[0, 0].item()]]))
    assert backend.fault_of(job) == "the grammar could not be followed"
    assert job.filters[0].prepare_logit_mask()
    logits = slope(backend)
    assert job.filters[0].mask_logits(logits) is logits


def test_job_has_what_was_ordered(backend: V2Backend) -> None:
    """Ends, seed, banned strings, length; what can't go together is refused."""
    sampling = Sampling(seed=7, banned_strings=("Bad",), logprobs=2)
    job = backend.make_job(order(sampling))
    assert job.stop_tokens == {EOS, IM_END}
    assert job.banned_strings == ["bad"]
    assert (job.max_new_tokens, job.return_logits, job.identifier) == (3, True, "a")
    again = backend.make_job(order(sampling))
    assert job.rng.random() == again.rng.random()
    assert backend.cached_tokens is not None
    with pytest.raises(JobRefused, match="bannedStrings and a grammar"):
        backend.make_job(order(Sampling(regex="a", banned_strings=("b",))))
    with pytest.raises(JobRefused, match="logitBias"):
        backend.make_job(order(Sampling(logit_bias={"999999": 1.0})))


def test_scores_are_of_the_tokens_given(backend: V2Backend) -> None:
    """Log probabilities sum to one over the vocabulary, and the top is sorted."""
    import torch

    logits = torch.stack((slope(backend), slope(backend)))[None]
    first, second = logit_scores({"token_ids": torch.tensor([[5, 6]]), "logits": logits})
    assert second.logprob - first.logprob == pytest.approx(1 / 20, abs=1e-4)
    values = [value for _, value in first.top]
    assert len(values) == 20
    assert values == sorted(values, reverse=True)


def test_load_names_what_is_missing_here(library: Any, files: ModelFiles) -> None:
    """Where the library imports and there is no GPU, that is what the load says."""
    facts = look_around(V2Backend.extension)
    words = what_is_missing("exllamav2", facts)
    assert (words is None) == (facts.gpus > 0)
    assert words is None or "sees no usable GPU" in words or "processors only" in words
