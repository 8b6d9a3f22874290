"""The openai engine: any server that speaks OpenAI's HTTP API, or several of them, as one model.

Imported only inside an engine's child process. ``engine`` is the way in; the other modules each
know one thing: the settings, what the kinds of servers differ in (``dialect``), the bodies of
requests, event streams (``sse``), one running answer (``answer``), faults and what they mean, the
endpoints and their circuit breakers, the HTTP client, and the attempts of one job (``attempts``).
"""
