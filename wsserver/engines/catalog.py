"""The engines that exist: their names, which sources are theirs, and whether they can run here.

Decides which engine a source belongs to, and imports none of them: the modules named here are
imported inside the child only, because importing an engine may load CUDA, take seconds or fail
with any exception at all (ExLlamaV2 without a GPU raises IndexError).

To add one:

1. Write ``wsserver/engines/<name>.py`` with a class that satisfies
   `wsserver.engines.contract.Engine` and takes no arguments.
2. Add its `Entry` below. ``requires`` are the top-level modules that must be installed; what only
   an import can tell (no CUDA device) is for `Engine.load` to say, as a `ModelLoadError`.
3. Run it through ``tests/contracts/engine_contract.py``.

docs/engines.md tells the rules and shows a whole one.
"""

from __future__ import annotations

import importlib
import importlib.util
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from wsserver.core.engine import ModelSpec
from wsserver.engines.contract import Engine
from wsserver.engines.folders import WeightFormat, quantization, weight_format

SYNTHETIC_SCHEME: Final = "synthetic:"
OPENAI_SCHEME: Final = "openai:"
NO_ENGINE: Final = "unknown"
"""Stands for the engine of a source that belongs to none; its load says why."""

# Where a driver shows that this machine has a GPU: NVIDIA's own, under Windows, AMD's.
_GPU_DEVICES: Final = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# What names folders of this host; which ones are loaded is not for clients to say.
_FOLDER_SETTINGS: Final = frozenset(("draft_model", "loras"))

# What the published xllamacpp wheels for x86-64 are compiled for.
_LLAMACPP_CPU_FLAGS: Final = frozenset(("avx2", "fma", "f16c", "bmi2"))


@dataclass(frozen=True)
class Entry:
    """One engine; ``factory`` is "module:class".

    ``operator_settings`` are keys that no client may give, not even with a scope that lets it load
    models: they say where this server connects to, and with which secrets. ``file_settings`` are
    keys that name files, as a path or as a list of maps with a ``path``.

    ``estimate`` is "module:function" of what a load will take (`wsserver.engines.memory`), left out
    where that is not worth counting. It is imported in the server's own process, and must import
    nothing but what the server has. ``split_setting`` is its name for the shares of several GPUs.
    """

    name: str
    factory: str
    owns: Callable[[str], bool]
    unsupported_options: frozenset[str]  # snake_case names of the wire's options
    requires: tuple[str, ...] = ()
    extra: str | None = None  # of the wsserver distribution, for the hint how to install it
    cpu_flags: frozenset[str] = frozenset()
    operator_settings: frozenset[str] = frozenset()
    estimate: str | None = None
    split_setting: str = "gpu_split"
    file_settings: frozenset[str] = frozenset()
    needs_gpu: bool = False


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _is_for_exllamav3(source: str) -> bool:
    """EXL3 is nobody else's. Unquantized folders both can load: the successor does it faster and
    needs no flash-attn, so they are its own where it is installed."""
    kind = weight_format(source)
    is_plain = kind is WeightFormat.PLAIN and _is_installed("exllamav3")
    return kind is WeightFormat.EXL3 or is_plain


ENTRIES: Final = {
    entry.name: entry
    for entry in (
        Entry(
            name="llamacpp",
            factory="wsserver.engines.llamacpp.engine:LlamaCppEngine",
            owns=lambda source: source.lower().endswith(".gguf"),
            unsupported_options=frozenset(("banned_strings",)),
            requires=("xllamacpp", "llguidance"),
            extra="cpu",
            cpu_flags=_LLAMACPP_CPU_FLAGS,
            estimate="wsserver.engines.llamacpp.memory:estimate",
            split_setting="tensor_split",
            file_settings=frozenset(("draft_model", "lora")),
        ),
        Entry(
            name="exllamav3",
            factory="wsserver.engines.exllamav3.engine:ExLlamaV3Engine",
            owns=_is_for_exllamav3,
            unsupported_options=frozenset(("typical_p",)),
            requires=("exllamav3", "torch", "tokenizers", "jinja2", "llguidance"),
            extra="exllamav3",
            operator_settings=_FOLDER_SETTINGS,
            needs_gpu=True,
        ),
        Entry(
            name="exllamav2",
            factory="wsserver.engines.exllamav2.engine:ExLlamaV2Engine",
            owns=lambda source: weight_format(source) not in (None, WeightFormat.EXL3),
            unsupported_options=frozenset(),
            requires=("exllamav2", "torch", "tokenizers", "jinja2", "llguidance"),
            extra="exllamav2",
            operator_settings=_FOLDER_SETTINGS,
            needs_gpu=True,
        ),
        Entry(
            name="synthetic",
            factory="wsserver.engines.synthetic:SyntheticEngine",
            owns=lambda source: source.startswith(SYNTHETIC_SCHEME),
            unsupported_options=frozenset(("json_schema", "grammar", "regex", "logprobs", "tools")),
        ),
        Entry(
            name="openai",
            factory="wsserver.engines.openai.engine:OpenAiEngine",
            owns=lambda source: source.startswith(OPENAI_SCHEME),
            # What a server lacks is told at its load: each kind has options of its own.
            unsupported_options=frozenset(),
            requires=("aiohttp",),
            extra="openai",
            operator_settings=frozenset(
                ("endpoints", "model", "api_key", "api_key_env", "server", "extra_body")
            ),
        ),
    )
}


def engine_for(source: str) -> str:
    """The name of the engine that ``source`` belongs to.

    Raises:
        LookupError: If it belongs to none; the text is for people.
    """
    for entry in ENTRIES.values():
        if entry.owns(source):
            return entry.name
    if (method := quantization(Path(source))) is not None:
        raise LookupError(f"no engine here reads weights quantized by {method}")
    raise LookupError(
        "no engine serves this source: give a .gguf file, a folder with config.json and"
        " .safetensors files, openai: or synthetic:"
    )


def obstacle(spec: ModelSpec) -> str | None:
    """Why this machine can't load a model, whatever its files hold; None: it may try.

    Cheap: looks for files and imports nothing.
    """
    if spec.engine in ENTRIES:
        reason = probe(spec.engine)
        return f"the engine {spec.engine} can't run here: {reason}" if reason else None
    if spec.engine == NO_ENGINE:
        try:
            engine_for(spec.path or spec.source)
        except LookupError as error:
            return str(error)
    return f"there is no engine {spec.engine!r}; there are {', '.join(ENTRIES)}"


def probe(name: str) -> str | None:
    """Why the engine can't run on this machine, in words, or None if nothing speaks against it.

    Cheap: looks for files and imports nothing.
    """
    entry = ENTRIES[name]
    missing = [module for module in entry.requires if not _is_installed(module)]
    has_gpu = not entry.needs_gpu or _sees_gpu()
    if missing:
        hint = f": pip install 'wsserver[server,{entry.extra}]'" if entry.extra else ""
        # Told at once, and not after an installation of gigabytes.
        also = "" if has_gpu else ", and this machine shows no NVIDIA GPU"
        return f"{_listed(missing)} not installed{also}{hint}"
    if not has_gpu:
        return "this machine shows no GPU: it needs one by NVIDIA, with its driver"
    lacking = entry.cpu_flags - flags if (flags := _cpu_flags()) is not None else frozenset()
    if lacking:
        return f"this processor lacks {', '.join(sorted(lacking))}"
    return None


def create_engine(name: str) -> Engine:
    """Import the engine and make one. Only ever called inside the child process."""
    module, _, attribute = ENTRIES[name].factory.partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    return cast(Engine, factory())


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _sees_gpu() -> bool:
    """Whether a GPU's driver is there, as far as files tell; where they don't, the load will."""
    is_told = platform.system() == "Linux"
    return not is_told or any(Path(device).exists() for device in _GPU_DEVICES)


def _cpu_flags() -> frozenset[str] | None:
    """Instruction sets of this processor, or None where they are not to be had cheaply."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return None
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return None
