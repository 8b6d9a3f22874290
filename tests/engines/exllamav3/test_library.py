"""exllamav3 itself: what of it needs no GPU does what the engine relies on."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.tiny_models import EOS, IM_END, SENTENCE
from wsserver.core.engine import Sampling
from wsserver.engines.contract import JobRefused
from wsserver.engines.exllama.backend import Order
from wsserver.engines.exllama.sampling import choose_samplers
from wsserver.engines.exllama.settings import SamplingDefaults
from wsserver.engines.exllama.tokens import ModelTokenizer
from wsserver.engines.exllamav3.backend import V3Backend
from wsserver.engines.exllamav3.sampling import sampler_arguments


def order(sampling: Sampling, prior: str = "") -> Order:
    """A job for three tokens."""
    return Order("a", [1, 40, 41], 3, sampling, prior, frozenset((EOS, IM_END)))


def test_arguments_are_those_of_the_sampler(library: Any) -> None:
    """Every argument is known to the class, and what is left to it is neutral."""
    known = inspect.signature(library.ComboSampler.__init__).parameters
    arguments = sampler_arguments(choose_samplers(Sampling(), SamplingDefaults()), {})
    assert set(arguments) <= set(known)
    left = {name: known[name].default for name in set(known) - set(arguments) - {"self"}}
    assert left["dry_multiplier"] == 0.0
    assert left["adaptive_target"] == 1.0
    assert left["temp_last"] is False


def test_both_tokenizers_agree(backend: V3Backend, tokenizer: ModelTokenizer) -> None:
    """Ours and the library's make the same tokens."""
    for text in (SENTENCE, "größer 🎻\n", " the quick"):
        theirs = backend._tokenizer.encode(text)[0].tolist()
        assert tokenizer.tokenize(text, is_beginning=False, parse_control=False) == theirs


def test_configuration_knows_all_ends(backend: V3Backend) -> None:
    """What bounds a grammar in the library is what ends a turn here."""
    assert set(backend._config.eos_token_id_list) == {EOS, IM_END}


def test_job_has_what_was_ordered(backend: V3Backend) -> None:
    """Ends, length, log probabilities, banned strings together with a grammar."""
    sampling = Sampling(seed=7, banned_strings=("Bad",), logprobs=2, regex="[0-9]+")
    job = backend.make_job(order(sampling))
    assert job.stop_tokens == {EOS, IM_END}
    assert job.banned_strings == ["bad"]
    assert (job.max_new_tokens, job.return_probs, job.return_top_tokens) == (3, True, 2)
    assert len(job.filters) == 1
    assert backend.fault_of(job) is None


def test_grammar_fault_is_kept_and_not_raised(backend: V3Backend) -> None:
    """A token against the grammar is told to the engine; the step of all answers goes on."""
    job = backend.make_job(order(Sampling(regex="[0-9]{3}")))
    made = job.filters[0]
    made.vocab_size = 384
    assert made.get_next_logit_mask().shape[0] == 1
    assert made.feed(backend._tokenizer.encode("x")[0, 0].item()) is False
    made.get_next_logit_mask()
    assert backend.fault_of(job) == "the grammar could not be followed"


def test_grammar_ends_the_answer_when_it_is_complete(backend: V3Backend) -> None:
    """After its last token nothing more is sampled; an answer goes on behind its beginning."""
    made = backend.make_job(order(Sampling(regex="[0-9]{3}"), prior="12")).filters[0]
    assert made.feed(backend._tokenizer.encode("3")[0, 0].item()) is True
    with pytest.raises(JobRefused, match="taken up again"):
        backend.make_job(order(Sampling(regex="[0-9]{3}"), prior="no"))
