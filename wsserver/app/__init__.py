"""The composition root: a configuration becomes a running server.

`application` is the life of a gateway process, `backend` what stands behind it.
"""

from wsserver.app.application import Application, CannotStart, serve

__all__ = ["Application", "CannotStart", "serve"]
