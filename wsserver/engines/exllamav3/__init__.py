"""The ExLlamaV3 engine: EXL3 and unquantized folders on NVIDIA GPUs, by exllamav3 1.6.

Imported only inside an engine's child process; the library itself only while a model loads.
``engine`` is the way in. What it has in common with ExLlamaV2 is in `wsserver.engines.exllama`.
"""
