"""Which model a name means, and which id one gets that a client asks to load."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping
from typing import TypeVar

from wsserver.core.models.directory import ModelView
from wsserver.core.models.model import Model, ModelStatus
from wsserver.core.models.sources import ModelSource
from wsserver_protocol.errors import ErrorCode, FieldError, WireError

DEFAULT_NAME = "default"
"""The model name that means the default model."""

View = TypeVar("View", bound=ModelView)


def find_model(models: Mapping[str, View], default: View | None, model_id: str | None) -> View:
    """The model that a request names, or the default one.

    Raises:
        WireError: ``model_not_found``, or ``model_not_ready`` when there is no default.
    """
    if model_id is None or (model_id == DEFAULT_NAME and model_id not in models):
        if default is None:
            raise WireError(ErrorCode.MODEL_NOT_READY, "No model is loaded.")
        return default
    model = models.get(model_id)
    if model is None:
        raise WireError(
            ErrorCode.MODEL_NOT_FOUND,
            f"There is no model {model_id!r}.",
            details=(FieldError(field="model", message="unknown"),),
        )
    return model


def require_servable(model: ModelView) -> None:
    """Refuse a model that neither answers nor is on the way to it.

    Raises:
        WireError: ``model_not_ready``.
    """
    if model.status is ModelStatus.FAILED:
        raise WireError(ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} failed: {model.reason}")
    if model.status is ModelStatus.UNLOADED or model.is_unloading:
        raise WireError(ErrorCode.MODEL_NOT_READY, f"Model {model.id!r} is not loaded.")


def choose_id(
    models: Mapping[str, Model],
    configured: Container[str],
    source: ModelSource,
    wanted: str | None,
    *,
    is_configured: bool,
) -> str:
    """The id under which ``source`` is, or is to be, loaded.

    An id stands free if nothing is loaded under it and the operator did not name it. ``wanted``,
    and the id of a source that the operator configured, are taken as they are; any other default
    gets ``-2``, ``-3`` … on a clash.

    Raises:
        WireError: ``invalid_parameters`` if a given id stands for another model.
    """
    if wanted is None and not is_configured:
        return next(name for name in numbered(source.id) if _is_free(models, configured, name))
    name = wanted or source.id
    known = models.get(name)
    is_same = known is not None and known.spec.source == source.source and not known.is_unloading
    if is_same or _is_free(models, configured, name):
        return name
    raise WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"The id {name!r} is taken by another model.",
        details=(FieldError(field="id", message="is taken"),),
    )


def numbered(stem: str) -> Iterator[str]:
    """``stem``, ``stem-2``, ``stem-3`` …"""
    yield stem
    yield from (f"{stem}-{number}" for number in itertools.count(2))


def _is_free(models: Mapping[str, Model], configured: Container[str], name: str) -> bool:
    known = models.get(name)
    return known is None or (known.is_idle and name not in configured)
