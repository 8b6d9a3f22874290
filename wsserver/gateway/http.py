"""What the port answers to plain HTTP: the page, health, metrics, the protocol's documents.

GET and HEAD only, whole bodies only: that is what the WebSocket library's handshake hook can
carry. An HTTP API, should one come, is a listener of its own.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

from wsserver.gateway.services import Services

SECURITY_HEADERS = {
    # The page's styles are inline in part; scripts never are, so that model output which slips
    # through the sanitizer still can't run.
    "Content-Security-Policy": (
        "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: https:; "
        "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

YEAR = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A whole HTTP response."""

    status: HTTPStatus
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = field(default_factory=dict)


RenderMetrics = Callable[[], tuple[bytes, str]]


class HttpPages:
    """Answers requests that are no WebSocket upgrade.

    Args:
        services: For health and readiness.
        render_metrics: Gives the metrics' text and its content type.
    """

    def __init__(self, services: Services, render_metrics: RenderMetrics) -> None:
        self._services = services
        self._render_metrics = render_metrics
        self._asyncapi = files("wsserver_protocol").joinpath("asyncapi.json")

    def answer(self, method: str, target: str) -> HttpReply:
        """The response to a request; ``target`` as in the request line."""
        if method not in ("GET", "HEAD"):
            return HttpReply(
                HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n", headers={"Allow": "GET, HEAD"}
            )
        path = unquote(target.partition("?")[0])
        match path:
            case "/":
                return self._page("index.html")
            case "/healthz":
                return HttpReply(HTTPStatus.OK, b"ok\n")
            case "/readyz":
                return self._ready()
            case "/metrics":
                body, content_type = self._render_metrics()
                return HttpReply(HTTPStatus.OK, body, content_type)
            case "/asyncapi.json":
                return HttpReply(HTTPStatus.OK, self._asyncapi.read_bytes(), "application/json")
            case "/ws":
                return HttpReply(
                    HTTPStatus.UPGRADE_REQUIRED,
                    b"This is a WebSocket address.\n",
                    headers={"Upgrade": "websocket"},
                )
        if path.startswith(("/assets/", "/apps/")) or path == "/favicon.svg":
            return self._page(path.removeprefix("/"))
        return HttpReply(HTTPStatus.NOT_FOUND, b"Not found.\n")

    def _ready(self) -> HttpReply:
        if self._services.drain.is_on:
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")
        if not self._services.is_up():
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, b"the shared store is away\n")
        models = self._services.models.all()
        if any(model.is_ready for model in models):
            return HttpReply(HTTPStatus.OK, b"ready\n")
        states = ", ".join(f"{model.id} {model.status.value}" for model in models)
        body = f"no model that answers: {states or 'none known'}\n"
        return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, body.encode())

    def _page(self, name: str) -> HttpReply:
        folder = self._services.policy.page
        if folder is None:
            return HttpReply(HTTPStatus.NOT_FOUND, b"This server has no page.\n")
        if name.endswith("/"):
            name += "index.html"
        try:
            path = (folder / name).resolve()
            is_there = path.is_relative_to(folder.resolve()) and path.is_file()
        except (OSError, ValueError):  # a name too long, a NUL: nothing of that name is there
            is_there = False
        if not is_there:
            return HttpReply(HTTPStatus.NOT_FOUND, b"Not found.\n")
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        if kind.startswith("text/") or kind == "application/javascript":
            kind += "; charset=utf-8"
        # Names of built assets hold a hash of their content, the page's own does not.
        caching = YEAR if name.startswith("assets/") else "no-cache"
        return HttpReply(
            HTTPStatus.OK,
            Path(path).read_bytes(),
            kind,
            {**SECURITY_HEADERS, "Cache-Control": caching},
        )
