"""What the whole server makes of a GPU, against the library's bare generator in the same run.

Both have the same model, cache, slots and chunk. For each number of streams: tokens a second of
all together, three times each, medians; first token and time between frames at a frame a token; the
processor time of server and engine for a token. Then stops: from `stop_stream` to the next
request's first token. Exit code: 0; 1 if the server reached less than 0.97 of the bare generator
somewhere; 2 asked wrongly; 77 without a GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from scripts.bench.harness import Running, wsserver
from scripts.gpu import serving
from scripts.gpu.device import NO_DEVICE, Device, find_device
from scripts.gpu.kit import ROOT
from scripts.gpu.load import prompts
from scripts.gpu.make_model import ModelError, make_llama
from scripts.gpu.random_llama import SIZES
from scripts.gpu.report import RESULTS, save
from scripts.gpu.work import work_folder

TARGET = 0.97
STREAMS = (1, 8, 32, 128)
TOKENS = 256
CONTEXT = 1024
CHUNK = 512
ROUNDS = 3
LOAD_SECONDS = 300.0


def bare(library: str, folder: Path, streams: Sequence[int], tokens: int) -> dict[int, float]:
    """Tokens a second of the library alone; imports it here: run in a process of its own."""
    from scripts.gpu.generation import load, tokens_per_second

    slots = max(streams)
    loaded = load(library, folder, cache_tokens=slots * CONTEXT, slots=slots, chunk=CHUNK)
    tokens_per_second(loaded, prompts(slots, "warm"), 32)
    return {
        count: median(
            tokens_per_second(loaded, prompts(count, f"bare {number}"), tokens)
            for number in range(ROUNDS)
        )
        for count in streams
    }


def bare_in_a_process(
    library: str, folder: Path, streams: Sequence[int], tokens: int
) -> dict[int, float]:
    """The same, in a process that gives the GPU's memory back."""
    arguments = [library, str(folder), json.dumps(list(streams)), str(tokens)]
    code = (
        "import json, sys; from pathlib import Path; from scripts.gpu.measure import bare; a = "
        "sys.argv; print(json.dumps(bare(a[1], Path(a[2]), json.loads(a[3]), int(a[4]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    figures = json.loads(done.stdout.strip().splitlines()[-1])
    return {int(count): speed for count, speed in figures.items()}


def served(server: Running, streams: Sequence[int], tokens: int) -> dict[int, dict[str, Any]]:
    """The figures of a running server for each number of streams."""
    _load(server, max(streams), 32, -1, "warm")
    figures = {}
    for count in streams:
        before = _cpu(server)
        rounds = [_load(server, count, tokens, -1, f"served {n}") for n in range(ROUNDS)]
        spent = _cpu(server)
        made = sum(figure["tokens"] for figure in rounds)
        each = _load(server, count, tokens, 0, "each")
        figures[count] = {
            "tokens_per_second": median(figure["tokens_per_second"] for figure in rounds),
            "tokens_per_second_frame_a_token": each["tokens_per_second"],
            "first_token": each["first_token"],
            "between_frames": each["between_frames"],
            "server_cpu_us_per_token": round((spent[0] - before[0]) / made * 1e6, 1),
            "engine_cpu_us_per_token": round((spent[1] - before[1]) / made * 1e6, 1),
        }
    return figures


def _load(server: Running, streams: int, tokens: int, interval: int, salt: str) -> dict[str, Any]:
    numbers = [str(streams), str(tokens), str(interval)]
    command = [sys.executable, "-m", "scripts.gpu.load", server.url, *numbers, salt]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _cpu(server: Running) -> tuple[float, float]:
    """Processor seconds of the server, and of its engines."""
    children = server.process.children()
    return server.cpu_seconds(), sum(sum(child.cpu_times()[:2]) for child in children)


def together(
    alone: dict[int, float], through: dict[int, dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """Both side by side, and whether the target is reached at every number of streams."""
    figures = {}
    for count, figure in through.items():
        ratio = round(figure["tokens_per_second"] / alone[count], 4)
        bare_speed = {"bare_tokens_per_second": round(alone[count], 1), "ratio": ratio}
        figures[str(count)] = figure | bare_speed
    return figures, all(figure["ratio"] >= TARGET for figure in figures.values())


def measure(library: str, folder: Path, parsed: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    """All figures for one engine."""
    alone = bare_in_a_process(library, folder, parsed.streams, parsed.tokens)
    slots = max(parsed.streams)
    settings = {"slots": slots, "ctx": CONTEXT, "cache_tokens": slots * CONTEXT, "chunk": CHUNK}
    config = work_folder() / "bench.toml"
    serving.write_config(config, str(folder), library, settings)
    with wsserver("--config", str(config), load_seconds=LOAD_SECONDS) as server:
        through = served(server, parsed.streams, parsed.tokens)
        stops = asyncio.run(serving.stop_working(server.url, slots, "", 50))
    figures, is_reached = together(alone, through)
    return {"streams": figures, "stop": stops, "target": TARGET, "reached": is_reached}, is_reached


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/gpu/bench", description=__doc__)
    parser.add_argument("--engine", choices=("exllamav2", "exllamav3"), default="exllamav2")
    parser.add_argument("--model", type=Path, help="a folder; left out, a random Llama is made")
    parser.add_argument("--size", choices=SIZES, default="1b", help="of the random Llama")
    parser.add_argument("--streams", type=int, nargs="+", default=list(STREAMS))
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of each answer")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON file")
    parsed = parser.parse_args(argv)
    if min(parsed.streams) < 1 or not 1 <= parsed.tokens <= CONTEXT // 2:
        parser.error(f"streams are positive, tokens from 1 to {CONTEXT // 2}")
    return parsed


def main(argv: Sequence[str]) -> int:
    parsed = arguments(argv)
    device: Device | None = find_device()
    if device is None:
        print("scripts/gpu/bench: no NVIDIA GPU is seen here, nothing was measured")
        return NO_DEVICE
    folder = (parsed.model or work_folder() / f"llama-{parsed.size}").absolute()
    try:
        if parsed.model is None:
            make_llama(folder, parsed.size, 1)
    except ModelError as error:
        print(f"scripts/gpu/bench: {error}", file=sys.stderr)
        return 1
    figures, is_reached = measure(parsed.engine, folder, parsed)
    print(json.dumps(figures, indent=2))
    model = {"folder": folder.name, "tokens_each": parsed.tokens, "context": CONTEXT}
    path = parsed.out / f"bench-{parsed.engine}.json"
    save(path, f"scripts/gpu/bench {' '.join(argv)}".strip(), device, model, figures)
    print(f"kept in {path}")
    return 0 if is_reached else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
