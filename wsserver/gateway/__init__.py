"""The edge: sockets, frames, dispatch. It speaks to clients and decides nothing about answers.

Read in the order of a request: `listener` accepts, `connection` reads and keeps, `dispatch` finds
the handler in `handlers`, core works, `views` turn what core has into frames, `outbox` sends them.
"""
