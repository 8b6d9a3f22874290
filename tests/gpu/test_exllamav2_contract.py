"""The ExLlamaV2 engine keeps the contract of engines, on a GPU."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.engine_contract import Case, EngineContract
from tests.gpu.cases import folder_case
from tests.gpu.conftest import need_gpu_for

_ASK = "from exllamav2.attn import has_flash_attn_with_paged as paged; print(paged)"


@pytest.fixture(scope="session")
def has_paging() -> bool:
    """Whether flash-attn is there; asked in a process of its own, as the engine's would."""
    done = subprocess.run([sys.executable, "-c", _ASK], capture_output=True, text=True)
    return done.stdout.strip().endswith("True")


# A load imports torch, makes buffers and warms up: seconds, and each test has one of its own.
@pytest.mark.timeout(300)
class TestExLlamaV2(EngineContract):
    """The contract's suite."""

    @pytest.fixture(autouse=True)
    def on_a_gpu(self, request: pytest.FixtureRequest) -> None:
        """Skip without one, and what needs two slots without flash-attn."""
        need_gpu_for("exllamav2")
        needs_two = "two_answers" in request.node.name or "all_slots" in request.node.name
        if (needs_two or "running_answers" in request.node.name) and not request.getfixturevalue(
            "has_paging"
        ):
            pytest.skip("several answers at once by ExLlamaV2: no flash-attn 2.5.7 or later")

    @pytest.fixture
    def case(self, gpu_folder: Path, tmp_path: Path) -> Case:
        """A model that recites one sentence for ever; the engine lacks no option."""
        return folder_case("exllamav2", gpu_folder, tmp_path / "broken", {})
