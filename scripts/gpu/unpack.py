"""Unpacks the kit on the machine with the GPU, so that Python finds it; needs nothing installed.

Compiled modules are unpacked only where they fit the machine's Python and torch. Where they don't,
the engines compile their own at first use (minutes, with nvcc), and ExLlamaV2 without flash-attn
has one slot; that is said.
"""

from __future__ import annotations

import json
import lzma
import shutil
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scripts.gpu.kit import FOLDER, MANIFEST, ROOT, KitError, Manifest, read_manifest, this_python


def misfit(manifest: Manifest) -> str | None:
    """Why the kit's compiled modules can't be used here; None if they can."""
    if this_python() != manifest.python:
        return f"they are for Python {manifest.python}, this is {this_python()}"
    try:
        torch = version("torch")
    except PackageNotFoundError:
        return "there is no torch here"
    if torch.partition("+")[0] != manifest.torch:
        return f"they are for torch {manifest.torch}, this is {torch}"
    return None


def unpack(kit: Path, site: Path) -> str | None:
    """Unpack a kit into a folder for PYTHONPATH; done once.

    Returns:
        Why the compiled modules were left out, or None.

    Raises:
        KitError: If there is no whole kit, or its packages are for another Python.
    """
    manifest = read_manifest(kit)
    if this_python() != manifest.python:
        raise KitError(f"the kit is for Python {manifest.python}, this is {this_python()}")
    reason = misfit(manifest)
    stamp = site / MANIFEST
    wanted = json.dumps([manifest.files, reason])
    if stamp.is_file() and stamp.read_text() == wanted:
        return reason
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    for path in sorted(kit.glob("*.whl")):
        _extract(path, site)
    if reason is None:
        for path in kit.glob("*.zip"):
            _extract(path, site)
        for path in kit.glob("*.so.xz"):
            with lzma.open(path) as packed, (site / path.stem).open("wb") as module:
                shutil.copyfileobj(packed, module)
    _name_this_project(site)
    stamp.write_text(wanted)
    return reason


def _extract(path: Path, site: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        archive.extractall(site)


def _name_this_project(site: Path) -> None:
    """The server asks for its own version; here it is not installed but read from its folder."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    folder = site / f"{project['name']}-{project['version']}.dist-info"
    folder.mkdir()
    lines = ("Metadata-Version: 2.1", f"Name: {project['name']}", f"Version: {project['version']}")
    (folder / "METADATA").write_text("\n".join(lines) + "\n")


def main(site: Path) -> int:
    try:
        reason = unpack(FOLDER, site)
    except KitError as error:
        print(f"scripts/gpu: {error}", file=sys.stderr)
        return 1
    if reason is not None:
        print(f"scripts/gpu: the kit's compiled modules are left out: {reason}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute()))
