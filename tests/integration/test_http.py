"""Plain HTTP on the port: the page, health, metrics, documents; and who may upgrade."""

from __future__ import annotations

import asyncio
import json
import re
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import Connect, StartServer
from tests.support.server import ServerProcess
from tests.support.waiting import eventually
from tests.support.wire import Wire, open_wire, wired


async def raw(server: ServerProcess, request: bytes) -> bytes:
    """What the port answers to these bytes, until it closes."""
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


def status_of(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/asyncapi.json", "/"])
@pytest.mark.parametrize("query", ["", "?x=1", "?"])
def test_get_and_head(server: ServerProcess, path: str, query: str) -> None:
    """Each address answers GET with a body and HEAD with the same headers and none."""
    status, headers, body = server.get(path + query)
    assert status == 200
    assert body
    assert int(headers["content-length"]) == len(body)
    head_status, head_headers, head_body = server.get(path + query, method="HEAD")
    assert (head_status, head_body) == (200, b"")
    assert head_headers["content-type"] == headers["content-type"]


def test_what_the_addresses_say(server: ServerProcess) -> None:
    """The documents are what they claim to be."""
    assert server.get("/healthz")[2] == b"ok\n"
    assert json.loads(server.get("/asyncapi.json")[2])["asyncapi"].startswith("3.")
    assert server.get("/asyncapi.json")[1]["content-type"] == "application/json"
    assert b"wsserver_" in server.get("/metrics")[2]


def test_the_page_is_served_safely(server: ServerProcess) -> None:
    """The chat page comes with a policy that lets no foreign script run."""
    status, headers, body = server.get("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    policy = headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy or "unsafe" not in policy.split("script-src")[1]
    assert headers["x-content-type-options"] == "nosniff"
    assert b"<!doctype html>" in body.lower()


def test_the_rooms_page_is_served_safely(server: ServerProcess) -> None:
    """Below `/apps/rooms/`, as safely as the chat page; its assets are cached for good."""
    status, headers, body = server.get("/apps/rooms/?room=lobby&name=Ada")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert headers["cache-control"] == "no-cache"
    assert headers["content-security-policy"] == server.get("/")[1]["content-security-policy"]
    (script,) = re.findall(rb'src="\./(assets/index-[^"]+\.js)"', body)
    status, headers, _ = server.get(f"/apps/rooms/{script.decode()}")
    assert status == 200
    assert "immutable" in headers["cache-control"]


@pytest.mark.parametrize("query", ["", "?room=lobby&name=Ada%20L", "?x=%0d%0aSet-Cookie:y"])
async def test_an_app_without_its_last_slash(server: ServerProcess, query: str) -> None:
    """It is sent to where its relative addresses are right, with what it was asked."""
    request = f"GET /apps/rooms{query} HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = await raw(server, request.encode())
    assert status_of(answer) == 308
    location = re.findall(rb"(?mi)^location: (.*)\r$", answer)
    assert location == [b"rooms/" + query.encode()]


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/assets/nothing.js",
        "/assets/",
        "/assets/../index.html",
        "/assets/..%2findex.html",
        "/assets/../../app.py",
        "/assets/..%2f..%2fapp.py",
        "/assets/%2e%2e/%2e%2e/app.py",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/assets/%00",
        "/assets/x%00.js",
        "/apps/",
        "/apps/none/",
        "/apps/none",
        "/apps/rooms/../../../app.py",
        "/apps/%2e%2e",
        "/apps/rooms/assets/",
        "/apps/../../app.py",
        "/../../../../etc/passwd",
        "/assets/" + "x" * 3000,
        "/assets/%ff%fe",
        "/favicon.svg/..",
        "/healthz/",
        "//",
    ],
)
async def test_other_paths_are_not_found(server: ServerProcess, path: str) -> None:
    """Nothing outside of the page's folder is given out, and no path makes the server fail."""
    answer = await raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(answer) in (200, 404), answer[:200]
    if status_of(answer) == 200:
        assert b"text/html" in head
    assert b"import " not in body
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
async def test_other_methods_are_not_allowed(server: ServerProcess, method: str) -> None:
    """Anything but GET and HEAD is refused with a client's error."""
    answer = await raw(server, f"{method} /healthz HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status_of(answer) in (400, 405)


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: a\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 7\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_bad_handshakes_are_answered_and_not_logged(
    server: ServerProcess, request_head: bytes
) -> None:
    """Malformed HTTP gets a client's error or a hang-up; the server's log stays clean."""
    before = len(server.faults())
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(request_head)
    writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer == b"" or 200 <= status_of(answer) < 500
    assert b"Traceback" not in answer
    assert server.get("/healthz")[0] == 200
    assert server.faults()[before:] == []


async def test_an_upgrade_elsewhere_is_not_found(server: ServerProcess) -> None:
    """Only `/` and `/ws` are WebSocket addresses."""
    with pytest.raises(InvalidStatus) as refused:
        await open_wire(server.ws_url + "/healthz")
    assert refused.value.response.status_code == 404


def test_a_plain_get_of_the_websocket_address(server: ServerProcess) -> None:
    """A browser that opens /ws is told what it is."""
    status, headers, _ = server.get("/ws")
    assert status == 426
    assert headers["upgrade"] == "websocket"


ALLOWED = ["same", "http://localhost:3000", "http://127.0.0.1", "https://[::1]:8443"]
FORBIDDEN = [
    "https://evil.example",
    "null",
    "file://",
    "http://localhost.evil.example",
    "http://evil.example/127.0.0.1",
    "http://[::1",
    "chrome-extension://abc",
    "",
]


@pytest.mark.parametrize("origin", ALLOWED)
async def test_allowed_origins(server: ServerProcess, origin: str) -> None:
    """Pages of the server itself and of this machine may connect."""
    sent = server.url if origin == "same" else origin
    async with wired(server.ws_url, headers={"Origin": sent}) as wire:
        assert (await wire.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize("origin", FORBIDDEN)
async def test_forbidden_origins(server: ServerProcess, origin: str) -> None:
    """Any other page is accepted and closed with 4503, which it can see, and gets no frame."""
    wire = await open_wire(server.ws_url, headers={"Origin": origin}, greeted=False)
    assert await wire.closed() == 4503
    assert wire.frames == []


async def test_configured_origins(start_server: StartServer) -> None:
    """The operator may allow further ones."""
    server = start_server("--set", 'server.origins=["https://chat.example.org"]')
    async with wired(server.ws_url, headers={"Origin": "https://chat.example.org"}) as wire:
        assert (await wire.ask("ping"))["type"] == "pong"
    wire = await open_wire(
        server.ws_url, headers={"Origin": "https://other.example.org"}, greeted=False
    )
    assert await wire.closed() == 4503


@pytest.mark.parametrize("name", ["Origin", "Host", "X-Forwarded-For"])
async def test_a_header_sent_twice(server: ServerProcess, name: str) -> None:
    """A doubled header is a client's error at most, never a fault of the server."""
    before = len(server.faults())
    head = (
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"{name}: http://127.0.0.1\r\n{name}: http://127.0.0.1\r\n\r\n"
    )
    address = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head.encode())
    status = status_of(await reader.readuntil(b"\r\n\r\n"))
    assert status in (101, 400)
    if status == 101:
        async with asyncio.timeout(10):
            frame = await reader.read(100)
        assert frame[:1] in (b"\x81", b"\x88")
        assert frame[:1] == b"\x81" or int.from_bytes(frame[2:4]) == 4503
    writer.close()
    assert server.get("/healthz")[0] == 200
    assert server.faults()[before:] == []


async def test_a_full_server_refuses(start_server: StartServer, connect: Connect) -> None:
    """Past `max_connections` an upgrade is HTTP 503 with Retry-After, until a place frees."""
    small = start_server("--set", "server.max_connections=2")
    first = await connect(to=small)
    await connect(to=small)
    with pytest.raises(InvalidStatus) as refused:
        await open_wire(small.ws_url)
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["Retry-After"]) >= 1
    assert small.get("/healthz")[0] == 200
    await first.close()
    await eventually(lambda: b"wsserver_connections_open 1.0" in small.get("/metrics")[2])
    await connect(to=small)


async def test_the_pace_of_new_connections(start_server: StartServer, connect: Connect) -> None:
    """Past `connections_per_second` an upgrade is HTTP 503, too."""
    small = start_server("--set", "server.connections_per_second=1")
    await connect(to=small)
    with pytest.raises(InvalidStatus) as refused:
        await open_wire(small.ws_url)
    assert refused.value.response.status_code == 503


async def test_readiness_without_a_model(start_server: StartServer, connect: Connect) -> None:
    """`/readyz` is 503 while no model answers, and 200 from the moment that one does."""
    server = start_server("--model", "synthetic:?load_ms=60000", ready=False)
    assert server.get("/readyz")[0] == 503
    assert server.get("/healthz")[0] == 200
    wire: Wire = await connect(to=server)
    await wire.ask_until("load_model", source="synthetic:", id="second")
    assert server.get("/readyz")[0] == 200
    await wire.ask("unload_model", id="second")
    assert server.get("/readyz")[0] == 503


async def test_readiness_names_what_has_failed(start_server: StartServer, connect: Connect) -> None:
    """Beside a model that answers, a failed one stands in `/readyz` with its reason, without a
    path of the host; loaded anew it stands there no more."""
    server = start_server("--model", "synthetic:")
    wire = await connect(to=server)
    error = await wire.ask_until("load_model", source="synthetic:?no=1", id="broken")
    status, _, body = server.get("/readyz")
    assert (status, body.decode()) == (200, f"ready\nfailed: broken: {error['error']}\n")
    (broken,) = [m for m in (await wire.ask("models"))["models"] if m["id"] == "broken"]
    assert broken["reason"] == error["error"]
    await wire.ask_until("load_model", source="synthetic:", id="broken")
    assert server.get("/readyz")[2] == b"ready\n"
    assert all("reason" not in model for model in (await wire.ask("models"))["models"])
