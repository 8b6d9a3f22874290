"""Which fields an example has: what excludes what, what a minimal one needs, and further ones."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

LEFT_OUT: dict[str, set[str]] = {
    "BatchError": {"batchId", "retryAfter"},
    "BatchItem": {"error", "code"},
    "ChatMessage": {"toolCalls", "toolCallId"},
    "Continue": {"sessionId"},
    "CountTokens": {"text"},
    "Connected": {"requestId"},
    "ErrorEvent": {"details", "retryAfter", "offset"},
    "Generate": {"messages", "raw", "regenerate"},
    "GenerationError": {"retryAfter"},
    "GenerationOptions": {"grammar", "regex", "tools", "toolChoice"},
    "GenerationResult": {"toolCalls"},
    "ModelLoadFailed": {"details", "retryAfter"},
    "RoomPresence": {"member"},
    "RoomUserJoined": {"requestId"},
    "ServerDraining": {"requestId"},
    "SessionExport": {"text"},
    "Stream": {"messages", "raw", "regenerate", "roomId"},
    "StreamComplete": {"toolCalls"},
    "StreamError": {"details", "retryAfter", "sessionId", "messageId"},
    "StreamSnapshot": {"queuePosition"},
}
"""Fields that a full example cannot have beside the others; `MORE` shows them."""

_TOOL: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city_name": {"type": "string"}},
            "required": ["city_name"],
        },
    },
}
_CALL: Json = {
    "id": "call_1",
    "name": "get_weather",
    "arguments": '{"city_name": "Paris"}',
}
_USAGE: Json = {
    "promptTokens": 160,
    "completionTokens": 22,
    "totalTokens": 182,
    "cachedTokens": 0,
}

MORE: dict[str, dict[str, Json]] = {
    "Batch": {
        "limited": {"prompts": ["a"], "options": {"grammar": "root ::= [a-z]+", "maxTokens": 5}}
    },
    "BatchError": {
        "limited": {
            "requestId": "r-1",
            "code": "rate_limited",
            "error": "Too many requests.",
            "retryable": True,
            "retryAfter": 1500,
        },
        "failed": {
            "requestId": "r-1",
            "code": "internal_error",
            "error": "The server failed.",
            "retryable": True,
            "batchId": "b_41",
        },
    },
    "ErrorEvent": {
        "details": {
            "requestId": "r-1",
            "code": "invalid_parameters",
            "error": "streamId is required",
            "retryable": False,
            "details": [{"field": "streamId", "message": "is required"}],
        },
        "limited": {
            "code": "rate_limited",
            "error": "Too many frames.",
            "retryable": True,
            "retryAfter": 20,
        },
        "stream": {
            "requestId": "r-1",
            "code": "internal_error",
            "error": "The server failed.",
            "retryable": True,
            "streamId": "s_7",
            "offset": 12,
        },
    },
    "Generate": {
        "raw": {"prompt": "Once upon a time", "raw": True, "options": {"regex": "[a-z ]+"}},
        "regenerate": {"sessionId": "ses_7", "regenerate": "m_12"},
    },
    "GenerationComplete": {
        "tools": {
            "requestId": "r-1",
            "result": {
                "text": "",
                "tokens": 22,
                "model": "tiny",
                "latency": 812,
                "cached": False,
                "finishReason": "tool_calls",
                "usage": _USAGE,
                "toolCalls": [_CALL],
            },
        }
    },
    "GenerationError": {
        "limited": {
            "requestId": "r-1",
            "code": "rate_limited",
            "error": "Too many requests.",
            "retryable": True,
            "retryAfter": 1500,
        }
    },
    "ModelLoadFailed": {
        "details": {
            "requestId": "r-1",
            "code": "invalid_parameters",
            "error": "source is required",
            "retryable": False,
            "details": [{"field": "source", "message": "is required"}],
        },
        "limited": {
            "requestId": "r-1",
            "code": "rate_limited",
            "error": "Too many requests.",
            "retryable": True,
            "retryAfter": 1500,
        },
    },
    "RoomPresence": {
        "member": {
            "roomId": "lobby",
            "member": {
                "userId": "bob",
                "name": None,
                "role": "member",
                "state": {"typing": True},
                "clientIds": ["c_9d01", "c_b733"],
            },
        }
    },
    "Stream": {
        "messages": {
            "messages": [
                {"role": "system", "content": "Answer in one sentence."},
                {"role": "user", "content": "Say hello."},
            ]
        },
        "raw": {"prompt": "Once upon a time", "raw": True},
        "regenerate": {"sessionId": "ses_7", "regenerate": "m_12"},
        "room": {"requestId": "r-1", "prompt": "Say hello.", "roomId": "lobby"},
        "tools": {
            "messages": [
                {"role": "user", "content": "Do I need an umbrella?"},
                {"role": "assistant", "content": "", "toolCalls": [_CALL]},
                {"role": "tool", "content": "sunny", "toolCallId": "call_1"},
            ],
            "options": {"tools": [_TOOL], "toolChoice": "auto"},
        },
        "tool": {
            "prompt": "Do I need an umbrella?",
            "options": {"tools": [_TOOL], "toolChoice": {"name": "get_weather"}},
        },
    },
    "StreamComplete": {
        "tools": {
            "requestId": "r-1",
            "streamId": "s_7",
            "totalTokens": 5,
            "duration": 1420,
            "timeToFirstToken": 35,
            "finishReason": "tool_calls",
            "usage": _USAGE,
            "offset": 12,
            "toolCalls": [_CALL],
        }
    },
    "StreamError": {
        "refused": {
            "requestId": "r-1",
            "code": "invalid_parameters",
            "error": "options.maxTokens must be an integer from 1 to 1,000,000, not 0",
            "retryable": False,
            "details": [
                {
                    "field": "options.maxTokens",
                    "message": "must be an integer from 1 to 1,000,000, not 0",
                }
            ],
        },
        "limited": {
            "requestId": "r-1",
            "code": "rate_limited",
            "error": "Too many requests.",
            "retryable": True,
            "retryAfter": 1500,
        },
        "kept": {
            "requestId": "r-1",
            "code": "stream_not_found",
            "error": "No such stream.",
            "retryable": False,
            "sessionId": "ses_7",
            "messageId": "m_12",
        },
    },
    "StreamSnapshot": {
        "queued": {
            "streamId": "s_7",
            "text": "",
            "fromOffset": 0,
            "offset": 0,
            "position": 0,
            "state": "queued",
            "queuePosition": 2,
        }
    },
}
"""Further examples, by name, for the fields that exclude each other."""

NEEDED: dict[str, Json] = {
    "BatchItem": {"error": "The engine failed.", "code": "generation_failed"},
    "Continue": {"sessionId": "ses_7"},
    "CountTokens": {"text": "Say hello."},
    "Generate": {"messages": [{"role": "user", "content": "Say hello."}]},
    "RoomMessage": {"text": "Hello all"},
    "RoomPresence": {},
    "SessionExport": {"text": "# Greetings\n"},
    "StopBatch": {"requestId": "r-1"},
    "StopStream": {"requestId": "r-1"},
    "Stream": {"prompt": "Say hello."},
}
"""Fields that a minimal example must have although each of them is optional."""
