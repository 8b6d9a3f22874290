"""What the tests on a GPU share: they are skipped, by name, where there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.tiny_folders import TinyFolder, write_folder

# Enough that a step outlasts the way of a cancel to the engine, on the fastest GPU.
LAYERS = 32


@pytest.fixture(scope="session")
def gpu_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that recites one sentence for ever, of many layers."""
    return write_folder(tmp_path_factory.mktemp("gpu") / "tiny", TinyFolder(layers=LAYERS))


def need_gpu_for(library: str) -> None:
    """Skip unless ``library`` is installed and torch sees a GPU."""
    if importlib.util.find_spec(library) is None or importlib.util.find_spec("torch") is None:
        pytest.skip(f"the {library} engine on a GPU: {library} and torch are not both installed")
    import torch

    if not torch.cuda.is_available():
        pytest.skip(f"the {library} engine on a GPU: no CUDA device")
