"""Who someone is: what owns streams, batches, sessions and idempotency keys."""

from __future__ import annotations

from dataclasses import dataclass

PRIORITY_HIGH = "priority:high"
"""What a priority above 0 needs: who has it overtakes everybody else."""

SCOPES = (
    *("chat", "models:read", "models:write", "metrics:read", "rooms", "sessions"),
    PRIORITY_HIGH,
)
"""All scopes. With authentication off every client has them all."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The user of a proof; with authentication off the named user; else one client alone.

    ``limit_key`` is what limits count by: the user where there is a proof, otherwise the network
    address, since a name that anyone may claim must not buy a fresh allowance.
    """

    user_id: str
    limit_key: str
    name: str | None = None
    scopes: frozenset[str] = frozenset(SCOPES)
    tier: str = "default"
    is_proven: bool = False
    is_anonymous: bool = False  # one client alone: it ends with that client's resume window

    @property
    def key(self) -> str:
        """What ownership is compared by; a proof and a mere name never mix."""
        return self.key_of(self.user_id)

    def key_of(self, user_id: str) -> str:
        """The key of another user of this server, known by the same kind of proof, or by none."""
        return f"{'user' if self.is_proven else 'named'}:{user_id}"

    @classmethod
    def anonymous(cls, client_id: str, address: str) -> Identity:
        return cls(user_id=f"anon-{client_id}", limit_key=f"address:{address}", is_anonymous=True)

    @classmethod
    def named(cls, user_id: str, name: str | None, address: str) -> Identity:
        return cls(user_id=user_id, name=name, limit_key=f"address:{address}")
