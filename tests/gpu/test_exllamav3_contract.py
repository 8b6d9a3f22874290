"""The ExLlamaV3 engine keeps the contract of engines, on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contracts.engine_contract import Case, EngineContract
from tests.gpu.cases import folder_case
from tests.gpu.conftest import need_gpu_for


# A load imports torch, makes buffers and warms up: seconds, and each test has one of its own.
@pytest.mark.timeout(300)
class TestExLlamaV3(EngineContract):
    """The contract's suite."""

    @pytest.fixture(autouse=True)
    def on_a_gpu(self) -> None:
        """Skip without one."""
        need_gpu_for("exllamav3")

    @pytest.fixture
    def case(self, gpu_folder: Path, tmp_path: Path) -> Case:
        """A model that recites one sentence for ever."""
        return folder_case("exllamav3", gpu_folder, tmp_path / "broken", {"typical_p": 0.5})
