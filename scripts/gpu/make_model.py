"""Makes the models that the checks load: a random Llama, and an EXL2 of one.

The same size and seed make the same bytes. A finished folder is left as it is; one that was broken
off is made anew, since config.json is written last.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.gpu.random_llama import SIZES, configuration, write_weights
from scripts.gpu.tokenizer import write_tokenizer

CONVERT = """\
import runpy, sys, types
# Only a data set of one's own would need them; the texts inside the package do not.
for name in ("pandas", "fastparquet"):
    sys.modules[name] = types.ModuleType(name)
sys.argv[0] = "convert_exl2"
runpy.run_module("exllamav2.conversion.convert_exl2", run_name="__main__")
"""


class ModelError(Exception):
    """No model could be made; ``str(error)`` says why."""


def make_llama(folder: Path, size: str, seed: int) -> None:
    """A random Llama in half precision, as models are published.

    Raises:
        ModelError: If a package is missing.
    """
    if (folder / "config.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    shape = SIZES[size]
    try:
        special = write_tokenizer(folder, shape.vocabulary)
    except ModuleNotFoundError as error:
        raise ModelError(f"a tokenizer needs the package {error.name}") from None
    write_weights(folder, shape, seed, silent=list(special.values()))
    text = json.dumps(configuration(shape, special), indent=1)
    (folder / "config.json").write_text(text)


def make_exl2(source: Path, folder: Path, bits: float) -> None:
    """Quantize a folder to EXL2, on the GPU, with the texts inside ExLlamaV2's package.

    Raises:
        ModelError: With the end of the converter's output.
    """
    if (folder / "config.json").exists():
        return
    working = folder.with_name(f"{folder.name}.working")
    for path in (working, folder):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    lengths = ("-l", "512", "-ml", "512", "-r", "32", "-mr", "8")  # quality is not measured here
    command = ["-i", source, "-o", working, "-cf", folder, "-b", str(bits), *lengths]
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shutil.rmtree(working)
    if done.returncode or not (folder / "config.json").exists():
        raise ModelError(f"the conversion to EXL2 failed:\n{done.stdout[-3000:]}")


def main(argv: Sequence[str]) -> int:
    """0 made, 1 failed, 2 asked wrongly."""
    parser = argparse.ArgumentParser(prog="scripts/gpu/make-model", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=SIZES, default="1b", help="default 1b")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--exl2", type=Path, metavar="FOLDER", help="quantize it to this folder")
    parser.add_argument("--bits", type=float, default=4.0, help="of a weight in EXL2 (default 4)")
    parsed = parser.parse_args(argv)
    try:
        make_llama(parsed.folder.absolute(), parsed.size, parsed.seed)
        if parsed.exl2:
            make_exl2(parsed.folder.absolute(), parsed.exl2.absolute(), parsed.bits)
    except ModelError as error:
        print(f"make-model: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
