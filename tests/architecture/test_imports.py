"""Imports run one way, and each third party has its room."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.architecture.source import PACKAGES, Module, package_modules

PROTOCOL, CONFIG, CORE = "wsserver_protocol", "wsserver.config", "wsserver.core"

MAY_IMPORT = {
    PROTOCOL: set(),
    CONFIG: {PROTOCOL},
    CORE: {PROTOCOL},
    "wsserver.gateway": {PROTOCOL, CORE, CONFIG},
    "wsserver.engines": {PROTOCOL, CORE, CONFIG},
    "wsserver.stores": {PROTOCOL, CORE, CONFIG},
    "wsserver.observe": {PROTOCOL, CORE, CONFIG},
    "wsserver.model_setup": {CORE, CONFIG, "wsserver.engines"},
    "wsserver.app": {
        *(PROTOCOL, CORE, CONFIG, "wsserver.model_setup"),
        *("wsserver.gateway", "wsserver.engines", "wsserver.stores", "wsserver.observe"),
    },
    "wsserver.supervisor": {CONFIG, CORE, "wsserver.observe"},
    "wsserver.archive": {PROTOCOL, CORE, CONFIG, "wsserver.stores"},
    "wsserver.doctor": {CONFIG, CORE, "wsserver.engines", "wsserver.stores"},
    "wsserver.cli": {
        *(CONFIG, "wsserver.app", "wsserver.supervisor", "wsserver.archive", "wsserver.doctor"),
        "wsserver_terminal",
    },
    "wsserver.__main__": {"wsserver.cli"},
    "wsserver_client": {PROTOCOL},
    "wsserver_terminal": {PROTOCOL, "wsserver_client"},
}
"""Room to the rooms that it may import besides itself."""

THIRD_PARTIES = {
    "aiohttp": {"wsserver.engines.openai.client"},
    "exllamav2": {"wsserver.engines.exllamav2"},
    "hiredis": {"wsserver.stores.redis.pipe"},
    "redis": {"wsserver.stores.redis"},
    "exllamav3": {"wsserver.engines.exllamav3"},
    "jinja2": {"wsserver.engines.exllama.templates"},
    "jwt": {"wsserver.gateway"},
    "llguidance": {"wsserver.engines.grammar", "wsserver.engines.exllamav2.filters"},
    "msgpack": {PROTOCOL},
    "msgspec": {
        *(PROTOCOL, CONFIG, "wsserver.archive", "wsserver.supervisor", "wsserver.gateway.repeats"),
        *("wsserver.core.ask", "wsserver.core.engine", "wsserver.core.sessions.turns"),
        *("wsserver.core.streams.record", "wsserver.gateway.handlers"),
        *("wsserver.core.rooms", "wsserver.core.room_context", "wsserver.core.models"),
        *("wsserver.core.shared.meta", "wsserver.core.shared.clients"),
        *("wsserver.engines.calls", "wsserver.engines.grammar", "wsserver.engines.link"),
        *("wsserver.engines.prompt", "wsserver.engines.llamacpp", "wsserver.engines.openai"),
        *("wsserver.stores.memory", "wsserver.stores.redis"),
    },
    "orjson": {PROTOCOL, "wsserver.core.idempotency", "wsserver.gateway", "wsserver.observe"},
    "prometheus_client": {"wsserver.observe"},
    "prompt_toolkit": {"wsserver_terminal"},
    "psutil": {"wsserver.gateway.handlers.models"},
    "rich": {"wsserver_terminal"},
    "structlog": {"wsserver.observe"},
    "tokenizers": {"wsserver.engines.exllama.tokens"},
    "torch": {
        *("wsserver.engines.exllama.machine", "wsserver.engines.exllamav2"),
        "wsserver.engines.exllamav3",
    },
    "uvloop": {"wsserver.app"},
    "websockets": {
        *("wsserver.gateway.listener", "wsserver.gateway.connection"),
        "wsserver_client.connection",
    },
    "xllamacpp": {"wsserver.engines.llamacpp"},
    "yaml": {"wsserver.cli.from_tabby"},
}
"""Package to the modules (with all below them) that may import it. A new one is entered here."""


def is_within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def room_of(name: str) -> str | None:
    """The room that a dotted name belongs to."""
    return next((room for room in MAY_IMPORT if is_within(name, room)), None)


def violations(module: Module) -> list[str]:
    """What the module imports and should not, one sentence each."""
    home = room_of(module.name)
    found = []
    for line, name in module.imports():
        top = name.partition(".")[0]
        if top in PACKAGES:
            room = room_of(name)
            is_allowed = room in (home, None) or (home and room in MAY_IMPORT[home])
        elif top in sys.stdlib_module_names:
            is_allowed = True
        else:
            is_allowed = any(is_within(module.name, room) for room in THIRD_PARTIES.get(top, ()))
        if not is_allowed:
            found.append(f"{module.shown}:{line} imports {name}")
    return found


def test_imports_run_one_way_and_third_parties_keep_their_rooms() -> None:
    """No installed module imports what its room may not."""
    assert [fault for module in package_modules() for fault in violations(module)] == []


def test_every_module_is_in_a_room() -> None:
    """A new room must be entered in the table, else nothing would hold for it."""
    homeless = [m.name for m in package_modules() if room_of(m.name) is None and m.text.strip()]
    assert [name for name in homeless if name not in PACKAGES] == []


def test_checker_sees_every_form_of_import() -> None:
    """Absolute, from, relative and nested imports are found, or the tests above prove little."""
    text = (
        "import redis.asyncio\n"
        "from wsserver import gateway\n"
        "from ..engines import host\n"
        "def f():\n    import websockets\n"
        "from wsserver.core import jobs\n"
        "import asyncio\n"
    )
    module = Module("wsserver.core.sample", Path("/sample.py"), text)
    assert [fault.split(" imports ")[1] for fault in violations(module)] == [
        "redis.asyncio",
        "wsserver.gateway",
        "wsserver.engines.host",
        "websockets",
    ]
