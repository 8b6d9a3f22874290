"""The HTTP client: one call, its time limits, and what went wrong in words.

Decides nothing about retries. It is the only room that knows aiohttp. The rules: a redirect is not
followed (the key would go to another host); **leaving a call closes its connection at once**, so
that the server stops, too; every exception of the library leaves as a `Fault`.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

import aiohttp
import msgspec

from wsserver.engines.openai import faults
from wsserver.engines.openai.settings import OpenAiSettings
from wsserver.engines.openai.sse import SseError, SseParser

# Servers close an idle connection after 5 s; one closed under a request would look like a fault.
_KEEP_ALIVE_SECONDS: Final = 4.0
_OK: Final = 200


class Client:
    """Calls to the servers of one model. Made and used within one event loop."""

    def __init__(self, settings: OpenAiSettings) -> None:
        self._settings = settings
        self.secrets = (settings.api_key,) if settings.api_key else ()
        headers = {"User-Agent": "wsserver", "Accept-Encoding": "identity"}
        if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            headers=headers,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=None, sock_connect=settings.connect_timeout, sock_read=None
            ),
            json_serialize=lambda body: msgspec.json.encode(body).decode(),
        )

    async def close(self) -> None:
        """End all connections."""
        await self._session.close()

    async def ask(
        self, method: str, url: str, body: dict[str, Any] | None = None, *, timeout: float
    ) -> tuple[int, bytes, str | None]:
        """A short call: status, body and the Retry-After header.

        Raises:
            Fault: If no answer came.
        """
        try:
            async with (
                asyncio.timeout(timeout),
                self._session.request(method, url, json=body, allow_redirects=False) as response,
            ):
                content = await response.read()
                return response.status, content, response.headers.get("Retry-After")
        except TimeoutError as error:
            raise faults.unreachable(f"no answer within {timeout:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise faults.unreachable(reason_of(error)) from error

    @asynccontextmanager
    async def stream(self, url: str, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[str]]:
        """A call that answers with events. Leaving it closes the connection.

        Yields:
            The data of the events, one by one. It raises `Fault` when the stream breaks.

        Raises:
            Fault: If the server is out of reach or answers with another status.
        """
        response: aiohttp.ClientResponse | None = None
        try:
            try:
                response = await self._session.post(url, json=body, allow_redirects=False)
                if response.status != _OK:
                    content = await response.read()
                    retry_after = response.headers.get("Retry-After")
                    raise faults.of_status(response.status, content, retry_after, self.secrets)
            except TimeoutError as error:
                # aiohttp's own only: those of `asyncio.timeout` arrive as a cancellation.
                raise faults.unreachable("no connection in time") from error
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise faults.unreachable(reason_of(error)) from error
            if response.content_type != "text/event-stream":
                raise faults.broken(f"no event stream but {response.content_type}")
            async with aclosing(_events(response)) as events:
                yield events
        finally:
            if response is not None:
                response.close()


async def _events(response: aiohttp.ClientResponse) -> AsyncGenerator[str, None]:
    parser = SseParser()
    try:
        async for data in response.content.iter_any():
            for event in parser.feed(data):
                yield event
    except SseError as error:
        raise faults.broken(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        raise faults.broken(reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Why a connection failed, without an address."""
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    if isinstance(cause, ssl.SSLError):
        return f"TLS failed: {cause.reason or type(cause).__name__}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(cause, OSError) and cause.errno:
        # The text would hold the address; that of the number does not.
        return os.strerror(cause.errno).lower()
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    return f"the connection failed ({type(error).__name__})"
