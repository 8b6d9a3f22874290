"""Sessions copied: forked, exported, imported."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Connect
from tests.integration.session_steps import history, open_session, say, sign_in
from tests.support.wire import Wire


@pytest.fixture
async def ann(connect: Connect) -> Wire:
    """A connection of a user of her own."""
    wire = await connect()
    await sign_in(wire)
    return wire


async def test_a_fork_goes_its_own_way(ann: Wire) -> None:
    """The branch up to a message is copied; what is said later in one is not in the other."""
    session_id = await open_session(ann, systemPrompt="p", metadata={"k": 1})
    first = await say(ann, session_id, "q1")
    await say(ann, session_id, "q2")
    forked = await ann.ask("fork_session", sessionId=session_id, messageId=first["messageId"])
    copy = forked["session"]
    assert (copy["messageCount"], copy["systemPrompt"], copy["metadata"]) == (2, "p", {"k": 1})
    await say(ann, copy["sessionId"], "other")
    asked = [m["content"] for m in await history(ann, copy["sessionId"]) if m["role"] == "user"]
    assert asked == ["q1", "other"]
    assert len(await history(ann, session_id)) == 4


async def test_an_export_can_be_imported_again(ann: Wire) -> None:
    """JSON carries all branches and settings; the copy's history is the same."""
    session_id = await open_session(ann, title="t", systemPrompt="p", metadata={"aB": [1]})
    first = await say(ann, session_id, "q")
    await say(ann, session_id, regenerate=first["messageId"], options={"maxTokens": 1})
    export = await ann.ask("export_session", sessionId=session_id)
    assert (export["format"], "nextCursor" in export) == ("json", False)
    assert len(export["data"]["messages"]) == 3
    imported = await ann.ask("import_session", data=export["data"])
    copy = imported["session"]
    assert copy["sessionId"] != session_id
    assert (copy["title"], copy["systemPrompt"], copy["metadata"]) == ("t", "p", {"aB": [1]})
    assert await history(ann, copy["sessionId"]) == await history(ann, session_id)
    other = await history(ann, copy["sessionId"], branch=first["messageId"])
    assert other == await history(ann, session_id, branch=first["messageId"])


async def test_a_long_export_comes_in_pages(ann: Wire) -> None:
    """Pages of either format fit into frames and join to the whole."""
    texts = [letter * 400_000 for letter in "xyz"]
    session_id = "paged export"
    before = None
    for number, text in enumerate(texts):
        message = {"messageId": f"m{number}", "role": "user", "content": text}
        data = {"messages": [message | ({"parentId": before} if before else {})]}
        await ann.ask("import_session", data=data, sessionId=session_id)
        before = f"m{number}"
    for kind in ("json", "markdown"):
        cursor: str | None = None
        whole, pages = "", 0
        while cursor or not pages:
            fields: dict[str, Any] = {"cursor": cursor} if cursor else {}
            page = await ann.ask("export_session", sessionId=session_id, format=kind, **fields)
            whole += page.get("text") or "".join(m["content"] for m in page["data"]["messages"])
            pages += 1
            cursor = page.get("nextCursor")
        assert pages > 1
        assert [whole.count(letter * 400_000) for letter in "xyz"] == [1, 1, 1]


async def test_markdown_is_for_people(ann: Wire) -> None:
    """Title, system prompt, who said what, and what was cut short."""
    session_id = await open_session(ann, title="Talk", systemPrompt="Be kind.")
    await say(ann, session_id, "q")
    export = await ann.ask("export_session", sessionId=session_id, format="markdown")
    assert export["text"] == (
        "# Talk\n\n## System\n\nBe kind.\n\n## User\n\nq\n\n## Assistant *(length)*\n\n1 2 3 \n"
    )


async def test_a_wrong_document_leaves_no_session(ann: Wire) -> None:
    """A message before its parent is named, and nothing of the document is kept."""
    orphan = {"messageId": "b", "parentId": "a", "role": "user", "content": "x"}
    refused = await ann.ask("import_session", data={"messages": [orphan]})
    assert refused["code"] == "invalid_parameters"
    assert refused["details"][0]["field"] == "data.messages[0]"
    assert (await ann.ask("list_sessions"))["sessions"] == []
