"""A redis-server that speaks TLS alone and knows one user, and the authority that vouches for it.

Everything is made anew for each test with the command ``openssl``, and good for a day.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from pathlib import Path

from tests.support.redis import RedisProcess

USER, PASSWORD = "ada", "open/sesame"
"""A slash in a password has to be written as %2F in an address."""

RIGHTS = "~wsserver:* &wsserver:* +@all -@admin -@dangerous +info"
"""What docs/fleet.md says that wsserver needs."""

DEFAULT_USER = "off ~* &* +@all"
"""Nobody can be it; but Redis reads its append-only file with its rights, and would lose all that
scripts have written if it had none."""

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")


class Authority:
    """Signs certificates of servers on this machine.

    Attributes:
        certificate: The file by which it is known.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.certificate = folder / "ca.pem"
        files = ("-keyout", str(folder / "ca.key"), "-out", str(self.certificate))
        _openssl("req", "-x509", *CURVE, *files, "-subj", "/CN=tests")

    def sign(self, name: str, *names: str) -> tuple[Path, Path]:
        """A certificate for these names, such as ``IP:127.0.0.1``, and its key."""
        certificate, key = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        files = ("-keyout", str(key), "-out", str(certificate))
        signer = ("-CA", str(self.certificate), "-CAkey", str(self._folder / "ca.key"))
        extension = f"subjectAltName={','.join(names)}"
        _openssl("req", "-x509", *CURVE, *files, *signer, "-subj", "/CN=r", "-addext", extension)
        return certificate, key


class SecuredRedis(RedisProcess):
    """Such a server. Who is not `USER` is nobody."""

    def __init__(self, folder: Path, authority: Authority, port: int) -> None:
        certificate, key = authority.sign(folder.name, "IP:127.0.0.1")
        users = folder / "users.acl"
        users.write_text(f"user default {DEFAULT_USER}\nuser {USER} on >{PASSWORD} {RIGHTS}\n")
        super().__init__(
            folder,
            port,
            tls_port=str(port),
            tls_cert_file=str(certificate),
            tls_key_file=str(key),
            tls_ca_cert_file=str(authority.certificate),
            tls_auth_clients="no",
            aclfile=str(users),
        )
        self._context = ssl.create_default_context(cafile=str(authority.certificate))
        self._authority = authority

    @property
    def url(self) -> str:
        return self.address()

    def address(self, *, password: str = PASSWORD, authority: Authority | None = None) -> str:
        """Where it listens, for who knows this password and believes this authority."""
        known = authority or self._authority
        who = f"{USER}:{password.replace('/', '%2F')}"
        return f"rediss://{who}@127.0.0.1:{self.port}/0?ssl_ca_certs={known.certificate}"

    def ask(self, *words: str) -> str:
        assert self.port is not None
        with (
            socket.create_connection(("127.0.0.1", self.port)) as plain,
            self._context.wrap_socket(plain, server_hostname="127.0.0.1") as asking,
        ):
            asking.sendall((" ".join(words) + "\r\n").encode())
            return asking.recv(65536).decode()

    def _answers(self) -> bool:
        try:
            return self.ask("PING").startswith("-NOAUTH")
        except OSError:
            return False


def openssl_is_installed() -> bool:
    """Whether this machine can make certificates."""
    return shutil.which("openssl") is not None


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
