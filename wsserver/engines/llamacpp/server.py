"""How llama.cpp is set up: the parameters of the server that xllamacpp runs in this process.

Decides only what is not the user's to set. Each line that differs from llama.cpp's own default
says why.
"""

from __future__ import annotations

import time
from typing import Any, Final

import xllamacpp

from wsserver.engines.llamacpp.companions import Draft
from wsserver.engines.llamacpp.devices import Placement
from wsserver.engines.llamacpp.settings import LlamaCppSettings

_LOG_ERRORS: Final = 1  # verbosity; the reason of a failed load is told nowhere else
_LOG_FLUSH_SECONDS: Final = 0.25
_FLASH_ATTENTION: Final = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}


def has_gpu() -> bool:
    """Whether this build of llama.cpp sees a device other than the CPU."""
    cpu = xllamacpp.ggml_backend_dev_type.GGML_BACKEND_DEVICE_TYPE_CPU
    return any(device["type"] != cpu for device in xllamacpp.get_device_info())


def open_server(parameters: Any) -> Any:
    """Load the model and start the server.

    Raises:
        RuntimeError: Without a reason; that stands on stderr, where the host looks for it.
    """
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError:
        # llama.cpp writes its log from a thread, which can't be told to finish.
        time.sleep(_LOG_FLUSH_SECONDS)
        raise


def server_parameters(path: str, settings: LlamaCppSettings, socket_path: str, key: str) -> Any:
    """xllamacpp's parameters for a load."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = path
    parameters.n_parallel = settings.slots
    # Each job its own share, not one pool for all (kv_unified): a pool lets a long chat end
    # another one's answer in the middle.
    parameters.kv_unified = False
    parameters.n_ctx = settings.ctx * settings.slots
    parameters.n_batch = parameters.n_ubatch = settings.batch
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    _place(parameters, settings.placement)
    parameters.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(adapter.path, adapter.scale)
        for adapter in settings.adapters
    ]
    if settings.draft is not None:
        _draft(parameters, settings.draft, settings.placement)
    parameters.cache_ram_mib = settings.prompt_cache_mib  # its default is 8 GiB
    parameters.prefill_assistant = False  # `EngineJob.prior` says what is open, not a last turn
    if settings.chat_template:
        parameters.chat_template = settings.chat_template
    parameters.hostnames = [socket_path]
    parameters.api_keys = [key]
    parameters.endpoint_slots = False
    parameters.ui = False
    parameters.verbosity = _LOG_ERRORS
    return parameters


def _place(parameters: Any, placement: Placement) -> None:
    parameters.n_gpu_layers = placement.gpu_layers
    parameters.split_mode = xllamacpp.llama_split_mode[
        f"LLAMA_SPLIT_MODE_{placement.split_mode.upper()}"
    ]
    shares = len(parameters.tensor_split)  # llama.cpp has a fixed number of places; 0 = none
    parameters.tensor_split = [*placement.tensor_split, *[0.0] * shares][:shares]
    parameters.main_gpu = placement.main_gpu
    parameters.no_kv_offload = not placement.kv_offload
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type[
        f"LLAMA_FLASH_ATTN_TYPE_{_FLASH_ATTENTION[placement.flash_attn]}"
    ]
    parameters.cache_type_k = _cache_type(placement.cache_type_k)
    parameters.cache_type_v = _cache_type(placement.cache_type_v)


def _draft(parameters: Any, draft: Draft, placement: Placement) -> None:
    kinds = xllamacpp.common_speculative_type
    parameters.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
    own = parameters.speculative.draft
    own.mparams.path = draft.path
    own.n_max = draft.most
    own.n_min = draft.least
    own.p_min = draft.min_probability
    own.n_gpu_layers = draft.gpu_layers
    own.cpuparams.n_threads = parameters.cpuparams.n_threads
    own.cpuparams_batch.n_threads = parameters.cpuparams_batch.n_threads
    own.cache_type_k = _cache_type(placement.cache_type_k)
    own.cache_type_v = _cache_type(placement.cache_type_v)


def _cache_type(name: str) -> Any:
    return xllamacpp.ggml_type[f"GGML_TYPE_{name.upper()}"]
