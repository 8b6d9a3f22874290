"""The llama.cpp engine: GGUF models on a CPU (or whatever its wheel was built for), by xllamacpp.

Imported only inside an engine's child process. ``engine`` is the way in; the other modules each
know one thing: the file (``gguf``), the settings, the sampling options, the server that xllamacpp
starts inside the process (``api``), one running answer (``answer``).
"""
