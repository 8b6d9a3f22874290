"""The HTTP server that llama.cpp runs inside this process, for what its binding lacks.

Templates and tokens are to be had over HTTP only. The server listens on a Unix socket in the
child's own directory, which no other user can enter, and asks for a key that only this process
knows: by default it would be a TCP port with no key that reflects any Origin, open to every web
page on the machine. Calls block; they are made from the engine's threads, never from its loop.
"""

from __future__ import annotations

import http.client
import socket
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from wsserver.core.engine import ChatMessage
from wsserver.engines.calls import as_turns
from wsserver.engines.contract import JobRefused

_TIMEOUT_SECONDS: Final = 60.0


class _ApiError(msgspec.Struct):
    message: str = ""


class _Answer(msgspec.Struct):
    prompt: str = ""
    tokens: list[int] = []
    error: _ApiError | None = None


class _SlotSettings(msgspec.Struct):
    n_ctx: int


class _TemplateAbilities(msgspec.Struct, frozen=True):
    supports_tools: bool = False
    supports_tool_calls: bool = False


class Properties(msgspec.Struct):
    """What the server says of the loaded model."""

    default_generation_settings: _SlotSettings
    total_slots: int
    chat_template_caps: _TemplateAbilities = _TemplateAbilities()

    @property
    def knows_tools(self) -> bool:
        """Whether its template shows tools to the model and says how they are called."""
        abilities = self.chat_template_caps
        return abilities.supports_tools and abilities.supports_tool_calls


_decode_answer: Final = msgspec.json.Decoder(_Answer)
_decode_properties: Final = msgspec.json.Decoder(Properties)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class LocalApi:
    """Calls to the server at a Unix socket. May be used by several threads."""

    def __init__(self, path: str, key: str, template_options: dict[str, Any]) -> None:
        self._path = path
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Content-Type": "application/json",
            # Kept open, a connection would hold one of the server's few threads.
            "Connection": "close",
        }
        self._template_options = template_options

    def properties(self) -> Properties:
        """Of the loaded model."""
        return _decode_properties.decode(self._call("GET", "/props", None)[1])

    def apply_template(self, messages: Sequence[ChatMessage]) -> str:
        """The conversation as the model's template words it, open for an answer.

        Raises:
            JobRefused: ``invalid_parameters`` if the template refuses it.
        """
        body: dict[str, Any] = {
            "messages": as_turns(messages),
        }
        if self._template_options:
            body["chat_template_kwargs"] = self._template_options
        return self._ask("/apply-template", body).prompt

    def tokenize(self, text: str, *, is_beginning: bool, parse_control: bool) -> list[int]:
        """Tokens of ``text``.

        Args:
            is_beginning: Whether the model's begin-of-text token goes before it, if it wants one.
            parse_control: Whether texts of control tokens mean those tokens.
        """
        body = {"content": text, "add_special": is_beginning, "parse_special": parse_control}
        return self._ask("/tokenize", body).tokens

    def _ask(self, path: str, body: object) -> _Answer:
        status, content = self._call("POST", path, msgspec.json.encode(body))
        answer = _decode_answer.decode(content)
        if status != http.client.OK:
            reason = answer.error.message if answer.error else f"status {status}"
            raise JobRefused("invalid_parameters", f"the model refuses this input: {reason}")
        return answer

    def _call(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        connection = _UnixConnection(self._path)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()
