"""What the configuration can already say and the server can't do yet.

Such a key is refused with a plain sentence at the start. To ignore it would be worse: somebody
who sets ``auth.enabled`` must not run an open server unawares. Each line here goes when its part
is built.
"""

from __future__ import annotations

from collections.abc import Mapping

from wsserver.config.faults import Fault, Origin
from wsserver.config.keys import catalogue
from wsserver.config.sections import Config

UNBUILT = {
    "auth.enabled": "authentication",
    "auth.api_keys": "authentication",
}
"""Key to the part that it needs."""


def unbuilt(config: Config, origins: Mapping[str, Origin]) -> tuple[Fault, ...]:
    """Return a fault for each setting that asks for what this version can't do."""
    faults = []
    for path, part in UNBUILT.items():
        key = catalogue()[path]
        if getattr(getattr(config, key.section), key.name) != key.default:
            faults.append(
                Fault(path, f"{part} is not built yet in this version", origins.get(path))
            )
    return tuple(faults)
