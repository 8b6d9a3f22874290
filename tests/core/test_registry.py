"""What the list of models keeps of those that are not loaded."""

from __future__ import annotations

import pytest

from tests.support.core import Core
from tests.support.virtual_time import virtual
from wsserver.core.engine import ModelLoadError
from wsserver.core.models import Model, ModelStatus
from wsserver.core.models.registry import MOST_REMEMBERED


def begin(core: Core, model_id: str, source: str = "synthetic:?slots=0") -> Model:
    """Begin a load as a client does; without slots it fails."""
    return core.models.begin_load(source, model_id=model_id, settings={}, admit=lambda: None)


@virtual
async def test_names_of_clients_do_not_pile_up() -> None:
    """Of what clients named and what did not load the newest are told of, loaded ones always."""
    core = Core()
    await core.models.loaded(begin(core, "good", "synthetic:"))
    for number in range(MOST_REMEMBERED + 20):
        with pytest.raises(ModelLoadError):
            await core.models.loaded(begin(core, f"bad {number}"))
    names = [model.id for model in core.models.all()]
    assert names == ["good", *(f"bad {number}" for number in range(20, MOST_REMEMBERED + 20))]
    await core.close()


@virtual
async def test_an_unload_puts_a_failure_aside() -> None:
    """Who has seen why a load failed can clear it away."""
    core = Core()
    model = begin(core, "bad")
    with pytest.raises(ModelLoadError):
        await core.models.loaded(model)
    core.models.begin_unload(model, force=False)
    await core.models.unloaded(model)
    assert (model.status, model.reason) == (ModelStatus.UNLOADED, None)
    await core.close()
