"""Where a Redis listens, and what it wants to hear first, as a URL says it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit

PORT = 6379

_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


@dataclass(frozen=True)
class Address:
    """One Redis. ``path`` is a Unix socket's, and goes before host and port."""

    host: str = "localhost"
    port: int = PORT
    path: str | None = None
    username: str | None = None
    password: str | None = None
    database: int = 0
    tls: tuple[tuple[str, str], ...] | None = None  # None: plain; else the options of the URL

    @classmethod
    def parse(cls, url: str) -> Address:
        """An address from ``redis://``, ``rediss://`` or ``unix://``.

        User name, password and database stand at their usual places or in the query
        (``?username=…&password=…&db=…``). For TLS the query may name ``ssl_ca_certs``,
        ``ssl_certfile``, ``ssl_keyfile`` and ``ssl_cert_reqs`` (none, optional, required).

        Raises:
            ValueError: If it is none of these, or its database is no number.
        """
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError("expected a redis://, rediss:// or unix:// address")
        is_unix = parts.scheme == "unix"
        database = query.get("db") or ("" if is_unix else parts.path.strip("/")) or "0"
        if not database.isdecimal():
            raise ValueError(f"database {database!r} is no number")
        username = parts.username or query.get("username")
        password = parts.password or query.get("password")
        options = tuple(sorted((n, v) for n, v in query.items() if n.startswith("ssl_")))
        return cls(
            host=parts.hostname or "localhost",
            port=parts.port or PORT,
            path=unquote(parts.path) if is_unix else None,
            username=unquote(username) if username else None,
            password=unquote(password) if password else None,
            database=int(database),
            tls=options if parts.scheme == "rediss" else None,
        )

    def at(self, host: str, port: int) -> Address:
        """The same for another node of the cluster."""
        return replace(self, host=host, port=port)

    def tls_context(self) -> ssl.SSLContext | None:
        """How to encrypt, None for not at all.

        Raises:
            OSError: If a certificate can't be read.
        """
        if self.tls is None:
            return None
        options = dict(self.tls)
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        context.check_hostname = options.get("ssl_cert_reqs", "required") == "required"
        context.verify_mode = _VERIFY[options.get("ssl_cert_reqs", "required")]
        if "ssl_certfile" in options:
            context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
        return context

    def greeting(self) -> list[tuple[str | int, ...]]:
        """The first commands on a connection; the last one asks for a sign of life."""
        commands: list[tuple[str | int, ...]] = []
        if self.password is not None:
            names = [self.username] if self.username is not None else []
            commands.append(("AUTH", *names, self.password))
        if self.database:
            commands.append(("SELECT", self.database))
        commands.append(("PING",))
        return commands
