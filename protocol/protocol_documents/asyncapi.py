"""The AsyncAPI 3 document: the one channel, who sends what, what answers what, and the catalogues.

It describes the server: it *receives* the messages of clients and *sends* its own.
"""

from __future__ import annotations

from typing import Any

from protocol_documents import docstrings, examples, schema
from wsserver_protocol import PROTOCOL_VERSION
from wsserver_protocol.catalogue import CATALOGUE, CLOSE_CATALOGUE
from wsserver_protocol.events import EVENT_TYPES
from wsserver_protocol.frames import SUBPROTOCOLS
from wsserver_protocol.replies import REPLIES
from wsserver_protocol.requests import REQUEST_TYPES

Json = dict[str, Any]

DESCRIPTION = """\
A real-time session server for large language models. One WebSocket message is one map with a \
`type`. The subprotocol `wsserver.v1.json` sends text frames, `wsserver.v1.msgpack` binary ones; \
without a subprotocol it is JSON. Every reply carries the `requestId` of its request, and every \
request ends in exactly one terminal event. The readable page beside this file says the rest."""

LOCAL = {
    "host": "127.0.0.1:8080",
    "protocol": "ws",
    "description": "A server on this machine, as `wsserver serve` starts it.",
}

CHANNEL = "#/channels/connection"


def document() -> Json:
    """The whole file."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "wsserver",
            "version": f"{PROTOCOL_VERSION}.0.0",
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": LOCAL},
        "channels": {"connection": _channel()},
        "operations": {**_receive_operations(), **_send_operations()},
        "components": {
            "messages": _messages(),
            "schemas": schema.components("#/components/schemas/{name}"),
        },
        **_catalogues(),
    }


def _catalogues() -> Json:
    return {
        "x-errors": {
            code.value: {
                "meaning": info.meaning,
                "retryable": info.retryable,
                "httpStatus": info.http_status,
            }
            for code, info in CATALOGUE.items()
        },
        "x-close-codes": {
            str(int(code)): {"meaning": info.meaning, "reconnect": info.reconnect}
            for code, info in CLOSE_CATALOGUE.items()
        },
    }


def _channel() -> Json:
    names = [struct.__name__ for struct in (*REQUEST_TYPES.values(), *EVENT_TYPES.values())]
    return {
        "address": "/ws",
        "title": "connection",
        "description": "The one WebSocket connection; `/` takes upgrades, too.",
        "servers": [{"$ref": "#/servers/local"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
        "x-subprotocols": {
            name: {"frames": "text" if encoding.is_text else "binary"}
            for name, encoding in SUBPROTOCOLS.items()
        },
    }


def _receive_operations() -> Json:
    return {
        f"receive{struct.__name__}": {
            "action": "receive",
            "title": request_type,
            "summary": docstrings.summary(struct).split("\n\n")[0],
            "channel": {"$ref": CHANNEL},
            "messages": [_channel_message(struct)],
            "reply": {
                "channel": {"$ref": CHANNEL},
                "messages": [
                    _channel_message(EVENT_TYPES[event])
                    for event in (*REPLIES[request_type].before, *REPLIES[request_type].terminal)
                ],
            },
            "x-terminal": list(REPLIES[request_type].terminal),
        }
        for request_type, struct in REQUEST_TYPES.items()
    }


def _send_operations() -> Json:
    """What the server sends: the events, in one operation each, so that each has its summary."""
    return {
        f"send{struct.__name__}": {
            "action": "send",
            "title": event_type,
            "summary": docstrings.summary(struct).split("\n\n")[0],
            "channel": {"$ref": CHANNEL},
            "messages": [_channel_message(struct)],
        }
        for event_type, struct in EVENT_TYPES.items()
    }


def _messages() -> Json:
    return {
        struct.__name__: {
            "name": wire_type,
            "title": wire_type,
            "summary": docstrings.summary(struct).split("\n\n")[0],
            "payload": {"$ref": f"#/components/schemas/{struct.__name__}"},
            "examples": [
                {"name": name, "payload": example} for name, example in examples.of(struct).items()
            ],
        }
        for messages in (REQUEST_TYPES, EVENT_TYPES)
        for wire_type, struct in messages.items()
    }


def _channel_message(struct: type) -> Json:
    return {"$ref": f"{CHANNEL}/messages/{struct.__name__}"}
