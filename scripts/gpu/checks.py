"""Whether the GPU engines do on this GPU what they promise; each check in a process of its own.

A fault of a GPU ends the process that met it, so a check that crashes fails alone. Exit code: 0 all
hold, 1 one fails, 2 asked wrongly, 77 without a GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.gpu.device import NO_DEVICE, find_device
from scripts.gpu.each_check import CHECKS
from scripts.gpu.kit import ROOT
from scripts.gpu.make_model import ModelError, make_llama
from scripts.gpu.random_llama import SIZES
from scripts.gpu.report import RESULTS, save
from scripts.gpu.work import work_folder

CHECK_SECONDS = 420
"""A call on a lent machine lasts ten minutes: a check that hangs must not take them all."""


def run_one(name: str, library: str, folder: Path) -> dict[str, Any]:
    """Run one check in a process; its figures, or why it failed."""
    command = [sys.executable, "-m", "scripts.gpu.each_check", name, library, str(folder)]
    began = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=CHECK_SECONDS, check=False
        )
        last = done.stdout.strip().splitlines()[-1:] or [""]
        outcome = read_outcome(done.returncode, last[0], done.stderr)
    except subprocess.TimeoutExpired:
        outcome = {"holds": False, "reason": f"not done after {CHECK_SECONDS} s"}
    return outcome | {"seconds": round(time.perf_counter() - began, 1)}


def read_outcome(code: int, line: str, errors: str) -> dict[str, Any]:
    """What a check's process said: one line of JSON, or nothing if it crashed."""
    try:
        outcome: dict[str, Any] = json.loads(line)
    except ValueError:
        outcome = {"holds": False, "reason": f"ended with {code}: {errors[-1500:].strip()}"}
    return outcome


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    names = ", ".join(CHECKS)
    parser = argparse.ArgumentParser(prog="scripts/gpu/check", description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {names}; or all")
    parser.add_argument("--engine", choices=("exllamav2", "exllamav3"), default="exllamav2")
    parser.add_argument("--size", choices=SIZES, default="1b", help="of the random Llama")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON file")
    parsed = parser.parse_args(argv)
    if unknown := set(parsed.checks) - set(CHECKS):
        parser.error(f"no such check: {', '.join(sorted(unknown))}; there are {names}")
    return parsed


def main(argv: Sequence[str]) -> int:
    parsed = arguments(argv)
    device = find_device()
    if device is None:
        print("scripts/gpu/check: no NVIDIA GPU is seen here, nothing was checked")
        return NO_DEVICE
    outcomes: dict[str, dict[str, Any]] = {}
    try:
        folder = work_folder() / f"llama-{parsed.size}"
        make_llama(folder, parsed.size, 1)
    except ModelError as error:
        print(f"scripts/gpu/check: {error}", file=sys.stderr)
        return 1
    path = parsed.out / f"check-{parsed.engine}.json"
    for name in parsed.checks or [n for n, c in CHECKS.items() if parsed.engine in c.engines]:
        outcomes[name] = outcome = run_one(name, parsed.engine, folder)
        print(f"{'ok    ' if outcome['holds'] else 'FAILED'} {name}: {json.dumps(outcome)}")
        # After each: what was found is kept if the call's time is over.
        command = f"scripts/gpu/check {' '.join(argv)}".strip()
        save(path, command, device, {"folder": folder.name, "size": parsed.size}, outcomes)
    return 0 if all(outcome["holds"] for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
