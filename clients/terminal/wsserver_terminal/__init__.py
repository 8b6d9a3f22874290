"""A terminal client of wsserver: ``wsserver chat``."""

from wsserver_terminal.program import main

__all__ = ["main"]
