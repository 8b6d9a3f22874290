"""Which id a model gets that a client asks to load."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping

from wsserver.core.models.model import Model
from wsserver.core.models.sources import ModelSource
from wsserver_protocol.errors import ErrorCode, FieldError, WireError


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
