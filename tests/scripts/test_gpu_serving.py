"""The server-side checks and measurements of scripts/gpu, run against the synthetic engine."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.harness import Running, wsserver
from scripts.gpu import checks, measure, serving
from scripts.gpu.device import Device, find_device, used_mib
from scripts.gpu.each_check import CHECKS
from scripts.gpu.report import save

ROOT = Path(__file__).resolve().parents[2]
CARD = "NVIDIA H200, 143771, 580.159.04, 9.0"


@contextmanager
def serving_model(folder: Path, source: str) -> Iterator[Running]:
    """A server with one synthetic model, "m", as the checks start theirs."""
    config = folder / "wsserver.toml"
    serving.write_config(config, source, None, {})
    with wsserver("--config", str(config)) as server:
        yield server


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A GPU as nvidia-smi tells of it; the memory in use stands in the file returned."""
    used = tmp_path / "used"
    used.write_text("100")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\ncase $1 in *memory.used) cat '{used}' ;; *) echo '{CARD}' ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return used


def test_stops_free_the_slot_in_queue_prompt_and_answer(tmp_path: Path) -> None:
    """A stop of what waits has no token; the slot of what works goes to the next in line."""
    source = "synthetic:?slots=2&tps=200&ttft_ms=0&prefill_tps=2000"
    with serving_model(tmp_path, source) as server:
        waiting = asyncio.run(serving.stop_waiting(server.url, 2, 3))
        reading = asyncio.run(serving.stop_working(server.url, 2, "word " * 20_000, 3))
        writing = asyncio.run(serving.stop_working(server.url, 2, "", 3))
    assert waiting["stops"] == reading["stops"] == writing["stops"] == 3
    assert waiting["stop_to_stopped"]["p50_ms"] > 0
    # The prompt alone takes ten seconds to read.
    assert reading["stop_to_next_first_token"]["max_ms"] < 5000


def test_a_prompt_that_is_too_short_to_be_stopped_is_told(tmp_path: Path) -> None:
    """Else the check would measure another thing than it says."""
    with (
        serving_model(tmp_path, "synthetic:?slots=2&tps=0&ttft_ms=0") as server,
        pytest.raises(serving.CheckFailed, match="too short"),
    ):
        asyncio.run(serving.stop_working(server.url, 1, "short", 20))


def test_an_answer_outlives_its_engine(tmp_path: Path) -> None:
    """After the kill -9 the rest comes: no byte missing, none twice, the pause is told."""
    with serving_model(tmp_path, "synthetic:?slots=2&tps=500&ttft_ms=0") as server:
        figures = asyncio.run(serving.failover(server, 300))
    assert figures["tokens"] == 300
    assert figures["longest_pause_ms"] > 2


def test_memory_that_comes_back_and_memory_that_does_not(
    tmp_path: Path, card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check passes only if the device's memory is what it was before the server."""
    monkeypatch.setattr(serving, "FREED_SECONDS", 0.5)
    with serving_model(tmp_path, "synthetic:") as server:
        figures = asyncio.run(serving.unload(server.url, used_mib, 90))
        assert figures == {"before_mib": 90, "loaded_mib": 100, "after_mib": 100}
    card.write_text("900")
    with (
        serving_model(tmp_path, "synthetic:") as server,
        pytest.raises(serving.CheckFailed, match="800 MiB stay in use"),
    ):
        asyncio.run(serving.unload(server.url, used_mib, 100))


def test_a_model_that_does_not_load_is_not_waited_for(tmp_path: Path) -> None:
    """The check fails within seconds and not after the time that a large model may take."""
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    with (
        pytest.raises(RuntimeError, match="no model of the server could be loaded"),
        serving_model(tmp_path, str(tmp_path / "broken.gguf")),
    ):
        raise AssertionError("it became ready")


def test_streams_are_counted_and_timed(tmp_path: Path) -> None:
    """Every number of streams has its speed, its latencies and its processor time."""
    with serving_model(tmp_path, "synthetic:?slots=4&tps=2000&ttft_ms=1") as server:
        figures = measure.served(server, [1, 4], 40)
    assert figures.keys() == {1, 4}
    assert 0 < figures[1]["tokens_per_second"] < figures[4]["tokens_per_second"]
    assert figures[4]["first_token"]["p50_ms"] > 0
    assert figures[4]["between_frames"]["p99_ms"] > 0
    assert figures[4]["server_cpu_us_per_token"] > 0


def test_the_target_is_reached_at_every_number_of_streams_or_not_at_all() -> None:
    """Both speeds, their ratio, and one answer for all."""
    through = {1: {"tokens_per_second": 99.0}, 8: {"tokens_per_second": 776.0}}
    figures, is_reached = measure.together({1: 100.0, 8: 800.0}, through)
    assert figures["8"] == {
        "tokens_per_second": 776.0,
        "bare_tokens_per_second": 800.0,
        "ratio": 0.97,
    }
    assert is_reached
    assert not measure.together({1: 100.0, 8: 801.0}, through)[1]


def test_a_card_is_described(card: Path) -> None:
    """Name, memory, driver and capability, and what is in use."""
    assert find_device() == Device("NVIDIA H200", 143771, "580.159.04", "9.0")
    assert used_mib() == 100


def test_results_are_kept_with_the_machine(tmp_path: Path) -> None:
    """The file says what was run, when, on which GPU, with which packages, and what came of it."""
    device = Device("NVIDIA H200", 143771, "580.159.04", "9.0")
    path = tmp_path / "results" / "check.json"
    save(path, "scripts/gpu/check", device, {"size": "1b"}, {"kernel": {"holds": True}})
    found: dict[str, Any] = json.loads(path.read_text())
    assert found["results"] == {"kernel": {"holds": True}}
    assert found["machine"]["gpu"]["name"] == "NVIDIA H200"
    assert {"torch", "exllamav2", "flash-attn"} <= found["machine"]["gpu_packages"].keys()
    assert found.keys() >= {"command", "date", "commit", "machine", "model", "results"}


@pytest.mark.parametrize("name", ["check", "bench"])
def test_without_a_gpu_the_scripts_say_so(name: str, tmp_path: Path) -> None:
    """One sentence and 77, which no caller takes for a pass; no package is needed for it."""
    for tool in ("sh", "dirname"):
        (tmp_path / tool).symlink_to(f"/bin/{tool}" if tool == "sh" else f"/usr/bin/{tool}")
    done = subprocess.run(
        [ROOT / "scripts" / "gpu" / name],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (77, "")
    assert done.stdout.startswith(f"scripts/gpu/{name}: no NVIDIA GPU is seen here")


def test_unknown_checks_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error is not a check that passes."""
    with pytest.raises(SystemExit) as exit:
        checks.arguments(["kernels"])
    assert exit.value.code == 2
    assert "no such check: kernels; there are extension, kernel" in capsys.readouterr().err


def test_a_check_that_crashes_fails_with_what_it_said() -> None:
    """A fault of a GPU leaves no JSON behind, only an exit code and its last words."""
    assert checks.read_outcome(0, '{"holds": true, "figures": {}}', "noise")["holds"] is True
    outcome = checks.read_outcome(-6, "Aborted", "CUDA error: an illegal memory access")
    assert outcome["holds"] is False
    assert outcome["reason"] == "ended with -6: CUDA error: an illegal memory access"


def test_every_check_says_what_it_checks() -> None:
    """Each has a sentence, and each engine has checks of all kinds."""
    assert all(known.run.__doc__ for known in CHECKS.values())
    for engine in ("exllamav2", "exllamav3"):
        names = {name for name, known in CHECKS.items() if engine in known.engines}
        assert {"kernel", "batch", "quantized_cache", "contract", "failover", "unload"} <= names
