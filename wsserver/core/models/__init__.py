"""Which models there are, what state each is in, and what a client may load.

`directory` is what everyone else asks. `sources` turns what someone wrote into something to load,
or refuses it; `registry` knows the models; `loads` drives each from load to unload, within the
`capacity`; `model` is one of them.
"""

from wsserver.core.models.capacity import Bounds
from wsserver.core.models.directory import LoadCancelled, ModelDirectory, ModelView
from wsserver.core.models.model import Model, ModelStatus
from wsserver.core.models.placement import Placement
from wsserver.core.models.registry import ModelRegistry
from wsserver.core.models.sources import ModelSource, SourcePolicy

__all__ = [
    "Bounds",
    "LoadCancelled",
    "Model",
    "ModelDirectory",
    "ModelRegistry",
    "ModelSource",
    "ModelStatus",
    "ModelView",
    "Placement",
    "SourcePolicy",
]
