"""Loads under a bound: refused with figures, or by an immediate one made place for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.wire import Frame, Wire, wired
from tests.tiny_models import TinyModel, TinyModels, answer

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")

GREEDY = {"temperature": 0, "tokenInterval": 0, "progressEvery": 0}
TOKENS = 3840  # that many end with a whole character
SMALL = {"slots": 1, "ctx": 4096, "promptCacheMib": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two reciting models."""
    folder = tmp_path_factory.mktemp("gguf")
    models = TinyModels(folder)
    first = models.path(TinyModel(context=4096))
    (folder / "b.gguf").write_bytes(first.read_bytes())
    first.rename(folder / "a.gguf")
    return folder


async def states(wire: Wire) -> dict[str, str]:
    """Status by model."""
    return {model["id"]: model["status"] for model in (await wire.ask("models"))["models"]}


async def load(wire: Wire, source: str, **fields: object) -> Frame:
    """Load a small model and wait for the end of it."""
    return await wire.ask_until("load_model", source=source, options=SMALL, seconds=60, **fields)


async def test_memory_that_is_taken_is_made_free_on_demand(
    start_server: StartServer, folder: Path
) -> None:
    """The second of two models that do not fit is refused; immediate, it takes the first's place,
    and a stream of another model is not disturbed."""
    server = start_server(
        *("--model", "synthetic:?tps=200&ttft_ms=0", "--models-dir", str(folder)),
        *("--set", "models.max_memory=120MiB"),
    )
    async with wired(server.ws_url) as wire:
        bystander = await wire.stream(model="synthetic", options={"maxTokens": 2000})
        assert (await load(wire, "a.gguf"))["type"] == "model_loaded"
        running = await wire.stream("go on", model="a", options={**GREEDY, "maxTokens": TOKENS})
        await wire.first_token(running["streamId"])
        refused = await load(wire, "b.gguf")
        assert (refused["type"], refused["code"]) == ("model_load_error", "model_load_failed")
        assert "needs about" in refused["error"]
        assert "of 120.0 MiB are free" in refused["error"]
        assert (await states(wire))["a"] == "ready"
        assert (await load(wire, "b.gguf", immediate=True))["type"] == "model_loaded"
        end = await wire.end_of(running["streamId"])
        assert (end["type"], end["reason"]) == ("stream_stopped", "unloaded")
        told = wire.copy(running["streamId"]).text
        assert told
        assert answer(TOKENS).startswith(told)
        now = await states(wire)
        assert (now["a"], now["b"], now["synthetic"]) == ("unloaded", "ready", "ready")
        end = await wire.end_of(bystander["streamId"], seconds=30)
        assert wire.copy(bystander["streamId"]).text == "".join(f"{n} " for n in range(1, 2001))


async def test_a_full_number_of_models_gives_way(start_server: StartServer) -> None:
    """Past `models.max_loaded` a load is refused; immediate, the idle one goes."""
    server = start_server(
        *("--model", "busy=synthetic:?tps=200", "--model", "idle=synthetic:"),
        *("--set", "models.max_loaded=2"),
    )
    async with wired(server.ws_url) as wire:
        running = await wire.stream(model="busy", options={"maxTokens": 400})
        await wire.first_token(running["streamId"])
        refused = await wire.ask_until("load_model", source="synthetic:", id="new")
        assert (refused["type"], refused["code"]) == ("model_load_error", "overloaded")
        loaded = await wire.ask_until("load_model", source="synthetic:", id="new", immediate=True)
        assert loaded["type"] == "model_loaded"
        assert await states(wire) == {"busy": "ready", "idle": "unloaded", "new": "ready"}
        assert (await wire.end_of(running["streamId"]))["type"] == "stream_complete"
