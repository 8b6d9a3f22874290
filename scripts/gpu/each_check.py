"""The checks, one by one. ``python -m scripts.gpu.each_check NAME ENGINE FOLDER`` runs one and
prints a line of JSON: whether it holds, and its figures or the reason."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from scripts.bench.harness import Running, wsserver
from scripts.gpu import agreement, attention, serving
from scripts.gpu.device import used_mib
from scripts.gpu.kit import ROOT
from scripts.gpu.make_model import ModelError, make_exl2, make_llama
from scripts.gpu.serving import CheckFailed
from scripts.gpu.work import work_folder

LOAD_SECONDS = 300.0
BOTH = ("exllamav2", "exllamav3")
PROMPTS = tuple(f"{word}: tell me of it at length" for word in "abcdefgh")
ANSWER = 48
SERVED = {"slots": 4, "ctx": 16384, "cache_tokens": 65536, "chunk": 512}
LONG = "a word after another and then some more of them " * 900
"""About 9,000 tokens: 18 chunks, so that a stop meets it being read."""

Check = Callable[[str, Path], dict[str, Any]]


@dataclass(frozen=True)
class Known:
    """A check and the engines that it is for."""

    run: Check
    engines: tuple[str, ...] = BOTH


def extension(library: str, folder: Path) -> dict[str, Any]:
    """The compiled modules load, and are those of the kit and not compiled here."""
    import importlib

    importlib.import_module(library)
    module = importlib.import_module(f"{library}_ext")
    figures: dict[str, Any] = {"from_kit": Path(str(module.__file__)).parent.name == "site"}
    if library == "exllamav2":
        attn = importlib.import_module("exllamav2.attn")
        figures["paged"] = bool(attn.has_flash_attn_with_paged)
        _demand(figures["paged"], "exllamav2 finds no flash-attn for paged attention")
    return figures


def kernel(library: str, folder: Path) -> dict[str, Any]:
    """The attention kernel against the reference: output, and what it appends to the cache."""
    call = _kernel_v3() if library == "exllamav3" else _kernel_v2()
    worst = {case.name: attention.compare(call, case) for case in attention.CASES}
    largest = {part: max(figure[part] for figure in worst.values()) for part in ("output", "cache")}
    _demand(largest["output"] <= attention.TOLERANCE, f"the output is off: {worst}")
    _demand(largest["cache"] == 0.0, f"the cache is not what was appended: {worst}")
    return {"cases": len(worst), "largest_difference": largest}


def batch(library: str, folder: Path) -> dict[str, Any]:
    """Eight answers at once say what each says alone."""
    loaded = _generator(library, folder)
    return _agree(_answers(loaded, True), _answers(loaded, False))


def unpaged(library: str, folder: Path) -> dict[str, Any]:
    """Paged attention says what plain attention without a cache of pages says."""
    plain = _answers(_generator(library, folder, paged=False), together=False)
    return _agree(_answers(_generator(library, folder), together=True), plain)


def quantized_cache(library: str, folder: Path) -> dict[str, Any]:
    """With a cache of four bits eight at once say what each says alone, and it is near to the
    answers of the full cache."""
    loaded = _generator(library, folder, cache="q4")
    together, alone = _answers(loaded, True), _answers(loaded, False)
    full = _answers(_generator(library, folder), True)
    pairs = zip(together, full, strict=True)
    likeness = min(agreement.cosine(a.logits[0], b.logits[0]) for a, b in pairs)
    _demand(likeness > 0.9, f"the first logits are far from the full cache's: cosine {likeness}")
    return _agree(together, alone) | {"least_cosine_to_full_cache": round(likeness, 4)}


def exl2(library: str, folder: Path) -> dict[str, Any]:
    """Weights quantized to four bits: batched and alone alike, and near to the full weights."""
    whole, quantized = work_folder() / "llama-100m", work_folder() / "llama-100m-exl2"
    try:
        make_llama(whole, "100m", 1)
        make_exl2(whole, quantized, 4.0)
    except ModelError as error:
        raise CheckFailed(str(error)) from error
    small = _generator(library, quantized)
    together, alone = _answers(small, True), _answers(small, False)
    full = _answers(_generator(library, whole), True)
    pairs = zip(together, full, strict=True)
    likeness = min(agreement.cosine(a.logits[0], b.logits[0]) for a, b in pairs)
    _demand(likeness > 0.9, f"the first logits are far from the full weights': cosine {likeness}")
    return _agree(together, alone) | {"least_cosine_to_full_weights": round(likeness, 4)}


def stop_waiting(library: str, folder: Path) -> dict[str, Any]:
    """A stop in the queue."""
    return _serve(
        library,
        folder,
        lambda server: asyncio.run(serving.stop_waiting(server.url, SERVED["slots"], 20)),
    )


def stop_reading(library: str, folder: Path) -> dict[str, Any]:
    """A stop while the prompt is read."""
    return _serve(
        library,
        folder,
        lambda server: asyncio.run(serving.stop_working(server.url, SERVED["slots"], LONG, 20)),
    )


def stop_writing(library: str, folder: Path) -> dict[str, Any]:
    """A stop while the answer is written."""
    return _serve(
        library,
        folder,
        lambda server: asyncio.run(serving.stop_working(server.url, SERVED["slots"], "", 20)),
    )


def failover(library: str, folder: Path) -> dict[str, Any]:
    """A kill -9 of the engine midway."""
    return _serve(library, folder, lambda server: asyncio.run(serving.failover(server, 2000)))


def unload(library: str, folder: Path) -> dict[str, Any]:
    """The memory comes back."""
    before = used_mib()
    return _serve(
        library, folder, lambda server: asyncio.run(serving.unload(server.url, used_mib, before))
    )


def contract(library: str, folder: Path) -> dict[str, Any]:
    """The suite of all engines, whole."""
    path = f"tests/gpu/test_{library}_contract.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    last = (done.stdout.strip().splitlines() or [""])[-1]
    _demand(done.returncode == 0, f"{last}\n{done.stdout[-2500:]}{done.stderr[-500:]}")
    _demand("passed" in last and "skipped" not in last, f"not all of it ran: {last}")
    return {"summary": last}


CHECKS = {
    "extension": Known(extension),
    "kernel": Known(kernel),
    "batch": Known(batch),
    "unpaged": Known(unpaged, ("exllamav2",)),
    "quantized_cache": Known(quantized_cache),
    "exl2": Known(exl2, ("exllamav2",)),
    "stop_waiting": Known(stop_waiting),
    "stop_reading": Known(stop_reading),
    "stop_writing": Known(stop_writing),
    "failover": Known(failover),
    "unload": Known(unload),
    "contract": Known(contract),
}


def _kernel_v2() -> Callable[..., Any]:
    from flash_attn import flash_attn_with_kvcache

    return cast(Callable[..., Any], flash_attn_with_kvcache)


def _kernel_v3() -> Callable[..., Any]:
    """Its two kernels, chosen by the length of the query as the library does."""
    from exllamav3.modules.attention_fn import triton_paged as kernels

    def call(**given: Any) -> Any:
        if given["q"].shape[1] <= 16:
            return kernels.paged_attn_triton_decode(**given)
        return kernels.paged_attn_triton_prefill(**given)

    return call


def _generator(library: str, folder: Path, *, cache: str = "fp16", paged: bool = True) -> Any:
    from scripts.gpu.generation import load

    return load(library, folder, cache_tokens=8192, slots=8, cache=cache, paged=paged)


def _answers(loaded: Any, together: bool) -> list[agreement.Greedy]:
    from scripts.gpu.generation import answer

    return answer(loaded, PROMPTS, ANSWER, together=together)


def _agree(some: list[agreement.Greedy], others: list[agreement.Greedy]) -> dict[str, Any]:
    verdicts = [agreement.compare(a, b) for a, b in zip(some, others, strict=True)]
    figures = agreement.summary(verdicts)
    _demand(all(verdict.agrees for verdict in verdicts), f"the answers differ: {figures}")
    return dict(figures)


def _serve(
    library: str, folder: Path, check: Callable[[Running], dict[str, Any]]
) -> dict[str, Any]:
    config = work_folder() / "check.toml"
    serving.write_config(config, str(folder), library, SERVED)
    with wsserver("--config", str(config), load_seconds=LOAD_SECONDS) as server:
        return check(server)


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckFailed(otherwise)


def main(name: str, library: str, folder: Path) -> int:
    try:
        outcome = {"holds": True, "figures": CHECKS[name].run(library, folder)}
    except CheckFailed as error:
        outcome = {"holds": False, "reason": str(error)}
    print(json.dumps(outcome), flush=True)
    return 0 if outcome["holds"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
