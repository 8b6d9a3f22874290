"""Settings of the ExLlama engines, and what holds without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from wsserver.core.engine import ModelLoadError
from wsserver.engines.exllama.files import ModelFiles
from wsserver.engines.exllama.settings import Room, choose_settings, default_slots
from wsserver.engines.exllamav2.backend import V2Backend
from wsserver.engines.exllamav3.backend import V3Backend

RULES = V2Backend.rules
GPU = Room(gpus=2, free_memory=80 << 30)
GIB = 1 << 30


def test_defaults_fit_the_model(files: ModelFiles) -> None:
    """Without settings: the model's context, eight answers, a cache that holds them all."""
    settings = choose_settings({}, files, GPU, RULES)
    assert (settings.slots, settings.ctx, settings.cache_tokens) == (8, 4096, 8 * 4096)
    assert settings.chunk == 512
    assert settings.sampling.temperature == 0.7
    assert settings.drafted == 0


def test_defaults_know_the_memory() -> None:
    """As many slots as caches fit beside the weights; at least one, and eight at most."""
    room = Room(1, 24 * GIB)
    per_token = 128 * 1024.0
    assert default_slots(8192, per_token, 16 * GIB, room) == 4
    assert default_slots(8192, per_token / 4, 16 * GIB, room) == 8
    assert default_slots(32768, per_token, 23 * GIB, room) == 1
    assert default_slots(8192, per_token, 16 * GIB, Room(1, 0)) == 4


def test_one_slot_where_nothing_can_be_batched(files: ModelFiles) -> None:
    """Without paging there is one slot, whatever was asked for; the warning tells why."""
    settings = choose_settings({"slots": 4}, files, Room(1, 0, can_batch=False), RULES)
    assert (settings.slots, settings.cache_tokens) == (1, settings.ctx)


def test_settings_are_taken_as_they_are(files: ModelFiles) -> None:
    """What is given holds, and what a publisher recommends fills the rest."""
    given: dict[str, Any] = {
        "ctx": 1024,
        "cache_tokens": 2048,
        "cache_type": "q4",
        "gpu_split": [20, 23.5],
        "loras": ["/a", {"folder": "/b", "scale": 0.5}],
        "ngram_draft": True,
        "draft_tokens": 3,
        "top_p": 0.9,
    }
    warm = replace(files, generation={"temperature": 0.6, "top_p": 0.5})
    settings = choose_settings(given, warm, GPU, RULES)
    assert (settings.ctx, settings.cache_tokens, settings.cache_type) == (1024, 2048, "q4")
    assert settings.gpu_split == (20, 23.5)
    assert [(lora.folder, lora.scale) for lora in settings.loras] == [("/a", 1.0), ("/b", 0.5)]
    assert settings.drafted == 3
    assert (settings.sampling.temperature, settings.sampling.top_p) == (0.6, 0.9)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"slotz": 1}, "no setting 'slotz'"),
        ({"slots": 0}, "'slots' must be a whole number from 1"),
        ({"slots": True}, "'slots'"),
        ({"ctx": 1000}, "'ctx' must be .* a multiple of 256"),
        ({"chunk": 128}, "'chunk'"),
        ({"cache_type": "fp8"}, "'cache_type' must be one of fp16, q8, q6, q4"),
        ({"cache_type": ["q4"]}, "'cache_type'"),
        ({"ctx": 1024, "cache_tokens": 512}, "'cache_tokens' must be at least 'ctx'"),
        ({"gpu_split": [1, 2, 3]}, r"'gpu_split' names more GPUs than there are \(2\)"),
        ({"gpu_split": "20"}, "'gpu_split' must be a list of GiB"),
        ({"gpu_split": [1], "gpu_reserve": [1]}, "exclude each other"),
        ({"draft_model": "/d", "ngram_draft": True}, "exclude each other"),
        ({"draft_model": "d"}, "'draft_model' must be the absolute path"),
        ({"draft_tokens": 9}, "'draft_tokens'"),
        ({"loras": [{"folder": "/a", "weight": 1}]}, "'loras'"),
        ({"template_options": []}, "'template_options' must be a map"),
        ({"temperature": float("nan")}, "'temperature'"),
    ],
)
def test_bad_setting_is_named(files: ModelFiles, given: dict[str, Any], words: str) -> None:
    """A refusal names the key and says what would fit."""
    with pytest.raises(ModelLoadError, match=words):
        choose_settings(given, files, GPU, RULES)


def test_each_library_has_its_own_keys(files: ModelFiles) -> None:
    """v3 has more cache types and scales no positions."""
    assert choose_settings({"cache_type": "q5"}, files, GPU, V3Backend.rules).cache_type == "q5"
    with pytest.raises(ModelLoadError, match="exllamav3 has no setting 'rope_alpha'"):
        choose_settings({"rope_alpha": 2.0}, files, GPU, V3Backend.rules)
