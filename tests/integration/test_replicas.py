"""Several engines behind one queue, over real sockets."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil

from tests.conftest import StartServer
from tests.support.waiting import eventually
from tests.support.wire import wired


def children(pid: int) -> list[int]:
    """Engine processes of a server."""
    return [child.pid for child in psutil.Process(pid).children() if child.is_running()]


async def test_replicas_share_the_work(start_server: StartServer) -> None:
    """Two engines of one slot each work on two answers at once, and are told as one model."""
    server = start_server("--model", "synthetic:")
    async with wired(server.ws_url) as wire:
        loaded = await wire.ask_until(
            "load_model", source="synthetic:?slots=1&tps=100", id="pair", options={"replicas": 2}
        )
        assert loaded["type"] == "model_loaded"
        starts = [await wire.stream(model="pair", options={"maxTokens": 100_000}) for _ in range(2)]
        for start in starts:
            await wire.first_token(start["streamId"])
        (pair,) = [m for m in (await wire.ask("models"))["models"] if m["id"] == "pair"]
        assert (pair["replicas"], pair["slots"], pair["activeStreams"]) == (2, 2, 2)
        await wire.ask("interrupt")


async def test_a_replica_takes_over_at_once(start_server: StartServer) -> None:
    """kill -9 of one engine in mid-answer: another goes on from the text, byte for byte."""
    server = start_server("--model", "synthetic:")
    before = set(children(server.pid))
    async with wired(server.ws_url) as wire:
        await wire.ask_until(
            "load_model", source="synthetic:?slots=1&tps=200", id="pair", options={"replicas": 2}
        )
        start = await wire.stream(model="pair", options={"maxTokens": 300})
        await wire.first_token(start["streamId"])
        busy = max(set(children(server.pid)) - before, key=lambda p: psutil.Process(p).cpu_times())
        os.kill(busy, signal.SIGKILL)
        end = await wire.end_of(start["streamId"])
        assert (end["type"], end["totalTokens"]) == ("stream_complete", 300)
        expected = "".join(f"{n} " for n in range(1, 301))
        assert wire.copy(start["streamId"]).text == expected


async def test_a_bad_number_of_replicas_is_refused(start_server: StartServer) -> None:
    """The error names the field."""
    server = start_server("--model", "synthetic:")
    async with wired(server.ws_url) as wire:
        for bad in (0, "two", 1000, True):
            reply = await wire.ask("load_model", source="synthetic:", options={"replicas": bad})
            assert (reply["type"], reply["code"]) == ("model_load_error", "invalid_parameters")
            assert reply["details"][0]["field"] == "options.replicas"


def gpus_of_engines(pid: int, besides: set[int]) -> list[str]:
    """What each further engine process of a server sees of the GPUs."""
    found = [psutil.Process(child).environ() for child in set(children(pid)) - besides]
    return sorted(environment.get("CUDA_VISIBLE_DEVICES", "all") for environment in found)


async def test_replicas_run_where_the_configuration_places_them(
    start_server: StartServer, tmp_path: Path
) -> None:
    """Each replica's process sees the GPUs of its own place, whoever starts the load."""
    config = tmp_path / "placed.toml"
    config.write_text(
        '[[models.model]]\nid = "placed"\nsource = "synthetic:"\nplacement = [[0, 1], [3]]\n'
    )
    server = start_server("--config", str(config), "--model", "placed")
    await eventually(lambda: gpus_of_engines(server.pid, set()) == ["0,1", "3"])
    before = set(children(server.pid))
    async with wired(server.ws_url) as wire:
        options = {"gpus": [2], "replicas": 2}
        loaded = await wire.ask_until("load_model", source="synthetic:", id="b", options=options)
        assert loaded["type"] == "model_loaded"
        await eventually(lambda: gpus_of_engines(server.pid, before) == ["2", "2"])


async def test_a_bad_place_is_refused(start_server: StartServer) -> None:
    """The error names the option."""
    server = start_server("--model", "synthetic:")
    async with wired(server.ws_url) as wire:
        for field, options in (
            ("gpus", {"gpus": []}),
            ("gpus", {"gpus": [0, 0]}),
            ("gpus", {"gpus": [-1]}),
            ("gpus", {"gpus": 1}),
            ("placement", {"placement": [[0], []]}),
            ("placement", {"placement": [[0]], "gpus": [1]}),
            ("placement", {"placement": []}),
            ("replicas", {"placement": [[0], [1]], "replicas": 3}),
            ("gpu_split", {"gpus": [0, 1], "gpuSplit": [1]}),
            ("gpu_split", {"gpus": [0, 1], "gpuSplit": [1, 0]}),
            ("gpu_split", {"gpuSplit": [1]}),
            ("memory", {"memory": "12GiB"}),
        ):
            reply = await wire.ask("load_model", source="synthetic:", options=options)
            assert (reply["type"], reply["code"]) == ("model_load_error", "invalid_parameters")
            assert reply["details"][0]["field"] == f"options.{field}", options
        reply = await wire.ask_until(
            "load_model", source="synthetic:", options={"gpus": [0, 1], "gpuSplit": [3, 1]}
        )
        assert (reply["code"], "no key 'gpu_split'" in reply["error"]) == (
            "model_load_failed",
            True,
        )
