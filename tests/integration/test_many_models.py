"""Models of different kinds serve at once, whatever happens to another one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.conftest import StartServer
from tests.integration.test_generating import counted
from tests.support.wire import Wire, wired
from tests.tiny_models import TinyModel, TinyModels, answer

pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")

TOKENS = 1200
FLOWING = {"temperature": 0, "tokenInterval": 0, "maxTokens": TOKENS}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reciting model."""
    return TinyModels(tmp_path_factory.mktemp("gguf")).path(TinyModel(context=4096))


async def load_slowly(wire: Wire) -> None:
    """Begin a load that goes on while other things happen, and see it under way."""
    source = "synthetic:?tps=0&load_ms=4000"
    await wire.send(type="load_model", source=source, id="third", requestId="third")
    await wire.until("model_load_progress", requestId="third", stage="loading")


@pytest.mark.parametrize("victim", ["counts", "recites"])
async def test_two_kinds_serve_while_a_third_loads_and_one_is_killed(
    start_server: StartServer, model: Path, victim: str
) -> None:
    """Streams of a counting and of a llama.cpp model run while a third model loads, and the engine
    of one is killed with -9 in mid-answer: every answer is whole, byte for byte, nothing is
    rewound, and the third model comes to answer."""
    sources = {"counts": "synthetic:?tps=400&ttft_ms=0&slots=4", "recites": str(model)}
    folder = ("--models-dir", str(model.parent))
    server = start_server(*folder, "--model", f"{victim}={sources[victim]}")
    (engine,) = psutil.Process(server.pid).children()
    (other,) = sources.keys() - {victim}
    async with wired(server.ws_url) as wire:
        if other == "counts":
            source = sources["counts"]
            await wire.ask_until("load_model", source=source, id="counts")
        else:
            await wire.ask_until("load_model", source=model.name, id="recites", seconds=30)
        starts = {
            name: [await wire.stream("go on", model=name, options=FLOWING) for _ in range(3)]
            for name in sources
        }
        for start in (start for each in starts.values() for start in each):
            await wire.first_token(start["streamId"])
        await load_slowly(wire)
        assert all(wire.copy(start["streamId"]).ended is None for start in starts[victim])
        os.kill(engine.pid, signal.SIGKILL)
        wanted = {"counts": counted(TOKENS), "recites": answer(TOKENS)}
        for name, each in starts.items():
            for start in each:
                end = await wire.end_of(start["streamId"], seconds=60)
                assert (end["type"], end["totalTokens"]) == ("stream_complete", TOKENS)
                assert wire.copy(start["streamId"]).text == wanted[name]
        assert wire.of_type("stream_rewind") == []
        if "third" not in (frame["model"]["id"] for frame in wire.of_type("model_loaded")):
            await wire.until("model_loaded", seconds=30)
        reply = await wire.ask("generate", prompt="x", model="third", options={"maxTokens": 3})
        assert reply["result"]["text"] == "1 2 3 "
        models = (await wire.ask("models"))["models"]
        assert {m["id"]: (m["status"], m["activeStreams"]) for m in models} == dict.fromkeys(
            ("counts", "recites", "third"), ("ready", 0)
        )
