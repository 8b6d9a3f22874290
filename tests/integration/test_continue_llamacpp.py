"""An answer taken up again by llama.cpp: at temperature 0 its text has no seam."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import StartServer
from tests.integration.session_steps import history, open_session, stop
from tests.support.server import ServerProcess
from tests.support.wire import Wire, wired
from tests.tiny_models import TinyModel, TinyModels

GREEDY = {"temperature": 0, "cache": False}


@pytest.fixture(scope="module", params=["cycle", "bigram"])
def llama(
    start_module_server: StartServer,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[ServerProcess]:
    """A server with a tiny model: one that recites, characters of several tokens included."""
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed (extra cpu)")
    path = TinyModels(tmp_path_factory.mktemp("models")).path(TinyModel(request.param))
    yield start_module_server("--model", str(path))


async def whole(wire: Wire, prompt: str, tokens: int) -> str:
    """An answer in one go."""
    start = await wire.stream(prompt, options=GREEDY | {"maxTokens": tokens})
    await wire.end_of(start["streamId"])
    return wire.copy(start["streamId"]).text


@pytest.mark.parametrize("first", [1, 7, 18, 19, 20, 21, 40])
async def test_length_and_continue_join_without_a_seam(llama: ServerProcess, first: int) -> None:
    """Cut by length anywhere, also within a character, and taken up: the bytes of one run."""
    async with wired(f"{llama.ws_url}/ws") as wire:
        reference = await whole(wire, "tell me", 120)
        start = await wire.stream("tell me", options=GREEDY | {"maxTokens": first})
        await wire.end_of(start["streamId"])
        text = wire.copy(start["streamId"]).text
        for _ in range(2):
            start = await wire.ask("continue", streamId=start["streamId"])
            assert start["type"] == "stream_start", start
            await wire.end_of(start["streamId"])
            text += wire.copy(start["streamId"]).text
        assert reference.startswith(text)
        assert len(text) > len(reference) * (2 * first) // 120 - 8


async def test_stop_and_continue_in_a_session_join_without_a_seam(llama: ServerProcess) -> None:
    """Stopped in midstream in the second turn of a session: the message is that of one run."""
    async with wired(f"{llama.ws_url}/ws") as wire:
        reference_id, session_id = await open_session(wire), await open_session(wire)
        for session, tokens in ((reference_id, 400), (session_id, 5_000)):
            options = GREEDY | {"maxTokens": 9}
            start = await wire.stream("one", sessionId=session, options=options)
            await wire.end_of(start["streamId"])
            options = GREEDY | {"maxTokens": tokens, "tokenInterval": 0}
            start = await wire.stream("two", sessionId=session, options=options)
            if session == session_id:
                await wire.first_token(start["streamId"])
                await stop(wire, start)
            await wire.end_of(start["streamId"])
        reference = (await history(wire, reference_id))[-1]["content"]
        cut = (await history(wire, session_id))[-1]
        assert cut["finishReason"] == "stopped"
        again = await wire.ask("continue", sessionId=session_id, options={"maxTokens": 60})
        await wire.end_of(again["streamId"])
        message = (await history(wire, session_id))[-1]
        assert message["content"] == cut["content"] + wire.copy(again["streamId"]).text
        shorter, longer = sorted([message["content"], reference], key=len)
        assert longer.startswith(shorter)
        assert message["messageId"] == cut["messageId"]
