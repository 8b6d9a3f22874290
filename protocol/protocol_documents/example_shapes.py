"""Which fields an example has: what excludes what, what a minimal one needs, and further ones."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

LEFT_OUT: dict[str, set[str]] = {
    "BatchError": {"batchId", "retryAfter"},
    "BatchItem": {"error", "code"},
    "Continue": {"sessionId"},
    "CountTokens": {"text"},
    "Connected": {"requestId"},
    "ErrorEvent": {"details", "retryAfter", "offset"},
    "Generate": {"messages", "raw", "regenerate"},
    "GenerationError": {"retryAfter"},
    "GenerationOptions": {"grammar", "regex"},
    "ModelLoadFailed": {"details", "retryAfter"},
    "RoomPresence": {"member"},
    "RoomUserJoined": {"requestId"},
    "ServerDraining": {"requestId"},
    "SessionExport": {"text"},
    "Stream": {"messages", "raw", "regenerate", "roomId"},
    "StreamError": {"details", "retryAfter", "sessionId", "messageId"},
    "StreamSnapshot": {"queuePosition"},
}
"""Fields that a full example cannot have beside the others; `MORE` shows them."""

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
