"""The ExLlamaV2 engine."""

from __future__ import annotations

from wsserver.engines.exllama.engine import ExllamaEngine
from wsserver.engines.exllamav2.backend import V2Backend


class ExLlamaV2Engine(ExllamaEngine):
    """Serves EXL2, GPTQ and unquantized folders."""

    def __init__(self) -> None:
        super().__init__(V2Backend())
