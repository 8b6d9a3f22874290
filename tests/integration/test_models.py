"""Models as clients see them: listed, loaded, refused, unloaded, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect, StartServer
from tests.support.server import ServerProcess
from tests.support.wire import Frame, Wire


async def listed(wire: Wire) -> dict[str, Frame]:
    """The server's models by id."""
    return {model["id"]: model for model in (await wire.ask("models"))["models"]}


async def test_models_are_described(wire: Wire) -> None:
    """`models_list` says what each model is and how it stands."""
    model = (await listed(wire))["fast"]
    assert model["status"] == "ready"
    assert model["default"] is True
    assert model["type"] == "synthetic"
    assert model["engine"] == "synthetic"
    assert (model["slots"], model["replicas"], model["contextLength"]) == (1024, 1, 1_048_576)
    assert model["activeStreams"] == 0
    assert isinstance(model["capabilities"], list)
    assert "not a language model" in model["description"]


async def test_running_streams_are_counted(wire: Wire) -> None:
    """`activeStreams` counts what runs, and nothing after its end."""
    start = await wire.stream(model="slow")
    await wire.first_token(start["streamId"])
    assert (await listed(wire))["slow"]["activeStreams"] == 1
    await wire.send(type="stop_stream", streamId=start["streamId"])
    await wire.end_of(start["streamId"])
    assert (await listed(wire))["slow"]["activeStreams"] == 0


async def test_a_model_is_loaded_used_and_unloaded(wire: Wire) -> None:
    """A load tells its progress and its end; the model answers until it is unloaded."""
    source = "synthetic:?tps=0&load_ms=300"
    await wire.send(type="load_model", source=source, id="life", requestId="load")
    loaded = await wire.until("model_loaded")
    progress = wire.of_type("model_load_progress")
    assert {frame["requestId"] for frame in (*progress, loaded)} == {"load"}
    assert {frame["id"] for frame in progress} == {"life"}
    assert len(progress) >= 2
    values = [frame["progress"] for frame in progress]
    assert values == sorted(values)
    assert 0 <= values[0] <= values[-1] <= 1
    elapsed = [frame["elapsedTime"] for frame in progress]
    assert elapsed == sorted(elapsed)
    assert 200 < elapsed[-1] < 10_000
    assert all("estimated" not in frame for frame in progress)
    assert loaded["model"] == {
        "id": "life",
        "name": "synthetic",
        "type": "synthetic",
        "status": "ready",
    }
    reply = await wire.ask("generate", prompt="x", model="life", options={"maxTokens": 2})
    assert reply["result"]["text"] == "1 2 "
    unloaded = await wire.ask("unload_model", id="life")
    assert (unloaded["type"], unloaded["id"]) == ("model_unloaded", "life")
    assert (await listed(wire))["life"]["status"] == "unloaded"
    error = await wire.ask("generate", prompt="x", model="life")
    assert (error["type"], error["code"]) == ("generation_error", "model_not_ready")


async def test_ids_without_a_clash(wire: Wire) -> None:
    """The id of a scheme is its name, with -2 where that is taken; a taken id is refused."""
    first = await wire.ask_until("load_model", source="synthetic:?tps=1")
    second = await wire.ask_until("load_model", source="synthetic:?tps=2")
    assert (first["model"]["id"], second["model"]["id"]) == ("synthetic", "synthetic-2")
    error = await wire.ask_until("load_model", source="synthetic:?tps=3", id="synthetic")
    assert (error["type"], error["code"]) == ("model_load_error", "invalid_parameters")
    assert [detail["field"] for detail in error["details"]] == ["id"]


async def test_loading_does_not_change_the_default(wire: Wire) -> None:
    """`load_model` leaves the default model as it is."""
    await wire.ask_until("load_model", source="synthetic:?tps=1", id="newcomer")
    assert [m["id"] for m in (await listed(wire)).values() if m["default"]] == ["fast"]


async def test_engine_options_in_either_spelling(wire: Wire) -> None:
    """`options` of a load are the engine's settings, snake_case or camelCase."""
    for name, options in (("snake", {"load_ms": 1, "slots": 3}), ("camel", {"loadMs": 1})):
        loaded = await wire.ask_until(
            "load_model", source="synthetic:?tps=0", id=name, options=options
        )
        assert loaded["type"] == "model_loaded", loaded
    assert (await listed(wire))["snake"]["slots"] == 3


REFUSED_SOURCES = [
    "/etc/passwd",
    "../x",
    "../../etc/passwd",
    "a/../../x",
    "./..",
    ".",
    "/",
    "http://example.org/x.gguf",
    "https://example.org/x.gguf",
    "file:///etc/passwd",
    "redis://x",
    "hf:owner/model",
    "x\0.gguf",
    "~/x.gguf",
    "\\\\host\\share\\x.gguf",
]


@pytest.mark.parametrize("source", REFUSED_SOURCES)
async def test_a_source_outside_is_refused(wire: Wire, source: str) -> None:
    """Nothing but a configured name, a file of the folder or an allowed scheme is loaded."""
    before = len(await listed(wire))
    error = await wire.ask_until("load_model", source=source)
    assert error["type"] == "model_load_error"
    assert error["code"] in ("invalid_parameters", "model_not_found")
    assert [detail["field"] for detail in error["details"]] == ["source"]
    assert "etc/passwd" not in error["error"]
    assert len(await listed(wire)) == before


@pytest.mark.parametrize("source", ["", 5, None, [], "x" * 5000])
async def test_a_source_is_a_string(wire: Wire, source: Any) -> None:
    """What is no source at all names the field."""
    error = await wire.ask_until("load_model", source=source)
    assert error["code"] == "invalid_parameters"
    assert [detail["field"] for detail in error["details"]] == ["source"]


@pytest.mark.parametrize(
    "source",
    [
        "synthetic:?speed=9",
        "synthetic:?tps=fast",
        "synthetic:?tps=-1",
        "synthetic:?slots=0",
        "synthetic:?tps=1&tps=2",
        "synthetic:x",
        "synthetic:?tps=nan",
        "synthetic:?tps=inf",
    ],
)
async def test_a_load_that_fails_says_why(wire: Wire, source: str) -> None:
    """The engine's reason reaches the client and `models_list`; the server goes on."""
    error = await wire.ask_until("load_model", source=source, id="broken")
    assert (error["type"], error["code"]) == ("model_load_error", "model_load_failed")
    assert "synthetic" in error["error"]
    model = (await listed(wire))["broken"]
    assert model["status"] == "failed"
    assert "Failed" in model["description"]
    refused = await wire.ask("generate", prompt="x", model="broken")
    assert refused["code"] == "model_not_ready"
    assert (await wire.ask("generate", prompt="x", options={"maxTokens": 1}))["type"] == (
        "generation_complete"
    )


async def test_unloading_what_is_not_there(wire: Wire) -> None:
    """An unknown id is `model_not_found`; a bad one names its field."""
    assert (await wire.ask("unload_model", id="no such"))["code"] == "model_not_found"
    error = await wire.ask("unload_model")
    assert [detail["field"] for detail in error["details"]] == ["id"]


async def test_unloading_lets_running_streams_end(wire: Wire) -> None:
    """Without force, what runs ends by itself; the reply comes after it."""
    await wire.ask_until("load_model", source="synthetic:?tps=100&ttft_ms=0", id="gentle")
    start = await wire.stream(model="gentle", options={"maxTokens": 30})
    await wire.first_token(start["streamId"])
    await wire.send(type="unload_model", id="gentle", requestId="u")
    error = await wire.ask("stream", prompt="too late", model="gentle")
    assert error["code"] == "model_not_ready"
    assert (await wire.end_of(start["streamId"]))["type"] == "stream_complete"
    assert (await wire.until("model_unloaded"))["requestId"] == "u"


async def test_unloading_by_force_stops_and_refuses(wire: Wire) -> None:
    """With force running streams end as `unloaded`, queued ones as `model_not_ready`."""
    source = "synthetic:?tps=100&ttft_ms=0&slots=1"
    await wire.ask_until("load_model", source=source, id="forced")
    running = await wire.stream(model="forced", options={"maxTokens": 100_000})
    await wire.first_token(running["streamId"])
    queued = await wire.stream(model="forced")
    await wire.send(type="generate", prompt="x", model="forced", requestId="queued-generate")
    await wire.send(type="unload_model", id="forced", force=True)
    end = await wire.end_of(queued["streamId"])
    assert (end["type"], end["code"], end["retryable"]) == ("stream_error", "model_not_ready", True)
    end = await wire.end_of(running["streamId"])
    assert (end["type"], end["reason"], end["stoppedBy"]) == (
        "stream_stopped",
        "unloaded",
        "server",
    )
    await wire.until("model_unloaded")
    (end,) = wire.of_type("generation_error")
    assert (end["requestId"], end["code"]) == ("queued-generate", "model_not_ready")


async def test_unloading_cancels_a_load(connect: Connect) -> None:
    """A load that is unloaded ends in `model_load_error` `cancelled`, its requests in theirs."""
    one, two = await connect(), await connect()
    source = "synthetic:?load_ms=60000"
    await one.send(type="load_model", source=source, id="endless", requestId="load")
    await one.until("model_load_progress")
    waiting = await two.stream(model="endless")
    assert (await two.ask("get_status"))["streams"][0]["state"] == "loading"
    assert (await two.ask("unload_model", id="endless"))["type"] == "model_unloaded"
    end = await one.until("model_load_error")
    assert (end["requestId"], end["code"]) == ("load", "cancelled")
    end = await two.end_of(waiting["streamId"])
    assert (end["code"], end["retryable"]) == ("model_not_ready", True)


async def test_requests_wait_for_a_loading_model(connect: Connect) -> None:
    """A stream asked while the model loads starts at once and is answered after the load."""
    one, two = await connect(), await connect()
    source = "synthetic:?tps=0&load_ms=400"
    await one.send(type="load_model", source=source, id="soon", requestId="load")
    await one.until("model_load_progress")
    start = await two.stream(model="soon", options={"maxTokens": 2})
    stopped = await two.stream(model="soon", options={"maxTokens": 2})
    await two.send(type="stop_stream", streamId=stopped["streamId"])
    assert (await two.end_of(stopped["streamId"]))["type"] == "stream_stopped"
    assert two.of_type("stream_complete") == []
    assert (await two.end_of(start["streamId"]))["type"] == "stream_complete"
    assert (await one.until("model_loaded"))["requestId"] == "load"


async def test_a_load_outlives_its_asker(connect: Connect) -> None:
    """Who asked may go: the load goes on, and who asks again joins it."""
    one, two = await connect(), await connect()
    await one.send(type="load_model", source="synthetic:?load_ms=400", id="orphan")
    await one.until("model_load_progress")
    await one.cut()
    joined = await two.ask_until("load_model", source="synthetic:?load_ms=400", id="orphan")
    assert (joined["type"], joined["model"]["id"]) == ("model_loaded", "orphan")
    assert "orphan-2" not in await listed(two)


async def test_metrics_have_the_server_s_figures(wire: Wire, server: ServerProcess) -> None:
    """`metrics` tells uptime, memory, clients, streams, rooms, engines and totals."""
    data = (await wire.ask("metrics"))["data"]
    assert data["uptime"] >= 0
    system = data["system"]
    assert system["connectedClients"] >= 1
    assert system["activeStreams"] == 0
    assert system["memoryUsage"]["rss"] > 1_000_000
    assert {"uptime", "rooms"} <= set(system)
    assert data["engine"]["models"]["fast"]["slotsBusy"] == 0
    assert all(isinstance(value, int) for value in data["totals"].values())
    status, headers, body = server.get("/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    assert b"# HELP" in body


async def test_files_of_the_folder_only(
    start_server: StartServer, connect: Connect, tmp_path: Path
) -> None:
    """Links, folders and other files under the model folder are no way out of it."""
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    outside = tmp_path / "secret.gguf"
    outside.write_bytes(b"GGUF")
    (folder / "link.gguf").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    (folder / "notes.txt").write_text("x")
    (folder / "bad.gguf").write_bytes(b"this is no model")
    server = start_server("--models-dir", str(folder))
    wire = await connect(to=server)
    for source, code in {
        "link.gguf": "invalid_parameters",
        "up/secret.gguf": "invalid_parameters",
        str(outside): "invalid_parameters",
        str(folder / "bad.gguf"): "invalid_parameters",
        "../models/bad.gguf/../../secret.gguf": "invalid_parameters",
        "notes.txt": "invalid_parameters",
        "sub": "invalid_parameters",
        "none.gguf": "model_not_found",
        "bad.gguf": "model_load_failed",
        "sub/../bad.gguf": "model_load_failed",
        "x" * 3000 + ".gguf": "model_not_found",
    }.items():
        error = await wire.ask_until("load_model", source=source)
        assert (error["type"], error["code"]) == ("model_load_error", code), source[:80]
        assert str(tmp_path) not in str(error)
    assert (await wire.ask("ping"))["type"] == "pong"
