"""What the configuration says of models, as core wants to hear it.

Part of the composition: which sources there are, which engine is whose, and how much may be loaded.
"""

from __future__ import annotations

from pathlib import Path

from wsserver.config import Config, Models
from wsserver.config.sizes import size_bytes
from wsserver.core.models import Bounds, ModelSource, Placement, SourcePolicy
from wsserver.engines.catalog import ENTRIES, NO_ENGINE, engine_for
from wsserver.engines.memory import has_gpu, machine_memory


def source_policy(config: Config) -> SourcePolicy:
    """What may be loaded, and under which names it is known."""
    sources: dict[str, ModelSource] = {}
    for entry in config.models.model:
        is_file = Path(entry.source).is_absolute()
        engine = entry.engine or _engine_for(entry.source) or NO_ENGINE
        sources[entry.id] = ModelSource(
            id=entry.id,
            source=Path(entry.source).name if is_file else entry.source,
            engine=engine,
            path=entry.source if is_file else None,
            settings={**config.models.engines.get(engine, {}), **entry.settings},
            description=entry.description,
            placement=Placement(
                replicas=len(entry.placement) or entry.replicas,
                gpus=entry.placement or ((entry.gpus,) if entry.gpus else ()),
                split=entry.gpu_split,
                memory=size_bytes(entry.memory),
            ),
            fallbacks=entry.fallbacks,
        )
    return SourcePolicy(
        models_dir=Path(config.models.dir) if config.models.dir else None,
        allowed_schemes=frozenset(config.models.schemes),
        choose_engine=_engine_for,
        configured=sources,
        operator_settings={name: entry.operator_settings for name, entry in ENTRIES.items()},
        file_settings={name: entry.file_settings for name, entry in ENTRIES.items()},
        split_settings={name: entry.split_setting for name, entry in ENTRIES.items()},
    )


def model_bounds(models: Models) -> Bounds:
    """How much may be loaded together."""
    is_machine = models.max_memory == "auto"
    if is_machine:
        memory = 0 if has_gpu() else machine_memory()
    else:
        memory = size_bytes(models.max_memory)
    return Bounds(
        models=models.max_loaded,
        memory=memory,
        gpu_memory=size_bytes(models.max_gpu_memory),
        is_machine=is_machine,
    )


def _engine_for(source: str) -> str | None:
    try:
        return engine_for(source)
    except LookupError:
        return None
