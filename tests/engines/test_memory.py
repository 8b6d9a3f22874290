"""Memory before a load: estimates of engines, and what the machine has."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.tiny_models import TinyModel, TinyModels
from wsserver.core.engine import ModelSpec
from wsserver.engines.memory import estimate_memory, machine_memory


def spec(path: Path, **settings: object) -> ModelSpec:
    """A llama.cpp model to load."""
    return ModelSpec(id="m", engine="llamacpp", source=path.name, path=str(path), settings=settings)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny GGUF file."""
    return TinyModels(tmp_path_factory.mktemp("gguf")).path(TinyModel(context=4096))


async def test_llama_cpp_counts_weights_caches_and_buffers(model: Path) -> None:
    """More slots and a longer context take more, by as much as their caches have."""
    one = await estimate_memory(spec(model, slots=1, ctx=1024, prompt_cache_mib=0))
    two = await estimate_memory(spec(model, slots=2, ctx=1024, prompt_cache_mib=0))
    long = await estimate_memory(spec(model, slots=1, ctx=2048, prompt_cache_mib=0))
    prompts = await estimate_memory(spec(model, slots=1, ctx=1024, prompt_cache_mib=5))
    assert one > (64 << 20)
    assert two - one == long - one > 0
    assert prompts - one == 5 << 20


async def test_llama_cpp_counts_a_draft_and_adapters(model: Path, tmp_path: Path) -> None:
    """A draft takes what it would take as a model, less the process and the prompts kept."""
    sizes: dict[str, object] = {"slots": 2, "ctx": 1024, "prompt_cache_mib": 0}
    alone = await estimate_memory(spec(model, **sizes))
    drafted = await estimate_memory(spec(model, draft_model=str(model), **sizes))
    assert drafted - alone == alone - (64 << 20)
    adapter = tmp_path / "adapter.gguf"
    adapter.write_bytes(b"x" * 1000)
    tuned = await estimate_memory(spec(model, lora=[{"path": str(adapter)}], **sizes))
    assert tuned - alone == 1000


async def test_llama_cpp_counts_narrow_caches_and_loads_for_gpus(model: Path) -> None:
    """Caches of fewer bits take less; asking for a GPU, which only the child sees, counts too."""
    sizes: dict[str, object] = {"slots": 1, "ctx": 4096, "batch": 64, "prompt_cache_mib": 0}
    wide = await estimate_memory(spec(model, **sizes))
    narrow = await estimate_memory(spec(model, cache_type_k="q8_0", cache_type_v="q8_0", **sizes))
    assert 0 < narrow < wide
    assert await estimate_memory(spec(model, gpu_layers=4, **sizes)) == wide


async def test_what_cant_be_estimated_counts_nothing(tmp_path: Path, model: Path) -> None:
    """A file that is none, an unknown setting, an engine without weights: the load tells."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"this is no model")
    assert await estimate_memory(spec(broken)) == 0
    assert await estimate_memory(spec(tmp_path / "absent.gguf")) == 0
    assert await estimate_memory(spec(model, no_such=1)) == 0
    for engine in ("synthetic", "openai", "unknown"):
        assert await estimate_memory(ModelSpec(id="m", engine=engine, source="x:")) == 0


def test_the_machines_memory_is_what_may_be_used() -> None:
    """What the machine has, or less in a container that has less."""
    assert 0 < machine_memory() <= psutil.virtual_memory().total
