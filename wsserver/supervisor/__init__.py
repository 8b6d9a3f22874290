"""Processes of a server: started, kept alive, ended together."""

from wsserver.supervisor.keeper import Member
from wsserver.supervisor.ports import held_port
from wsserver.supervisor.supervisor import Supervisor, supervise, supervise_worker

__all__ = ["Member", "Supervisor", "held_port", "supervise", "supervise_worker"]
