"""A tiny model as the real exllamav2 sees it on a machine without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from tests.tiny_folders import write_folder
from wsserver.engines.exllama.files import ModelFiles, read_files
from wsserver.engines.exllama.machine import first_words
from wsserver.engines.exllama.settings import ExllamaSettings
from wsserver.engines.exllama.tokens import ModelTokenizer
from wsserver.engines.exllamav2.backend import V2Backend


@pytest.fixture(scope="session", autouse=True)
def library() -> Any:
    """The library, its extension compiled; all tests here are skipped, by name, without it."""
    try:
        import exllamav2
    except Exception as error:  # without a compiler or a GPU it fails in ways of its own
        pytest.skip(f"ExLlamaV2's own parts: exllamav2 can't be imported: {first_words(error)}")
    return exllamav2


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    """A tiny model's folder."""
    folder = write_folder(tmp_path_factory.mktemp("v2") / "tiny")
    return read_files(str(folder), V2Backend.formats, "exllamav2")


def read_tokenizer(files: ModelFiles) -> ModelTokenizer:
    """Ours, of the same folder; for prompts that are no conversations."""
    return ModelTokenizer(files, None)


@pytest.fixture(scope="session")
def tokenizer(files: ModelFiles) -> ModelTokenizer:
    """The same, read once."""
    return read_tokenizer(files)


@pytest.fixture
def backend(library: Any, files: ModelFiles, tokenizer: ModelTokenizer) -> V2Backend:
    """All of the backend that is there before weights are loaded."""
    made = V2Backend()
    made.open(files)
    made._settings = ExllamaSettings(slots=2, ctx=1024, cache_tokens=2048)
    made._tokenizer = library.ExLlamaV2Tokenizer(made._config)
    made._weights = Weightless()
    made.open_grammars(tokenizer.source, files.end_tokens)
    return made


class Weightless:
    """In the place of weights, which need a GPU."""

    model = None
