"""Compiles the part of flash-attn that ExLlamaV2's paged attention uses.

All of flash-attn takes hours to compile. Batched decoding with ExLlamaV2 needs one function of it,
`flash_attn_with_kvcache`, in half precision; models of 1 to 70 B parameters have heads of 64 or 128
numbers. That part is 9 of its 73 sources. Sliding windows, soft caps and ALiBi are left out, and
refused by upstream's own checks.

Run by `scripts.gpu.build` in the environment that holds torch:
``python -m scripts.gpu.flash_attention ARCHIVE FOLDER``.
"""

from __future__ import annotations

import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

NAME = "flash_attn_2_cuda"
NARROWED = Path(__file__).resolve().parent / "narrowed"

LEFT_OUT = ("BACKWARD", "DROPOUT", "ALIBI", "LOCAL", "SOFTCAP", "UNEVEN_K")
KERNELS = tuple(
    f"flash_fwd_{split}hdim{size}_fp16_{causal}sm80.cu"
    for split in ("", "split_")
    for size in (64, 128)
    for causal in ("", "causal_")
)
NVCC_FLAGS = (
    *("-O3", "-std=c++17", "--use_fast_math"),
    *("--expt-relaxed-constexpr", "--expt-extended-lambda"),
    *("-U__CUDA_NO_HALF_OPERATORS__", "-U__CUDA_NO_HALF_CONVERSIONS__"),
    *("-U__CUDA_NO_HALF2_OPERATORS__", "-U__CUDA_NO_BFLOAT16_CONVERSIONS__"),
)
"""As upstream compiles it: the kernels use operators that torch's own flags switch off."""


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack upstream's source archive, put the narrowed header in its place; return its root."""
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    root = folder / archive.name.removesuffix(".tar.gz")
    sources = root / "csrc" / "flash_attn" / "src"
    upstream = sources / "upstream_static_switch.h"
    if not upstream.exists():
        (sources / "static_switch.h").rename(upstream)
    # A quoted include looks into the folder of the file that includes it first: so in there.
    for path in NARROWED.iterdir():
        shutil.copyfile(path, sources / path.name)
    return root


def compile_module(root: Path, build: Path) -> Path:
    """Compile and import the module (which binds all its symbols); return its file."""
    from torch.utils.cpp_extension import load

    build.mkdir(parents=True, exist_ok=True)
    flash = root / "csrc" / "flash_attn"
    defines = [f"-DFLASHATTENTION_DISABLE_{part}" for part in LEFT_OUT]
    sources = [flash / "flash_api.cpp", flash / "src" / "no_backward.cpp"]
    sources += [flash / "src" / name for name in KERNELS]
    load(
        name=NAME,
        sources=[str(path) for path in sources],
        extra_cflags=["-O3", "-std=c++17", *defines],
        extra_cuda_cflags=[*NVCC_FLAGS, *defines],
        extra_include_paths=[
            str(path) for path in (flash, flash / "src", root / "csrc" / "cutlass" / "include")
        ],
        build_directory=str(build),
    )
    return build / f"{NAME}.so"


def pack_python(root: Path, target: Path) -> None:
    """Put the Python side that ExLlamaV2 imports, and the licence, into a zip file."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as package:
        for name in ("__init__.py", "flash_attn_interface.py"):
            package.write(root / "flash_attn" / name, f"flash_attn/{name}")
        package.write(root / "LICENSE", "flash_attn/LICENSE")


def main(archive: Path, folder: Path) -> None:
    root = unpack(archive, folder)
    module = compile_module(root, folder / "build")
    shutil.copyfile(module, folder / module.name)
    pack_python(root, folder / "flash_attn.zip")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
