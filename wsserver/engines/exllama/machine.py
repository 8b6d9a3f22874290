"""What the ExLlama engines need of this machine: a torch for CUDA, a GPU, compiled kernels.

Decides whether a load can begin, and says in words what is missing. Both libraries fail at their
import where something is: with an exception of any kind, after minutes, or by a torrent of a
compiler's lines. So it is looked at before. It imports torch only in `look_around`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wsserver.core.engine import ModelLoadError
from wsserver.engines.failures import without_host_paths

_MAX_REASON: Final = 300
# What a fault of a GPU or its driver looks like, whichever exception carries it.
_FAULT_NAMES: Final = frozenset(("AcceleratorError", "DeferredCudaCallError", "CudaError"))
_FAULT_WORDS: Final = ("CUDA error", "device-side assert", "cuBLAS", "CUBLAS_STATUS", "NCCL")


@dataclass(frozen=True)
class Facts:
    """What was found.

    ``torch``: its version, None if it is not installed. ``platform``: what it is built for, such
    as "CUDA 13.0", None for processors only. ``has_kernels``: whether the library's extension is
    installed as compiled. ``compilers``: those that are missing to compile it.
    """

    torch: str | None
    platform: str | None = None
    gpus: int = 0
    free_memory: int = 0  # bytes on all GPUs together
    has_kernels: bool = False
    missing_compilers: tuple[str, ...] = ()


def what_is_missing(library: str, facts: Facts) -> str | None:
    """Why ``library`` can't load a model, with what to do about it; None if nothing is missing."""
    if facts.torch is None:
        return f"{library} needs torch, which is not installed: pip install 'wsserver[{library}]'"
    if facts.platform is None:
        return (
            f"torch {facts.torch} is built for processors only: {library} needs one built for the"
            " CUDA version of this machine's driver"
        )
    if not facts.gpus:
        return (
            f"torch {facts.torch} ({facts.platform}) sees no usable GPU: look at nvidia-smi and"
            " CUDA_VISIBLE_DEVICES"
        )
    if not facts.has_kernels and facts.missing_compilers:
        tools = " and ".join(facts.missing_compilers)
        return (
            f"{library}'s kernels are not compiled and there is no {tools} to compile them:"
            f" install the CUDA toolkit of {facts.platform} with a C++ compiler, or a wheel of"
            f" {library} built for this torch"
        )
    return None


def look_around(extension: str) -> Facts:
    """Look at torch, the GPUs and the compilers; ``extension`` is the kernels' module."""
    if importlib.util.find_spec("torch") is None:
        return Facts(None)
    try:
        import torch
    except Exception as error:  # a torch of another machine may fail in any way
        raise ModelLoadError(f"torch can't be imported: {first_words(error)}") from error
    built_for = torch.version.cuda or torch.version.hip
    platform = f"{'CUDA' if torch.version.cuda else 'ROCm'} {built_for}" if built_for else None
    gpus = torch.cuda.device_count() if platform and torch.cuda.is_available() else 0
    return Facts(
        torch=str(torch.__version__),
        platform=platform,
        gpus=gpus,
        free_memory=sum(int(torch.cuda.mem_get_info(gpu)[0]) for gpu in range(gpus)),
        has_kernels=importlib.util.find_spec(extension) is not None,
        missing_compilers=missing_compilers(),
    )


def first_words(error: BaseException) -> str:
    """The first line of an exception, bounded and without paths of this host."""
    text = str(error).strip() or type(error).__name__
    return without_host_paths(text.splitlines()[0])[:_MAX_REASON]


def is_device_fault(error: BaseException) -> bool:
    """Whether a GPU or its driver failed, after which nothing in this process can be trusted."""
    if type(error).__name__ in _FAULT_NAMES:
        return True
    # Out of memory is none: what was wanted is not there, and all else still is.
    is_memory = type(error).__name__ == "OutOfMemoryError" or "out of memory" in str(error)
    return not is_memory and any(word in str(error) for word in _FAULT_WORDS)


def missing_compilers() -> tuple[str, ...]:
    """What is not there of what compiles a library's kernels at its first import."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH") or "/usr/local/cuda"
    has_nvcc = shutil.which("nvcc") or (Path(home) / "bin" / "nvcc").exists()
    has_cxx = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    tools = (("nvcc", has_nvcc), ("C++ compiler", has_cxx))
    return tuple(name for name, found in tools if not found)
