"""Makes the kit: wheels, the engines' compiled extensions, and a narrow build of flash-attn.

Runs on any machine with nvcc, g++, 7 GB of disk and PyPI's packages; no GPU is needed. It must be
run by the Python that the GPU machine has, in its minor version: PYTHON=python3.12.
Steps that are done are not done again; naming a step does it anew.
"""

from __future__ import annotations

import argparse
import lzma
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from scripts.gpu.kit import (
    ARCHITECTURE,
    EXTENSIONS,
    FOLDER,
    LIMIT_BYTES,
    ROOT,
    TORCH,
    KitError,
    Manifest,
    contents,
    digest,
    size,
    this_python,
)

HERE = Path(__file__).resolve().parent
FLASH_ATTN = "flash-attn==2.8.3.post2"
TOOLS = ("setuptools", "wheel", "packaging", "ninja", "numpy", "psutil", "einops")
"""What compiling takes beside torch; einops and psutil are asked for by flash-attn's setup."""
LISTS = ("-r", str(HERE / "requirements.txt"), "-c", str(ROOT / "constraints.txt"))
STEPS = ("wheels", "exllamav2", "flash-attn", "exllamav3")


class Builder:
    """One build: an environment with torch, and the folder that the kit grows in."""

    def __init__(self, kit: Path, environment: Path, jobs: int) -> None:
        self.kit = kit
        self.environment = environment
        self.python = environment / "bin" / "python"
        self.jobs = jobs
        self.scratch = environment / "scratch"

    def prepare(self) -> None:
        """The environment: torch with its CUDA packages, several GB, once."""
        self.kit.mkdir(parents=True, exist_ok=True)
        if not self.python.exists():
            say(f"making {self.environment}")
            venv.create(self.environment, with_pip=True)
        self.scratch.mkdir(exist_ok=True)
        self.pip("install", f"torch=={TORCH}", *TOOLS)

    def is_done(self, step: str) -> bool:
        if step == "wheels":
            return any(self.kit.glob("*.whl"))
        return (self.kit / f"{EXTENSIONS[step]}.so.xz").exists()

    def do(self, step: str) -> None:
        say(f"{step} …")
        match step:
            case "wheels":
                self.wheels()
            case "flash-attn":
                self.flash_attention()
            case _:
                self.extension(step)

    def wheels(self) -> None:
        """Exactly the packages of requirements.txt: nothing that they would bring along."""
        for old in self.kit.glob("*.whl"):
            old.unlink()
        self.pip("download", "--no-deps", "--only-binary=:all:", "-d", str(self.kit), *LISTS)

    def extension(self, package: str) -> None:
        """Both engines compile their extension when they are imported first."""
        self.pip("install", *LISTS)
        name = EXTENSIONS[package]
        built = self.scratch / "extensions" / name / f"{name}.so"
        # Without a device exllamav3 refuses to go on after it has compiled and loaded its module.
        done = self.run("-c", f"import {package}", allow_failure=True)
        if not built.exists():
            raise KitError(f"{package} did not compile:\n{done.stdout[-4000:]}")
        self.run("-c", f"import torch, sys; sys.path[:0] = [{str(built.parent)!r}]; import {name}")
        self.keep(built)

    def flash_attention(self) -> None:
        folder = self.scratch / "flash-attn"
        folder.mkdir(exist_ok=True)
        source = ("--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", str(folder))
        # pip asks the archive's setup for its metadata, and that would look for a prebuilt wheel.
        self.pip("download", *source, FLASH_ATTN, FLASH_ATTENTION_SKIP_CUDA_BUILD="TRUE")
        (archive,) = folder.glob("flash_attn-*.tar.gz")
        self.run("-m", "scripts.gpu.flash_attention", str(archive), str(folder))
        self.keep(folder / f"{EXTENSIONS['flash-attn']}.so")
        shutil.copyfile(folder / "flash_attn.zip", self.kit / "flash_attn.zip")

    def keep(self, module: Path) -> None:
        """Strip a module and put it into the kit, compressed to about a quarter."""
        stripped = self.scratch / f"{module.name}.stripped"
        subprocess.run(["strip", "--strip-unneeded", "-o", stripped, module], check=True)
        packed = lzma.compress(stripped.read_bytes(), preset=9)
        (self.kit / f"{module.name}.xz").write_bytes(packed)
        sizes = stripped.stat().st_size / 1e6, len(packed) / 1e6
        say(f"{module.name}: {sizes[0]:.1f} MB, {sizes[1]:.1f} packed")

    def finish(self) -> None:
        """Write the manifest.

        Raises:
            KitError: If the kit has grown too large to travel.
        """
        files = {path.name: digest(path) for path in contents(self.kit)}
        Manifest(this_python(), TORCH, ARCHITECTURE, files).save(self.kit)
        total = size(self.kit)
        if total > LIMIT_BYTES:
            raise KitError(f"the kit has {total / 1e6:.1f} MB, past {LIMIT_BYTES / 1e6:.0f} MB")
        missing = [step for step in STEPS if not self.is_done(step)]
        say(f"{self.kit}: {len(files)} files, {total / 1e6:.1f} MB")
        if missing:
            say(f"without {', '.join(missing)}: compiled on the GPU machine at first use")

    def pip(self, *arguments: str, **environment: str) -> None:
        quiet = ("-m", "pip", "--quiet", "--disable-pip-version-check")
        self.run(*quiet, *arguments, environment=environment)

    def run(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        allow_failure: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python; its output is shown only if it fails.

        Raises:
            KitError: With the end of its output.
        """
        done = subprocess.run(
            [self.python, *arguments],
            env={**os.environ, **compiler_environment(self), **(environment or {})},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode and not allow_failure:
            raise KitError(f"{' '.join(arguments[:4])} failed:\n{done.stdout[-4000:]}")
        return done


def compiler_environment(builder: Builder) -> dict[str, str]:
    """What torch's extension builder is told.

    A toolkit without the headers of cuBLAS and cuSPARSE is common; the pip packages that torch
    depends on hold them.
    """
    site = builder.environment / "lib" / f"python{this_python()}" / "site-packages"
    return {
        "PATH": f"{builder.environment / 'bin'}:{os.environ.get('PATH', '')}",
        "TORCH_CUDA_ARCH_LIST": ARCHITECTURE,
        "MAX_JOBS": str(builder.jobs),
        "CUDA_HOME": str(cuda_home()),
        "CUDA_INC_PATH": str(site / "nvidia" / "cu13" / "include"),
        "TORCH_EXTENSIONS_DIR": str(builder.scratch / "extensions"),
    }


def cuda_home() -> Path:
    """The CUDA toolkit: $CUDA_HOME, else where the newest nvcc is.

    Raises:
        KitError: If there is no nvcc.
    """
    if named := os.environ.get("CUDA_HOME"):
        return Path(named)
    found = sorted(Path("/usr/local").glob("cuda-13*/bin/nvcc"))
    nvcc = str(found[-1]) if found else shutil.which("nvcc")
    if nvcc is None:
        raise KitError("no nvcc: install CUDA's compiler (13.0 fits torch), or set CUDA_HOME")
    return Path(nvcc).resolve().parents[1]


def say(text: str) -> None:
    print(f"build-kit: {text}", flush=True)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/gpu/build-kit", description=__doc__)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of {', '.join(STEPS)}; or all")
    parser.add_argument("--python", default="3.12", help="of the GPU machine (default 3.12)")
    parser.add_argument("--kit", type=Path, default=FOLDER, help="folder to make")
    parser.add_argument(
        "--environment",
        type=Path,
        default=ROOT / "build" / "gpu-kit-environment",
        help="virtual environment to compile in; kept",
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="compilers at once")
    parsed = parser.parse_args(argv)
    if unknown := set(parsed.steps) - set(STEPS):
        parser.error(f"no such step: {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}")
    return parsed


def main(argv: Sequence[str]) -> int:
    """0 done, 1 failed, 2 asked wrongly."""
    parsed = arguments(argv)
    builder = Builder(parsed.kit.absolute(), parsed.environment.absolute(), parsed.jobs)
    try:
        if this_python() != parsed.python:
            raise KitError(
                f"this is Python {this_python()}, the kit is for {parsed.python}: start it with "
                f"that one (PYTHON=python{parsed.python} scripts/gpu/build-kit), or build on the "
                "GPU machine itself (--python names its version)"
            )
        builder.prepare()
        for step in parsed.steps or STEPS:
            if parsed.steps or not builder.is_done(step):
                builder.do(step)
        builder.finish()
    except KitError as error:
        print(f"build-kit: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
