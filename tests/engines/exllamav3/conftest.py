"""A tiny model as the real exllamav3 sees it, where it can be imported."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny_folders import write_folder
from wsserver.engines.exllama.files import ModelFiles, read_files
from wsserver.engines.exllama.machine import first_words
from wsserver.engines.exllama.settings import ExllamaSettings
from wsserver.engines.exllama.tokens import ModelTokenizer
from wsserver.engines.exllamav3.backend import V3Backend


@pytest.fixture(scope="session", autouse=True)
def library() -> Any:
    """The library, its extension compiled; all tests here are skipped, by name, without it."""
    try:
        import exllamav3
    except Exception as error:  # without torch, a compiler or a GPU it fails in ways of its own
        pytest.skip(f"ExLlamaV3's own parts: exllamav3 can't be imported: {first_words(error)}")
    return exllamav3


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """A tiny model's folder."""
    folder = write_folder(tmp_path_factory.mktemp("v3") / "tiny")
    return read_files(str(folder), V3Backend.formats, "exllamav3")


@pytest.fixture(scope="session")
def tokenizer(files: ModelFiles) -> ModelTokenizer:
    """Ours, of the same folder."""
    return ModelTokenizer(files, None)


@pytest.fixture
def backend(library: Any, files: ModelFiles, tokenizer: ModelTokenizer) -> V3Backend:
    """All of the backend that is there before weights are loaded."""
    made = V3Backend()
    made.open(files)
    made._settings = ExllamaSettings(slots=2, ctx=1024, cache_tokens=2048)
    made._tokenizer = library.Tokenizer.from_config(made._config)
    made.open_grammars(tokenizer.source, files.end_tokens)
    return made
