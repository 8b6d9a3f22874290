"""The language-neutral contract between the wsserver server and its clients, as Python types.

Pure: nothing here does I/O or reads a clock. The modules, from the bottom up:

* `fields`, `catalogue`, `lifecycle`, `options`: the vocabulary of the messages
* `requests`, `events`: one struct for each message of a client, and of the server
* `errors`: what a refusal is, and which event says so
* `codec`: frames to requests, events to frames, with one validation path
* `cursor`: the rule by which a client joins the pieces of an answer
"""

PROTOCOL_VERSION = 1
"""The version that `connected` names and the subprotocols carry; it grows only on a break."""
