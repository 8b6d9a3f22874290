"""The ExLlamaV3 engine."""

from __future__ import annotations

from wsserver.engines.exllama.engine import ExllamaEngine
from wsserver.engines.exllamav3.backend import V3Backend


class ExLlamaV3Engine(ExllamaEngine):
    """Serves EXL3 and unquantized folders."""

    def __init__(self) -> None:
        super().__init__(V3Backend())
