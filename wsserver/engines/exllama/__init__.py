"""What the engines of ExLlamaV2 and ExLlamaV3 share; imports neither.

Imported only inside an engine's child process. ``engine`` drives a ``backend``, which is all that
differs between the two; the other modules each know one thing: the folder (``files``), the
settings, this machine's GPUs, chat templates, tokens, how a result is read, one running answer.
"""
