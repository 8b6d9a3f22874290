"""The settings themselves: one small frozen struct per section, passed down in pieces.

This room decides names, units, bounds and defaults, and nothing else: it reads no file and no
environment, and imports nothing of the server, so that every other room may import it. A part of
the server is given the section that it needs, never the whole `Config`.

The description of each key is part of its type (`msgspec.Meta`): the loader's messages, the
printed reference and the committed ``docs/wsserver.toml`` are all made from it. ``0`` means "none"
or "no limit" only where the description says so.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from wsserver.config.fields import PATH, SECRET, URL, Count, Positive, Seconds, Section
from wsserver.config.model_sections import Models


class Server(Section, frozen=True):
    """The port, who may come in, and when a connection counts as dead."""

    host: Annotated[
        str,
        Meta(
            min_length=1,
            description="Address to listen on. 127.0.0.1 is this machine only; before "
            "another one, read the README's part on opening the server.",
        ),
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port; 0 takes a free one.")] = 8080
    backlog: Annotated[
        int, Meta(ge=1, le=65535, description="Connections the kernel holds before we accept.")
    ] = 2048
    max_connections: Annotated[
        Positive, Meta(description="Open connections; past it an upgrade gets HTTP 503.")
    ] = 10_000
    connections_per_second: Annotated[
        Count, Meta(description="New connections a second in all; past it HTTP 503. 0: no limit.")
    ] = 0
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Origins allowed beside the same origin, none, and loopback, as in "
            '"https://chat.example.org"; "*" allows all.'
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses or networks (10.0.0.0/8) of proxies whose X-Forwarded-For and "
            "X-Forwarded-Proto are believed."
        ),
    ] = ()
    drain_seconds: Annotated[
        Seconds, Meta(description="Time running answers have to end after SIGTERM.")
    ] = 10.0
    ping_interval_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="Time between WebSocket pings.")
    ] = 20.0
    ping_timeout_seconds: Annotated[
        float, Meta(ge=1, le=3600, description="A peer without a pong for so long is dead (4002).")
    ] = 10.0
    send_timeout_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="A send blocked for so long closes the connection (4001)."),
    ] = 15.0
    processes: Annotated[
        int, Meta(ge=1, le=256, description="Gateway processes; more than one needs redis.url.")
    ] = 1


class Limits(Section, frozen=True):
    """What one caller may ask for. All are answered with an error, none by waiting."""

    requests_per_minute: Annotated[
        Count,
        Meta(
            description="generate, stream, continue and load_model count 1, a batch one per "
            "prompt; a rested caller may use all at once. 0: no limit."
        ),
    ] = 0
    tokens_per_minute: Annotated[
        Count, Meta(description="Tokens of prompts and answers together. 0: no limit.")
    ] = 0
    max_concurrent_streams: Annotated[
        Positive, Meta(description="Answers running or waiting at once, per identity.")
    ] = 64
    max_message_bytes: Annotated[
        int,
        Meta(ge=1024, le=67_108_864, description="Size of a message from a client; past it 1009."),
    ] = 1_048_576
    max_batch: Annotated[int, Meta(ge=1, le=1000, description="Prompts in one batch.")] = 20
    frames_per_second: Annotated[
        Positive, Meta(description="Frames of any type a second, per connection.")
    ] = 50
    frames_burst: Annotated[
        Positive, Meta(description="Frames that a rested connection may send at once.")
    ] = 200
    queue_per_model: Annotated[
        Count,
        Meta(description="Requests that wait for one model; past it overloaded. 0: none wait."),
    ] = 1000
    queue_seconds: Annotated[
        Seconds,
        Meta(description="Time a request waits for a slot; past it overloaded. 0: no bound."),
    ] = 600.0


class Resume(Section, frozen=True):
    """How long the server waits for a client that has dropped."""

    window_seconds: Annotated[
        Seconds,
        Meta(description="Time a dropped client's place, answers and rooms are kept. 0: none."),
    ] = 120.0


class Streams(Section, frozen=True):
    """How answers are sent and kept."""

    retention_seconds: Annotated[
        Seconds, Meta(description="Time an ended answer can still be watched from its beginning.")
    ] = 600.0
    token_interval_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=1000,
            description="Text that comes within this many milliseconds goes out as one piece, the "
            "first token at once. 0: a frame a token while the reader keeps up.",
        ),
    ] = 25


class Idempotency(Section, frozen=True):
    """How long a requestId is remembered."""

    retention_seconds: Annotated[
        Seconds,
        Meta(description="Time after its end in which a repeated request is not run again."),
    ] = 600.0


class Cache(Section, frozen=True):
    """Answers at temperature 0 or with a seed that are given again without an engine."""

    entries: Annotated[Count, Meta(description="Most answers kept. 0: none.")] = 1000
    bytes: Annotated[Count, Meta(description="Most bytes that they take together.")] = 67_108_864
    ttl_seconds: Annotated[
        Seconds, Meta(description="Time for which an answer is given again.")
    ] = 3600.0


class Data(Section, frozen=True):
    """Where the server keeps what must outlive it."""

    dir: Annotated[
        str,
        Meta(
            extra=PATH,
            description="Folder of the database. Empty: $XDG_DATA_HOME/wsserver, else "
            "~/.local/share/wsserver.",
        ),
    ] = ""


class Redis(Section, frozen=True):
    """The shared store for many processes and hosts."""

    url: Annotated[
        str, Meta(extra=URL, description="redis:// or rediss:// address. Empty: no Redis.")
    ] = ""


class Sessions(Section, frozen=True):
    """Histories that the server keeps."""

    redis_url: Annotated[
        str,
        Meta(
            extra=URL,
            description="redis://, rediss:// or unix:// address of the store. Empty: SQLite, in "
            "data.dir.",
        ),
    ] = ""
    ttl_seconds: Annotated[
        Seconds,
        Meta(description="On SQLite a session unused for so long is deleted. 0: never."),
    ] = 0.0
    redis_ttl_seconds: Annotated[
        Seconds,
        Meta(description="On Redis a session unused for so long is deleted. 0: never."),
    ] = 2_592_000.0
    max_per_user: Annotated[
        Count, Meta(description="Sessions of one user; past it no more are made. 0: no limit.")
    ] = 1000
    max_bytes: Annotated[
        Count,
        Meta(
            description="Text of one session in UTF-8 bytes; past it no turn is added. 0: no limit."
        ),
    ] = 16_777_216
    max_bytes_per_user: Annotated[
        Count,
        Meta(description="Text of all sessions of one user, likewise. 0: no limit."),
    ] = 268_435_456


class Rooms(Section, frozen=True):
    """Rooms and their logs."""

    history_entries: Annotated[
        Positive, Meta(description="Newest entries of a room's log that are kept.")
    ] = 1000
    history_seconds: Annotated[
        Seconds, Meta(description="Entries older than this are dropped. 0: not for their age.")
    ] = 0.0
    keep_seconds: Annotated[
        Seconds,
        Meta(
            description="Time a room without members keeps its log, roles and settings. "
            "0: it is forgotten with its last member."
        ),
    ] = 0.0
    invite_seconds: Annotated[
        Seconds, Meta(description="Time an invite is good, unless a shorter one is asked for.")
    ] = 604_800.0
    max_rooms: Annotated[
        Positive,
        Meta(description="Rooms in all; one too many ends the one that is empty longest."),
    ] = 10_000
    max_rooms_per_client: Annotated[Positive, Meta(description="Rooms one client may be in.")] = 100


class Auth(Section, frozen=True):
    """Who must prove who they are."""

    enabled: Annotated[
        bool, Meta(description="true: a client must authenticate before it asks for anything.")
    ] = False
    api_keys: Annotated[
        tuple[str, ...], Meta(extra=SECRET, description="Keys that are accepted as a proof.")
    ] = ()


class Log(Section, frozen=True):
    """What is written to standard error. Prompts and answers are never logged."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least level written.")
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"],
        Meta(description="text for people, json for collectors; auto: text on a terminal."),
    ] = "auto"


class Config(Section, frozen=True):
    """All sections. Read by the composition root only, which hands each part its piece."""

    server: Server = Server()
    limits: Limits = Limits()
    resume: Resume = Resume()
    streams: Streams = Streams()
    idempotency: Idempotency = Idempotency()
    cache: Cache = Cache()
    models: Models = Models()
    data: Data = Data()
    redis: Redis = Redis()
    sessions: Sessions = Sessions()
    rooms: Rooms = Rooms()
    auth: Auth = Auth()
    log: Log = Log()
