"""Where a model's weights and caches lie: on a GPU, on several, in main memory.

Decides whether what was asked for can be had here. The rule: who asks for a GPU in words and gets
the CPU would see a slow server and no reason; llama.cpp ignores such settings in silence, so they
are refused at the load.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from wsserver.core.engine import ModelLoadError


@dataclass(frozen=True)
class Placement:
    """Devices and caches of a load.

    ``gpu_layers``: −1 = as many as fit. ``split_mode``: how several GPUs share the model.
    ``tensor_split``: each GPU's share; empty = by their free memory. ``main_gpu``: the one that is
    used where the model isn't split. ``kv_offload``: whether caches lie with the layers on a GPU.
    ``cache_type_k``, ``cache_type_v``: kinds of the values in the caches.
    """

    gpu_layers: int = -1
    split_mode: str = "layer"
    tensor_split: tuple[float, ...] = ()
    main_gpu: int = 0
    kv_offload: bool = True
    flash_attn: str = "auto"
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"


# Settings that mean nothing without a GPU.
_OF_GPUS: Final = ("split_mode", "tensor_split", "main_gpu")
_LAYERS: Final = ("gpu_layers", "draft_gpu_layers")


def asking_for_gpu(given: dict[str, Any]) -> list[str]:
    """The settings that ask for a GPU in words; they are well-formed already."""
    asking = [key for key in _LAYERS if given.get(key, 0) > 0]
    return asking + [key for key in _OF_GPUS if key in given]


def no_gpu(asking: str) -> ModelLoadError:
    """The failure of a load that asks for a GPU, by a setting, where llama.cpp sees none."""
    return ModelLoadError(
        f"{asking!r} asks for a GPU, and llama.cpp sees none here: either the installed"
        " xllamacpp is a build for the CPU (docs/engines.md names those for GPUs), or the GPU's"
        " driver does not answer; leave the setting out to run on the CPU"
    )


def choose_placement(given: dict[str, Any], *, has_gpu: bool) -> Placement:
    """The placement that the settings ask for; they are well-formed already.

    Raises:
        ModelLoadError: If a setting asks for a GPU and llama.cpp sees none.
    """
    asking = asking_for_gpu(given)
    if asking and not has_gpu:
        raise no_gpu(asking[0])
    default = Placement()
    return Placement(
        gpu_layers=given.get("gpu_layers", default.gpu_layers),
        split_mode=given.get("split_mode", default.split_mode),
        tensor_split=tuple(float(share) for share in given.get("tensor_split", ())),
        main_gpu=given.get("main_gpu", default.main_gpu),
        kv_offload=given.get("kv_offload", default.kv_offload),
        flash_attn=given.get("flash_attn", default.flash_attn),
        cache_type_k=given.get("cache_type_k", default.cache_type_k),
        cache_type_v=given.get("cache_type_v", default.cache_type_v),
    )
