"""A model's text is a stranger's: whatever it says, the page shows it and does nothing else."""

from __future__ import annotations

import json
import mimetypes
from importlib.resources import files
from pathlib import Path
from typing import Any

from playwright.async_api import expect
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from tests.browser.conftest import OpenPage

ATTACKS = """<script>window.harmed = 1</script><img src=x onerror="window.harmed = 2">

[click me](javascript:window.harmed=3) ![pixel](https://example.invalid/pixel.png)

<svg onload="window.harmed = 4"></svg> <iframe srcdoc="<script>parent.harmed = 5</script>"></iframe>

<div style="position:fixed;inset:0;background:red" onclick="window.harmed = 6">cover</div>

```html
<script>window.harmed = 7</script>
```
"""
CONNECTED: dict[str, Any] = {
    "type": "connected",
    "clientId": "c",
    "resumeToken": "t",
    "protocolVersion": 1,
    "serverTime": "2026-01-01T00:00:00Z",
    "authRequired": False,
    "heartbeatInterval": 20_000,
    "capabilities": {"streaming": True, "sessions": False, "resume": False},
    "limits": {"maxMessageBytes": 1_048_576},
}


def page_file(_: ServerConnection, request: Request) -> Response | None:
    """Serve the built page, without the security policy that would hide a hole in it."""
    if request.path == "/ws":
        return None
    page = Path(str(files("wsserver"))) / "page"
    file = page / (request.path.lstrip("/") or "index.html")
    if not file.is_file():
        return Response(404, "Not Found", Headers({"Content-Length": "0"}))
    body = file.read_bytes()
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    headers = Headers({"Content-Type": kind, "Content-Length": str(len(body))})
    return Response(200, "OK", headers, body)


async def say_attacks(connection: ServerConnection) -> None:
    """Answer every question with the attacks, a few bytes at a time."""

    async def say(**message: Any) -> None:
        await connection.send(json.dumps(message))

    await say(**CONNECTED)
    async for frame in connection:
        asked = json.loads(frame)
        request = {"requestId": asked.get("requestId")}
        match asked["type"]:
            case "models":
                await say(type="models_list", models=[], **request)
            case "authenticate":
                await say(type="authenticated", userId="u", clientId="c", scopes=[], **request)
            case "stream":
                await say(type="stream_start", streamId="s", model="m", **request)
                offset = 0
                for start in range(0, len(ATTACKS), 7):
                    piece = ATTACKS[start : start + 7]
                    offset += len(piece.encode())
                    text = {"token": piece, "offset": offset, "position": offset, "count": 1}
                    await say(type="stream_token", streamId="s", timestamp=0, **text)
                end = {"totalTokens": 9, "duration": 9, "timeToFirstToken": 1, "offset": offset}
                await say(type="stream_complete", streamId="s", finishReason="stop", **end)


async def test_a_hostile_answer_does_nothing(open_page: OpenPage) -> None:
    """Nothing of it ran, nothing was fetched for it, nothing covers the page; it is all shown."""
    async with serve(
        say_attacks,
        "127.0.0.1",
        0,
        process_request=page_file,
        subprotocols=["wsserver.v1.json"],  # type: ignore[list-item]  # the library's type is a str of its own
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        page = await open_page(f"http://127.0.0.1:{port}/")
        await page.ask("attack me")
        text = await page.ends()
        assert "<script>window.harmed = 7</script>" in text
        await page.page.get_by_text("click me", exact=True).click()
        await expect(
            page.page.locator(".markdown :is(script, img, svg[onload], iframe)")
        ).to_have_count(0)
        assert await page.page.evaluate("window.harmed") is None
        assert [url for url in page.requested if "example.invalid" in url] == []
        await page.page.get_by_test_id("open-settings").click()
        assert page.complaints == []
