"""Where the replicas of a model run, and how much of it each may take.

A GPU is named by its number as the driver's own tools list it. A replica sees the GPUs that it is
given and no other, so that an engine needs no setting for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wsserver_protocol.errors import ErrorCode, FieldError, WireError

MAX_REPLICAS = 64
MAX_GPU = 1023


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model runs.

    ``gpus`` has the GPUs of each replica, or one entry for all of them; none: the engine's own
    choice. ``split``: the share of each GPU of a replica, for the engine. ``memory``: bytes that a
    replica is counted with, 0 = as the engine estimates. ``at_least``: what a client says of that:
    it may know of more than the estimate, but no client talks itself past the bound.
    """

    replicas: int = 1
    gpus: tuple[tuple[int, ...], ...] = ()
    split: tuple[float, ...] = ()
    memory: int = 0
    at_least: int = 0

    def of_each(self) -> list[tuple[int, ...]]:
        """The GPUs of each replica."""
        if len(self.gpus) == self.replicas:
            return list(self.gpus)
        return [self.gpus[0] if self.gpus else ()] * self.replicas


OPTIONS = ("replicas", "gpus", "placement", "gpu_split", "memory")
"""Options of a load that are the pool's, and not the engine's."""


def with_options(placement: Placement, options: Mapping[str, Any]) -> Placement:
    """A placement with what a client's `load_model` says of it.

    Raises:
        WireError: ``invalid_parameters``, naming the option.
    """
    if "gpus" in options and "placement" in options:
        raise _bad("placement", "cannot be given together with gpus")
    replicas, gpus = placement.replicas, placement.gpus
    split, at_least = placement.split, placement.at_least
    if "placement" in options:
        given = options["placement"]
        if not isinstance(given, list) or not 1 <= len(given) <= MAX_REPLICAS:
            raise _bad("placement", "must be a list with the GPUs of each replica, as [[0], [1]]")
        gpus = tuple(_gpus("placement", one) for one in given)
        replicas = len(gpus)
    if "gpus" in options:
        gpus = (_gpus("gpus", options["gpus"]),)
    if "replicas" in options:
        replicas = _whole("replicas", options["replicas"], 1, MAX_REPLICAS)
        if len(gpus) > 1 and len(gpus) != replicas:
            raise _bad("replicas", f"must be {len(gpus)}, as many as placement has")
    if "memory" in options:
        at_least = _whole("memory", options["memory"], 0, 2**53 - 1)
    if "gpu_split" in options:
        split = _split(options["gpu_split"])
    if split and any(len(one) != len(split) for one in gpus or ((),)):
        raise _bad("gpu_split", "must have a share for each GPU of a replica")
    return replace(placement, replicas=replicas, gpus=gpus, split=split, at_least=at_least)


def _gpus(name: str, given: object) -> tuple[int, ...]:
    message = "must be a list of different GPU numbers, as [0, 1]"
    if not isinstance(given, list) or not given:
        raise _bad(name, message)
    numbers = tuple(_whole(name, number, 0, MAX_GPU) for number in given)
    if len(set(numbers)) < len(numbers):
        raise _bad(name, message)
    return numbers


def _split(given: object) -> tuple[float, ...]:
    is_list = isinstance(given, list) and 0 < len(given) <= MAX_GPU
    shares = list(given) if isinstance(given, list) and is_list else [0]
    if any(isinstance(s, bool) or not isinstance(s, int | float) or not s > 0 for s in shares):
        raise _bad("gpu_split", "must be a list with the share of each GPU, as [3, 1]")
    return tuple(float(share) for share in shares)


def _whole(name: str, given: object, least: int, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not least <= given <= most:
        raise _bad(name, f"must be a whole number from {least} to {most}")
    return given


def _bad(name: str, message: str) -> WireError:
    return WireError(
        ErrorCode.INVALID_PARAMETERS,
        f"options.{name} {message}.",
        details=(FieldError(field=f"options.{name}", message=message),),
    )
