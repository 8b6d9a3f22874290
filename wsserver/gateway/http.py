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
        if path.startswith("/apps/") and self._is_app(path.removeprefix("/apps/")):
            return _with_slash(target)
        if path.startswith(("/assets/", "/apps/")) or path == "/favicon.svg":
            return self._page(path.removeprefix("/"))
        return HttpReply(HTTPStatus.NOT_FOUND, b"Not found.\n")

    def _ready(self) -> HttpReply:
        if self._services.drain.is_on:
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, b"draining\n")
        if not self._services.is_up():
            return HttpReply(HTTPStatus.SERVICE_UNAVAILABLE, b"the shared store is away\n")
        models = self._services.models.all()
        is_ready = any(model.is_ready for model in models)
        states = ", ".join(f"{model.id} {model.status.value}" for model in models)
        first = "ready" if is_ready else f"no model that answers: {states or 'none known'}"
        failed = [f"failed: {m.id}: {m.reason}" for m in models if m.reason is not None]
        body = "\n".join((first, *failed)) + "\n"
        status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
        return HttpReply(status, body.encode())

    def _is_app(self, name: str) -> bool:
        folder = self._services.policy.page
        apps = folder / "apps" if folder is not None else None
        return apps is not None and apps.is_dir() and name in {one.name for one in apps.iterdir()}

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
        # Names of built assets hold a hash of their content, those of the pages do not.
        caching = YEAR if path.parent.name == "assets" else "no-cache"
        return HttpReply(
            HTTPStatus.OK,
            Path(path).read_bytes(),
            kind,
            {**SECURITY_HEADERS, "Cache-Control": caching},
        )


def _with_slash(target: str) -> HttpReply:
    """Sends on who left an app's last slash away: the app's own addresses are relative to it."""
    path, question, query = target.partition("?")
    # Relative, so that it holds behind a proxy that serves all this below a path.
    location = f"{path.rpartition('/')[2]}/{question}{query}"
    return HttpReply(HTTPStatus.PERMANENT_REDIRECT, headers={"Location": location})
