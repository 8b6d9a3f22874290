"""The ExLlamaV2 engine: EXL2, GPTQ and unquantized folders on NVIDIA GPUs, by exllamav2 0.3.2.

Imported only inside an engine's child process; the library itself only while a model loads.
``engine`` is the way in. What it has in common with ExLlamaV3 is in `wsserver.engines.exllama`.
"""
