"""The way in: `connect` and what it takes."""

from __future__ import annotations

import ssl as tls
from collections.abc import Awaitable, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Literal

from wsserver_client.backoff import Backoff
from wsserver_client.client import Client
from wsserver_client.handshake import Credentials
from wsserver_client.link import LinkSettings
from wsserver_client.status import StatusListener
from wsserver_protocol.codec import Encoding

Token = str | Callable[[], Awaitable[str]]


class Connecting:
    """What `connect` gives: ``async with`` it, or ``await`` it and close the client yourself."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._client.open().__await__()

    async def __aenter__(self) -> Client:
        return await self._client.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.close()


def connect(
    url: str = "ws://127.0.0.1:8080",
    *,
    api_key: str | None = None,
    token: Token | None = None,
    user_id: str | None = None,
    name: str | None = None,
    encoding: Literal["json", "msgpack"] = "json",
    reconnect: bool = True,
    request_timeout: float = 30.0,
    open_timeout: float = 10.0,
    give_up_after: float | None = 300.0,
    headers: Mapping[str, str] | None = None,
    ssl: tls.SSLContext | None = None,
    proxy: str | Literal[True] | None = True,
    on_status: StatusListener | None = None,
    backoff: Backoff | None = None,
) -> Connecting:
    """Connect to a server: ``async with connect() as client: …``. Call it where a loop runs.

    Args:
        url: ``ws://`` or ``wss://`` address.
        api_key: A key that the server's configuration knows.
        token: A signed token, or a coroutine function that gets one; it is asked on every
            connection, so that an expired one is renewed.
        user_id: Who this is; counts only where the server asks for no proof.
        name: Name to show to others.
        encoding: How frames are written.
        reconnect: Come back after a loss, with jitter, and go on with what ran: streams to the
            byte, rooms from the last entry. Never after a normal close or a refusal.
        request_timeout: Seconds that a request with one reply may take.
        open_timeout: Seconds for the handshake.
        give_up_after: Seconds to try to come back; None for ever.
        headers: Further headers of the handshake.
        ssl: TLS settings for ``wss://``.
        proxy: A proxy's address, True for the environment's, None for none.
        on_status: Called with every change of the connection.
        backoff: Where the delays come from, for tests.
    """
    settings = LinkSettings(
        url=url,
        encoding=Encoding.MSGPACK if encoding == "msgpack" else Encoding.JSON,
        credentials=Credentials(api_key=api_key, token=token, user_id=user_id, name=name),
        headers=dict(headers or {}),
        reconnect=reconnect,
        open_timeout=open_timeout,
        give_up_after=give_up_after,
        ssl=ssl,
        proxy=proxy,
    )
    return Connecting(
        Client(settings, request_timeout=request_timeout, on_status=on_status, backoff=backoff)
    )
