"""Clients that come from another process: their place, and the rule of their tokens."""

from __future__ import annotations

from tests.support.virtual_time import pass_time, virtual
from wsserver.core.clients import Client, Clients, token_digest, token_for, token_owner


def arrival(clients: Clients) -> tuple[Client, list[str]]:
    """A client from elsewhere with two good tokens, away."""
    client = Client("10.0.0.1")
    tokens = [token_for(client.client_id) for _ in range(2)]
    client.tokens = [token_digest(token) for token in tokens]
    clients.adopt(client)
    return client, tokens


def test_a_token_names_its_client_and_is_not_kept() -> None:
    """Any process can tell whose a token is; nobody can read a token out of what is kept."""
    client = Client("10.0.0.1")
    clients = Clients(60.0, lambda gone: None)
    clients.adopt(client)
    token = clients.issue_token(client)
    assert token_owner(token) == client.client_id
    assert token not in str(client.tokens)
    assert clients.find(token) is client


def test_an_adopted_client_is_resumed_as_one_of_its_own() -> None:
    """Its tokens are good here, and the first use of the newer one ends the older."""
    clients = Clients(60.0, lambda gone: None)
    client, (older, newer) = arrival(clients)
    assert clients.find(older) is clients.find(newer) is client
    successor = clients.redeem(newer)
    assert clients.find(older) is None
    assert clients.find(successor) is clients.find(newer) is client


def test_others_may_decide_which_tokens_are_good() -> None:
    """What the fleet says of a client's tokens holds here, and nothing else."""
    clients = Clients(60.0, lambda gone: None)
    client, (older, newer) = arrival(clients)
    successor = token_for(client.client_id)
    clients.take_tokens(client, [token_digest(newer), token_digest(successor)])
    assert clients.find(older) is None
    assert clients.find(newer) is clients.find(successor) is client


@virtual
async def test_an_adopted_client_is_gone_after_its_window() -> None:
    """Whoever does not come back here either is ended once."""
    gone: list[Client] = []
    clients = Clients(60.0, gone.append)
    client, (older, _) = arrival(clients)
    clients.detach(client)
    await pass_time(59)
    assert gone == []
    await pass_time(2)
    assert gone == [client]
    assert clients.find(older) is None
