"""What the tests of the ExLlama engines' common part share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tiny_folders import write_folder
from wsserver.engines.exllama.files import ModelFiles, read_files
from wsserver.engines.folders import WeightFormat


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model's folder."""
    return write_folder(tmp_path_factory.mktemp("folders") / "tiny")


@pytest.fixture(scope="session")
def files(folder: Path) -> ModelFiles:
    """The same, read."""
    return read_files(str(folder), frozenset(WeightFormat), "the library")
