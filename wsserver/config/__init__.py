"""Settings: what they are (`sections`), how they are read (`load`), how they are shown (`show`).

Imports nothing else of the server, so that every part may name the section that it is given.
"""

from wsserver.config.faults import ConfigError, Fault, Origin
from wsserver.config.loader import Loaded, Request, load
from wsserver.config.model_sections import ModelEntry, Models
from wsserver.config.sections import (
    Auth,
    Config,
    Data,
    Idempotency,
    Limits,
    Log,
    Redis,
    Resume,
    Rooms,
    Server,
    Sessions,
    Streams,
)
from wsserver.config.show import reference, show
from wsserver.config.unbuilt import unbuilt

__all__ = [
    "Auth",
    "Config",
    "ConfigError",
    "Data",
    "Fault",
    "Idempotency",
    "Limits",
    "Loaded",
    "Log",
    "ModelEntry",
    "Models",
    "Origin",
    "Redis",
    "Request",
    "Resume",
    "Rooms",
    "Server",
    "Sessions",
    "Streams",
    "load",
    "reference",
    "show",
    "unbuilt",
]
