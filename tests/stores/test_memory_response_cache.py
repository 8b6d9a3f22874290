"""The embedded response cache: bounds, age, and what a key depends on."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsserver.core.cache import CachedAnswer, cache_key, is_deterministic
from wsserver.core.engine import ChatMessage, Sampling
from wsserver.core.jobs import Job
from wsserver.stores.memory.response_cache import MemoryResponseCache
from wsserver_protocol.lifecycle import FinishReason
from wsserver_protocol.options import GenerationOptions


def answer(text: str = "x") -> CachedAnswer:
    return CachedAnswer(text, 1, 1, FinishReason.STOP)


def job(**changes: object) -> Job:
    fields: dict[str, object] = {
        "stream_id": "s",
        "model_id": "m",
        "owner": "o",
        "messages": (ChatMessage(role="user", content="hi"),),
        "raw": None,
        "max_tokens": 10,
        "sampling": Sampling(temperature=0.0),
    }
    return Job(**{**fields, **changes})  # type: ignore[arg-type]  # checked by the struct's users


def test_the_least_recently_used_goes_first() -> None:
    """Past the number of entries, what nobody asked for longest is dropped."""
    cache = MemoryResponseCache(entries=2, size=10_000, ttl=60)
    cache.put(b"a", answer("a"), 0)
    cache.put(b"b", answer("b"), 0)
    assert cache.get(b"a", 1) == answer("a")
    cache.put(b"c", answer("c"), 2)
    assert (cache.get(b"b", 3), cache.get(b"a", 3)) == (None, answer("a"))


def test_an_answer_is_good_for_its_time() -> None:
    """An entry past its TTL is a miss."""
    cache = MemoryResponseCache(entries=2, size=10_000, ttl=60)
    cache.put(b"a", answer(), 0)
    assert cache.get(b"a", 60) is not None
    assert cache.get(b"a", 60.1) is None
    assert len(cache) == 0


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3000)), max_size=60))
def test_the_bytes_kept_stay_within_the_bound(steps: list[tuple[int, int]]) -> None:
    """Whatever is put, the answers kept never cost more than the bound."""
    cache = MemoryResponseCache(entries=8, size=8000, ttl=60)
    for key, length in steps:
        cache.put(bytes([key]), answer("x" * length), 0)
        kept = [cache.get(bytes([k]), 0) for k in range(21)]
        assert sum(one.size for one in kept if one is not None) <= 8000
        assert len(cache) <= 8


@pytest.mark.parametrize(
    "change",
    [
        {"model_id": "n"},
        {"messages": (ChatMessage(role="user", content="ho"),)},
        {"messages": None, "raw": "hi"},
        {"prior": "said"},
        {"max_tokens": 11},
        *({"sampling": s} for s in (Sampling(temperature=0.0, top_k=1), Sampling(seed=7))),
    ],
)
def test_whatever_the_text_depends_on_is_in_the_key(change: dict[str, object]) -> None:
    """Another input, option or model is another key."""
    assert cache_key(job(), "1") != cache_key(job(**change), "1")


def test_a_reload_is_another_key_and_an_id_is_not() -> None:
    """The key follows the load of the model, not the stream or its asker."""
    assert cache_key(job(), "1") != cache_key(job(), "2")
    assert cache_key(job(), "1") == cache_key(job(stream_id="t", owner="p", priority=3), "1")


def test_every_sampling_option_is_in_the_key() -> None:
    """An option that is added to the sampling later counts without anybody remembering it."""
    names = Sampling.__struct_fields__
    plain = Sampling()
    other: dict[type, object] = {tuple: ("x",), type(None): 1, str: "none"}
    keys = {cache_key(job(sampling=plain), "1")}
    for name in names:
        value = other[type(getattr(plain, name))]
        keys.add(cache_key(job(sampling=msgspec.structs.replace(plain, **{name: value})), "1"))
    assert len(keys) == len(names) + 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (GenerationOptions(), False),
        (GenerationOptions(temperature=0), True),
        (GenerationOptions(temperature=0.5), False),
        (GenerationOptions(temperature=0.5, seed=1), True),
        (GenerationOptions(temperature=0, cache=False), False),
        (GenerationOptions(temperature=0, logprobs=3), False),
    ],
)
def test_only_what_is_deterministic_is_cached(options: GenerationOptions, expected: bool) -> None:
    """Temperature 0 or a seed, and no word against it."""
    assert is_deterministic(options) is expected
