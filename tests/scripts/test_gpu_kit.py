"""The kit: its manifest, how it is unpacked, and what is said when it does not fit."""

from __future__ import annotations

import lzma
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from scripts.gpu import build, flash_attention, unpack
from scripts.gpu.kit import (
    ROOT,
    TORCH,
    KitError,
    Manifest,
    contents,
    digest,
    read_manifest,
    size,
    this_python,
)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit for this Python with one package and one module."""
    folder = tmp_path / "kit"
    folder.mkdir()
    with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("thing/__init__.py", "value = 7\n")
    (folder / "thing_ext.so.xz").write_bytes(lzma.compress(b"a module"))
    seal(folder)
    return folder


def seal(folder: Path, python: str | None = None) -> None:
    files = {path.name: digest(path) for path in contents(folder)}
    Manifest(python or this_python(), TORCH, "9.0", files).save(folder)


@pytest.fixture
def has_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The torch that the kit is for."""
    monkeypatch.setattr(unpack, "version", lambda name: f"{TORCH}+cu130")


@pytest.mark.usefixtures("has_torch")
def test_a_kit_is_unpacked_for_pythonpath(kit: Path, tmp_path: Path) -> None:
    """Packages, compiled modules, and this project's name and version, as the server asks for."""
    site = tmp_path / "site"
    assert unpack.unpack(kit, site) is None
    assert (site / "thing_ext.so").read_bytes() == b"a module"
    code = "import thing, importlib.metadata as m; print(thing.value, m.version('wsserver'))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"],
        capture_output=True,
        text=True,
    )
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert done.stdout.split() == ["7", version]


@pytest.mark.usefixtures("has_torch")
def test_unpacking_again_does_nothing_until_the_kit_changes(kit: Path, tmp_path: Path) -> None:
    """What is there is kept; another kit replaces all of it."""
    site = tmp_path / "site"
    unpack.unpack(kit, site)
    (site / "own").write_text("mine")
    unpack.unpack(kit, site)
    assert (site / "own").exists()
    (kit / "other_ext.so.xz").write_bytes(lzma.compress(b"another"))
    seal(kit)
    unpack.unpack(kit, site)
    assert not (site / "own").exists()
    assert (site / "other_ext.so").exists()


@pytest.mark.parametrize(
    ("torch", "words"), [("2.12.0+cu132", f"for torch {TORCH}, this is 2.12.0"), (None, "no torch")]
)
def test_modules_for_another_torch_are_left_out(
    torch: str | None, words: str, kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would crash; the packages are of use all the same, and the reason is told."""

    def version(name: str) -> str:
        if torch is None:
            raise PackageNotFoundError(name)
        return torch

    monkeypatch.setattr(unpack, "version", version)
    reason = unpack.unpack(kit, tmp_path / "site")
    assert reason is not None and words in reason
    assert (tmp_path / "site" / "thing").is_dir()
    assert not (tmp_path / "site" / "thing_ext.so").exists()


def test_what_is_no_whole_kit_is_refused(kit: Path, tmp_path: Path) -> None:
    """No folder, a damaged file, a broken manifest, another Python: a sentence each."""
    with pytest.raises(KitError, match=r"run scripts/gpu/build-kit"):
        read_manifest(tmp_path / "none")
    seal(kit, "2.7")
    with pytest.raises(KitError, match=r"the kit is for Python 2\.7"):
        unpack.unpack(kit, tmp_path / "site")
    seal(kit)
    (kit / "thing_ext.so.xz").write_bytes(b"cut off")
    with pytest.raises(KitError, match="thing_ext.so.xz in the kit is missing or damaged"):
        read_manifest(kit)
    (kit / "kit.json").write_text("{")
    with pytest.raises(KitError, match="can't be read"):
        read_manifest(kit)


def test_the_builder_refuses_another_python(capsys: pytest.CaptureFixture[str]) -> None:
    """Compiled modules fit one minor version: it says which Python to start it with."""
    assert build.main(["--python", "2.7"]) == 1
    assert "start it with that one (PYTHON=python2.7" in capsys.readouterr().err


def test_unknown_steps_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error does not build everything."""
    with pytest.raises(SystemExit) as exit:
        build.arguments(["wheel"])
    assert exit.value.code == 2
    assert "no such step: wheel; there are wheels, exllamav2" in capsys.readouterr().err


def test_a_kit_that_has_grown_too_large_is_refused(
    kit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past what can be carried the build fails, with both sizes."""
    builder = build.Builder(kit, tmp_path / "environment", 1)
    builder.finish()
    monkeypatch.setattr(build, "LIMIT_BYTES", size(kit) - 1)
    with pytest.raises(KitError, match="the kit has"):
        builder.finish()


def test_every_wheel_has_one_version() -> None:
    """Each name in the list is pinned there or in constraints.txt: the same kit tomorrow."""
    wanted = (ROOT / "scripts/gpu/requirements.txt").read_text().splitlines()
    pins = (ROOT / "constraints.txt").read_text().lower().replace("_", "-")
    loose = [
        line
        for line in wanted
        if line
        and not line.startswith("#")
        and "==" not in line
        and f"\n{line.lower().replace('_', '-')}==" not in pins
    ]
    assert loose == []


def test_flash_attention_is_narrowed_to_what_is_compiled() -> None:
    """Eight kernels: two head sizes, with and without split keys, causal and not; and each head
    size has its stubs for the backward pass."""
    assert len(set(flash_attention.KERNELS)) == 8
    stubs = (flash_attention.NARROWED / "no_backward.cpp").read_text()
    switch = (flash_attention.NARROWED / "static_switch.h").read_text()
    for number in ("64", "128"):
        assert sum(f"hdim{number}_" in name for name in flash_attention.KERNELS) == 4
        assert stubs.count(f"NO_BACKWARD({number}, ") == 2
        assert f"(SIZE) == {number}" in switch
