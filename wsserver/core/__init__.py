"""The server without sockets, Redis or GPU: what happens, and in which order.

Core decides; the gateway speaks to clients, engines make text, stores remember. It imports
`wsserver_protocol` and nothing of its neighbours: they come in through the ports in this package.
"""
