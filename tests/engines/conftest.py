"""What the tests of the engines share."""

from __future__ import annotations

import pytest

from tests.tiny_models import TinyModels


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> TinyModels:
    """Tiny models, made once for all tests."""
    return TinyModels(tmp_path_factory.mktemp("models"))
