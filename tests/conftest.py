"""Fixtures that all tests may use: servers, connections, tiny models."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.server import ServerProcess, running_server, server_arguments
from tests.support.wire import Wire, open_wire

# How long an example takes tells how busy the machine is, and nothing of what is tested.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

StartServer = Callable[..., ServerProcess]
Connect = Callable[..., Awaitable[Wire]]


def _starter(stack: ExitStack, folders: pytest.TempPathFactory) -> StartServer:
    numbers = itertools.count()

    def start(*arguments: str, ready: bool = True) -> ServerProcess:
        folder = folders.mktemp(f"server-{next(numbers)}")
        return stack.enter_context(running_server(folder, server_arguments(arguments), ready=ready))

    return start


@pytest.fixture
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Starts servers with arguments of one's own; each must end with 0 and without an error."""
    with ExitStack() as stack:
        yield _starter(stack, tmp_path_factory)


@pytest.fixture(scope="module")
def start_module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """The same for servers that all tests of a module share."""
    with ExitStack() as stack:
        yield _starter(stack, tmp_path_factory)


@pytest.fixture(scope="module")
def server(start_module_server: StartServer) -> ServerProcess:
    """A server with synthetic models and no narrow limits, shared by a module's tests.

    ``fast`` (the default) makes 200 tokens a second, ``flat`` as many as it can, ``slow`` four.
    """
    return start_module_server(
        "--model",
        "fast=synthetic:?tps=200&ttft_ms=0",
        "--model",
        "flat=synthetic:?tps=0&ttft_ms=0",
        "--model",
        "slow=synthetic:?tps=4&ttft_ms=0",
        "--set",
        "limits.max_concurrent_streams=1000",
    )


@pytest.fixture
async def connect(server: ServerProcess) -> AsyncIterator[Connect]:
    """Connects to the shared server, or to ``to``; all connections are closed in the end."""
    async with AsyncExitStack() as stack:

        async def connect_to(*, to: ServerProcess | None = None, **options: Any) -> Wire:
            wire = await open_wire(f"{(to or server).ws_url}/ws", **options)
            stack.push_async_callback(_close, wire)
            return wire

        yield connect_to


async def _close(wire: Wire) -> None:
    await wire.socket.close()
    wire._check()


@pytest.fixture
async def wire(connect: Connect) -> Wire:
    """One connection to the shared server, with JSON frames."""
    return await connect()
