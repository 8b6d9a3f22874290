"""Settings of a llama.cpp load and their defaults."""

from __future__ import annotations

from typing import Any

import pytest

from wsserver.core.engine import ModelLoadError
from wsserver.engines.llamacpp.devices import Placement
from wsserver.engines.llamacpp.gguf import Metadata, Scalar
from wsserver.engines.llamacpp.settings import (
    Machine,
    SamplingDefaults,
    cache_bytes,
    choose_settings,
    usable_cores,
)

GIB = 1 << 30
LAPTOP = Machine(cores=8, free_memory=12 * GIB, has_gpu=False)
SHAPE: dict[str, Scalar] = {
    "general.architecture": "llama",
    "llama.context_length": 131_072,
    "llama.block_count": 32,
    "llama.embedding_length": 4096,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
}


def metadata(**more: Scalar) -> Metadata:
    """An 8B model's header."""
    values = SHAPE | {key.replace("__", "."): value for key, value in more.items()}
    return Metadata(values, vocabulary=128_000, steering_tokens=())


def test_defaults_suit_the_machine() -> None:
    """Four slots of 4,096 tokens where memory allows, a core left free, small prompt steps."""
    chosen = choose_settings({}, metadata(), 5 * GIB, LAPTOP)
    assert (chosen.slots, chosen.ctx, chosen.threads, chosen.batch) == (4, 4096, 7, 32)


def test_cache_of_a_job_is_that_of_its_shape() -> None:
    """Keys and values of 32 layers, 8 heads of 128, half precision: 128 KiB a token."""
    half = Placement()
    assert cache_bytes(metadata(), 4096, half) == 512 << 20
    assert cache_bytes(Metadata({}, 0, ()), 4096, half) == 0
    eighths = Placement(cache_type_k="q8_0", cache_type_v="q4_0")
    assert cache_bytes(metadata(), 4096, eighths) == (512 << 20) * (34 + 18) // (2 * 64)


def test_idle_chats_take_bounded_memory() -> None:
    """Prompts of idle chats take twice the slots' memory for a small model, 256 MiB for others."""
    tiny = metadata(llama__block_count=2, llama__embedding_length=256, llama__context_length=1024)
    assert choose_settings({}, tiny, 1 << 20, LAPTOP).prompt_cache_mib == 4
    assert choose_settings({}, metadata(), GIB, LAPTOP).prompt_cache_mib == 256
    assert choose_settings({"prompt_cache_mib": 0}, tiny, GIB, LAPTOP).prompt_cache_mib == 0


@pytest.mark.parametrize(("free", "slots"), [(12 * GIB, 4), (5 * GIB, 2), (GIB, 1), (0, 4)])
def test_slots_fit_the_memory(free: int, slots: int) -> None:
    """On a small machine there are fewer slots, never none."""
    machine = Machine(cores=2, free_memory=free, has_gpu=False)
    assert choose_settings({}, metadata(), GIB, machine).slots == slots


@pytest.mark.parametrize(
    ("size", "has_gpu", "batch"),
    [(6 << 20, False, 128), (400 << 20, False, 64), (8 * GIB, False, 32), (8 * GIB, True, 512)],
)
def test_prompt_steps_are_shorter_for_larger_models(size: int, has_gpu: bool, batch: int) -> None:
    """A cancel in prefill waits for one step, so a step is small where tokens are slow."""
    machine = Machine(cores=4, free_memory=0, has_gpu=has_gpu)
    assert choose_settings({}, metadata(), size, machine).batch == batch


def test_single_core_still_has_a_thread() -> None:
    """Cores less one, but never none; a step holds a token of each slot."""
    chosen = choose_settings(
        {"slots": 64, "batch": 8}, metadata(), GIB, Machine(1, 0, has_gpu=False)
    )
    assert (chosen.threads, chosen.batch) == (1, 64)


def test_short_context_of_a_model_is_kept() -> None:
    """A model trained on 1,024 tokens gets no more unless told to."""
    small = metadata(llama__context_length=1024)
    assert choose_settings({}, small, GIB, LAPTOP).ctx == 1024
    assert choose_settings({"ctx": 2048}, small, GIB, LAPTOP).ctx == 2048


def test_sampling_is_the_settings_the_files_or_neutral() -> None:
    """A setting beats the file's recommendation, and that beats the neutral default."""
    file = metadata(general__sampling__temp=0.6, general__sampling__top_k=20.0)
    chosen = choose_settings({"temperature": 0.2}, file, GIB, LAPTOP).sampling
    assert chosen == SamplingDefaults(temperature=0.2, top_k=20)
    assert isinstance(chosen.top_k, int)
    assert choose_settings({}, metadata(), GIB, LAPTOP).sampling == SamplingDefaults()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"slots": 0}, "slots"),
        ({"slots": True}, "slots"),
        ({"slots": "4"}, "slots"),
        ({"ctx": 1.5}, "ctx"),
        ({"batch": 4}, "batch"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"chat_template": 3}, "chat_template"),
        ({"template_options": []}, "template_options"),
        ({"n_ctx": 4096}, "n_ctx"),
        ({"split_mode": "rows"}, "split_mode"),
        ({"flash_attn": True}, "flash_attn"),
        ({"cache_type_k": "q3"}, "cache_type_k"),
        ({"kv_offload": 1}, "kv_offload"),
        ({"tensor_split": [0, 0]}, "tensor_split"),
        ({"tensor_split": [1, "2"]}, "tensor_split"),
        ({"tensor_split": 2}, "tensor_split"),
        ({"main_gpu": -1}, "main_gpu"),
        ({"lora": "a.gguf"}, "lora"),
        ({"lora": ["a.gguf"]}, r"lora\[0\]"),
        ({"lora": [{"scale": 1}]}, r"lora\[0\]\.path"),
        ({"lora": [{"path": "/a", "scale": "1"}]}, r"lora\[0\]\.scale"),
        ({"lora": [{"path": "/a", "weight": 1}]}, "weight"),
        ({"lora": [{"path": "/nothing/a.gguf"}]}, "no such file"),
        ({"draft_model": 1}, "draft_model"),
        ({"draft_model": "/nothing/a.gguf"}, "no such file"),
        ({"draft_max": 8}, "draft_model"),
        ({"draft_model": __file__, "draft_max": 2, "draft_min": 3}, "draft_min"),
    ],
)
def test_bad_setting_is_named(given: dict[str, Any], name: str) -> None:
    """A bad or unknown setting fails the load by its name."""
    with pytest.raises(ModelLoadError, match=name):
        choose_settings(given, metadata(), GIB, LAPTOP)


def test_there_is_a_core() -> None:
    """This machine has at least one core to use."""
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    "given",
    [
        {"gpu_layers": 10},
        {"split_mode": "row"},
        {"tensor_split": [3, 1]},
        {"main_gpu": 0},
        {"draft_model": __file__, "draft_gpu_layers": 1},
    ],
)
def test_gpu_is_not_asked_for_in_vain(given: dict[str, Any]) -> None:
    """Where llama.cpp sees no GPU, a setting that asks for one fails the load and says what to do.

    On a machine with one it is taken.
    """
    with pytest.raises(ModelLoadError, match=r"asks for a GPU.*docs/engines\.md"):
        choose_settings(given, metadata(), GIB, LAPTOP)
    with_gpu = Machine(cores=8, free_memory=12 * GIB, has_gpu=True)
    placement = choose_settings(given, metadata(), GIB, with_gpu).placement
    assert placement.gpu_layers == given.get("gpu_layers", -1)


def test_settings_that_a_cpu_has_need_no_gpu() -> None:
    """No offload, attention and the kinds of the caches mean something on a CPU, too."""
    given = {"gpu_layers": 0, "flash_attn": "on", "cache_type_k": "q8_0", "kv_offload": True}
    placement = choose_settings(given, metadata(), GIB, LAPTOP).placement
    assert placement == Placement(gpu_layers=0, flash_attn="on", cache_type_k="q8_0")


def test_smaller_caches_leave_room_for_more_slots() -> None:
    """Slots are counted by the bytes that the caches really take."""
    machine = Machine(cores=2, free_memory=5 * GIB, has_gpu=False)
    given = {"cache_type_k": "q8_0", "cache_type_v": "q8_0"}
    assert choose_settings({}, metadata(), GIB, machine).slots == 2
    assert choose_settings(given, metadata(), GIB, machine).slots == 4
