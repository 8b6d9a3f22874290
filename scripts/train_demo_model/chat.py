"""Talks to the finished file through llama.cpp (xllamacpp), as the server does."""

import json
import os
from pathlib import Path

# Read when xllamacpp is imported: waiting threads sleep instead of spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import xllamacpp


class Chat:
    """One loaded file. `ask` takes a question or a whole conversation."""

    def __init__(self, path: Path, context: int = 1024, port: int = 18_977) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx = context
        params.n_parallel = 1
        params.n_gpu_layers = 0
        params.warmup = False
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        params.cache_ram_mib = 0
        params.verbosity = 1
        params.port = port
        params.use_jinja = True
        self.server = xllamacpp.Server(params)
        self.speeds: list[float] = []
        """Tokens per second of each answer."""
        self.prompt_tokens = 0
        """Length of the last question with the chat before it."""

    def ask(
        self,
        said: str | list[dict[str, str]],
        temperature: float = 0.0,
        limit: int = 160,
        seed: int = 7,
        *,
        cache: bool = False,
    ) -> str:
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else said
        answer = self.server.handle_chat_completions(
            {
                "messages": messages,
                "temperature": temperature,
                "max_tokens": limit,
                "seed": seed,
                "cache_prompt": cache,
            }
        )
        if isinstance(answer, str | bytes):
            answer = json.loads(answer)
        self.prompt_tokens = answer["usage"]["prompt_tokens"]
        self.speeds.append(answer["timings"]["predicted_per_second"])
        return answer["choices"][0]["message"]["content"]
