"""What the tests of the openai engine share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.openai.servers import llama_server
from tests.engines.openai.specs import ClosedPort
from tests.tiny_models import TinyModel, TinyModels


@pytest.fixture(scope="session")
def llama_url(tiny_models: TinyModels) -> Iterator[str]:
    """A real llama-server, whose model recites one sentence for ever."""
    pytest.importorskip("xllamacpp", reason="llama.cpp's binding is not installed")
    with llama_server(tiny_models.path(TinyModel(mode="cycle"))) as url:
        yield url


@pytest.fixture
def closed_port() -> Iterator[ClosedPort]:
    """A port that refuses connections."""
    port = ClosedPort()
    yield port
    port.close()
