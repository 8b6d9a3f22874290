"""Sessions as messages: opened, listed, read, changed, copied, moved, and nobody else's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Connect
from tests.integration.session_steps import history, open_session, said, say, sign_in
from tests.support.wire import Wire


@pytest.fixture
async def ann(connect: Connect) -> Wire:
    """A connection of a user of her own."""
    wire = await connect()
    await sign_in(wire)
    return wire


async def test_server_says_that_it_keeps_sessions(wire: Wire) -> None:
    """`connected` promises what the other tests here hold it to."""
    assert wire.connected["capabilities"]["sessions"] is True


async def test_an_unknown_id_is_made_and_a_known_one_opened(ann: Wire) -> None:
    """`open_session` twice under one id: one session, whose settings are those of the first."""
    made = await ann.ask(
        "open_session", sessionId="mine", title="T", systemPrompt="P", metadata={"aB": 1}
    )
    again = await ann.ask("open_session", sessionId="mine", title="other")
    session = made["session"]
    assert (session["title"], session["systemPrompt"], session["messageCount"]) == ("T", "P", 0)
    assert session["metadata"] == {"aB": 1}
    assert again["session"] == session


async def test_without_an_id_a_repeated_request_makes_one_session(ann: Wire) -> None:
    """The same requestId is answered with the same session; another body under it is refused."""
    first = await ann.ask("open_session", requestId="once", title="t")
    second = await ann.ask("open_session", requestId="once", title="t")
    assert first["session"] == second["session"]
    refused = await ann.ask("open_session", requestId="once", title="u")
    assert refused["code"] == "duplicate_request"
    listed = await ann.ask("list_sessions")
    assert len(listed["sessions"]) == 1


async def test_a_turn_stands_in_the_history(ann: Wire) -> None:
    """Question and answer, with the ids that the start has told, and a title made of the first."""
    session_id = await open_session(ann)
    start = await say(ann, session_id, "  What is\n a violin?  ")
    end = await ann.end_of(start["streamId"])
    assert end["saved"] is True
    question, answer = await history(ann, session_id)
    assert question["messageId"] == start["userMessageId"]
    assert (question["role"], question["parentId"]) == ("user", None)
    assert answer["messageId"] == start["messageId"]
    assert (answer["content"], answer["parentId"]) == ("1 2 3 ", question["messageId"])
    assert (answer["finishReason"], answer["tokens"], answer["model"]) == ("length", 3, "fast")
    opened = await ann.ask("open_session", sessionId=session_id)
    assert opened["session"]["title"] == "What is a violin?"
    assert opened["session"]["messageCount"] == 2


async def test_a_generate_is_a_turn_too(ann: Wire) -> None:
    """One-shot answers are kept alike, and `saved` says so."""
    session_id = await open_session(ann)
    end = await ann.ask_until(
        "generate", prompt="q", sessionId=session_id, options={"maxTokens": 2}
    )
    assert (end["type"], end["saved"]) == ("generation_complete", True)
    assert said(await history(ann, session_id)) == [("user", "q"), ("assistant", "1 2 ")]


async def test_the_context_is_counted_and_told(ann: Wire) -> None:
    """System prompt, earlier turns and the new one, as the model counts them."""
    session_id = await open_session(ann, systemPrompt="two words")
    first = await say(ann, session_id, "one two three")
    second = await say(ann, session_id, "four")
    assert (first["contextTokens"], first["droppedMessages"]) == (5, 0)
    assert (second["contextTokens"], second["droppedMessages"]) == (5 + 3 + 1, 0)
    third = await say(ann, session_id, "five", system="one")
    assert third["contextTokens"] == second["contextTokens"] - 1 + 3 + 1


async def test_history_is_read_in_pages(ann: Wire) -> None:
    """The newest page, then the one before it, until there is no more."""
    session_id = await open_session(ann)
    for number in range(3):
        await say(ann, session_id, f"q{number}")
    newest = await ann.ask("get_history", sessionId=session_id, limit=4)
    assert [m["content"] for m in newest["messages"] if m["role"] == "user"] == ["q1", "q2"]
    assert newest["hasMore"] is True
    first = newest["messages"][0]["messageId"]
    older = await ann.ask("get_history", sessionId=session_id, limit=4, before=first)
    assert [m["content"] for m in older["messages"] if m["role"] == "user"] == ["q0"]
    assert older["hasMore"] is False
    begin = older["messages"][0]["messageId"]
    none = await ann.ask("get_history", sessionId=session_id, before=begin)
    assert (none["messages"], none["hasMore"]) == ([], False)


async def test_a_page_of_much_text_still_fits_into_a_frame(ann: Wire) -> None:
    """Pages are cut by bytes too, as they are on the wire; joined they are the whole history."""
    prompts = [letter * 400_000 for letter in "abc"] + ["\n" * 300_000]
    messages = [
        {"messageId": f"m{i}", "parentId": f"m{i - 1}" if i else None, "role": "user", "content": p}
        for i, p in enumerate(prompts)
    ]
    imported = await ann.ask("import_session", data={"messages": messages[:2]})
    session_id = imported["session"]["sessionId"]
    await ann.ask("import_session", data={"messages": messages[2:]}, sessionId=session_id)
    found: list[str] = []
    before: str | None = None
    has_more, pages = True, 0
    while has_more:
        fields: dict[str, Any] = {"before": before} if before else {}
        page = await ann.ask("get_history", sessionId=session_id, **fields)
        found = [m["content"] for m in page["messages"]] + found
        before, has_more = page["messages"][0]["messageId"], page["hasMore"]
        pages += 1
    assert found == prompts
    assert pages > 1


async def test_another_try_is_a_sibling(ann: Wire) -> None:
    """`regenerate` leaves the first answer as it was; the new one is the active branch."""
    session_id = await open_session(ann)
    first = await say(ann, session_id, "q")
    second = await say(ann, session_id, regenerate=first["messageId"], options={"maxTokens": 1})
    assert second["userMessageId"] == first["userMessageId"]
    assert said(await history(ann, session_id)) == [("user", "q"), ("assistant", "1 ")]
    older = await history(ann, session_id, branch=first["messageId"])
    assert said(older) == [("user", "q"), ("assistant", "1 2 3 ")]
    assert [m["parentId"] for m in older] == [None, first["userMessageId"]]


async def test_an_edit_is_a_sibling_of_what_followed(ann: Wire) -> None:
    """`parentId` puts a turn beside those after it; the older branch is still there."""
    session_id = await open_session(ann)
    first = await say(ann, session_id, "q1")
    second = await say(ann, session_id, "q2")
    edited = await say(ann, session_id, "q2 again", parentId=first["messageId"])
    active = [m["content"] for m in await history(ann, session_id) if m["role"] == "user"]
    assert active == ["q1", "q2 again"]
    older = await history(ann, session_id, branch=second["userMessageId"])
    assert [m["content"] for m in older if m["role"] == "user"] == ["q1", "q2"]
    assert edited["contextTokens"] == second["contextTokens"] + 1


async def test_the_first_question_can_be_edited(ann: Wire) -> None:
    """The session's own id as `parentId` stands before its first message."""
    session_id = await open_session(ann)
    await say(ann, session_id, "q")
    start = await say(ann, session_id, "better q", parentId=session_id)
    assert start["droppedMessages"] == 0
    assert said(await history(ann, session_id))[0] == ("user", "better q")


async def test_what_is_named_must_be_there(ann: Wire) -> None:
    """Unknown messages and a question to try again are refused, and nothing is kept of it."""
    session_id = await open_session(ann)
    start = await say(ann, session_id, "q")
    refusals = [
        await ann.ask_until("stream", sessionId=session_id, prompt="x", parentId="nowhere"),
        await ann.ask_until("stream", sessionId=session_id, regenerate="nowhere"),
        await ann.ask_until("stream", sessionId=session_id, regenerate=start["userMessageId"]),
        await ann.ask("get_history", sessionId=session_id, before="nowhere"),
        await ann.ask("get_history", sessionId=session_id, branch="nowhere"),
        await ann.ask("fork_session", sessionId=session_id, messageId="nowhere"),
        await ann.ask_until("stream", sessionId=session_id, prompt="x", raw=True),
    ]
    fields = ["parentId", "regenerate", "regenerate", "before", "branch", "messageId", "raw"]
    assert [r["code"] for r in refusals] == ["invalid_parameters"] * 7
    assert [r["details"][0]["field"] for r in refusals] == fields
    assert len(await history(ann, session_id)) == 2


async def test_a_refused_turn_is_not_remembered(ann: Wire) -> None:
    """An unknown session is refused; once it is there, the same request is run."""
    refused = await ann.ask(
        "stream", requestId="again", sessionId="later", prompt="q", options={"maxTokens": 1}
    )
    assert (refused["type"], refused["code"]) == ("stream_error", "session_not_found")
    assert len(ann.of_type("stream_start")) == 0
    await open_session(ann, sessionId="later")
    await ann.ask_until(
        "stream", requestId="again", sessionId="later", prompt="q", options={"maxTokens": 1}
    )
    assert said(await history(ann, "later")) == [("user", "q"), ("assistant", "1 ")]


async def test_a_repeated_turn_is_kept_once(ann: Wire, connect: Connect) -> None:
    """The same requestId from another device shows the first one, and adds nothing."""
    user = await sign_in(ann)
    other = await connect()
    await sign_in(other, user)
    session_id = await open_session(ann)
    body: dict[str, Any] = {"sessionId": session_id, "prompt": "q", "options": {"maxTokens": 30}}
    await ann.send(type="stream", requestId="same", **body)
    end = await other.ask_until("stream", requestId="same", **body)
    assert (end["type"], end["saved"]) == ("stream_complete", True)
    assert len(await history(other, session_id)) == 2


async def test_sessions_of_others_do_not_exist(ann: Wire, connect: Connect) -> None:
    """Every message about a session answers a stranger with `session_not_found`."""
    bob = await connect()
    await sign_in(bob)
    session_id = await open_session(ann)
    start = await say(ann, session_id, "secret")
    calls: list[tuple[str, dict[str, Any]]] = [
        ("get_history", {}),
        ("update_session", {"title": "x"}),
        ("clear_history", {}),
        ("fork_session", {"messageId": start["messageId"]}),
        ("delete_session", {}),
        ("export_session", {}),
        ("stream", {"prompt": "x"}),
        ("generate", {"prompt": "x"}),
        ("continue", {}),
    ]
    for kind, fields in calls:
        reply = await bob.ask_until(kind, sessionId=session_id, **fields)
        assert reply["code"] == "session_not_found", (kind, reply)
    assert (await bob.ask("list_sessions"))["sessions"] == []
    own = await bob.ask("open_session", sessionId=session_id)
    assert own["session"]["messageCount"] == 0
    assert len(await history(ann, session_id)) == 2


async def test_lists_are_paged_and_searched(ann: Wire) -> None:
    """Last used first, in pages that join; a query finds titles and text."""
    for number in range(3):
        await open_session(ann, sessionId=f"s{number}", title=f"title {number}")
    await say(ann, "s0", "needle in a haystack")
    first = await ann.ask("list_sessions", limit=2)
    rest = await ann.ask("list_sessions", limit=2, cursor=first["nextCursor"])
    ids = [s["sessionId"] for s in first["sessions"] + rest["sessions"]]
    assert ids == ["s0", "s2", "s1"]
    assert "nextCursor" not in rest
    for query, wanted in (("NEEDLE", ["s0"]), ("title 1", ["s1"]), ("nothing", [])):
        found = await ann.ask("list_sessions", query=query)
        assert [s["sessionId"] for s in found["sessions"]] == wanted
    bad = await ann.ask("list_sessions", cursor="nonsense")
    assert (bad["code"], bad["details"][0]["field"]) == ("invalid_parameters", "cursor")


async def test_long_system_prompts_do_not_burst_a_page(ann: Wire) -> None:
    """A page of sessions is cut by bytes, and the next one goes on."""
    for number in range(6):
        await open_session(ann, sessionId=f"big{number}", systemPrompt="p" * 250_000)
    seen: list[str] = []
    cursor = None
    while True:
        page = await ann.ask("list_sessions", **({"cursor": cursor} if cursor else {}))
        seen += [s["sessionId"] for s in page["sessions"]]
        cursor = page.get("nextCursor")
        if cursor is None:
            break
    assert seen == [f"big{number}" for number in (5, 4, 3, 2, 1, 0)]
    refused = await ann.ask("open_session", systemPrompt="p" * 300_000)
    assert refused["code"] == "payload_too_large"


async def test_settings_are_updated(ann: Wire) -> None:
    """What is given changes, an empty text removes, and the model answers from then on."""
    session_id = await open_session(ann, title="t", systemPrompt="p")
    updated = await ann.ask("update_session", sessionId=session_id, systemPrompt="", model="flat")
    session = updated["session"]
    assert (session["title"], session["systemPrompt"], session["model"]) == ("t", None, "flat")
    start = await say(ann, session_id)
    assert start["model"] == "flat"
    assert (await say(ann, session_id, model="fast"))["model"] == "fast"
    await ann.ask("update_session", sessionId=session_id, model="none such")
    refused = await ann.ask_until("stream", sessionId=session_id, prompt="x")
    assert refused["code"] == "model_not_found"


async def test_history_is_cleared_and_its_stream_stopped(ann: Wire) -> None:
    """Messages go, the session stays, and what ran in it ends first."""
    session_id = await open_session(ann, title="t")
    start = await ann.stream(sessionId=session_id, options={"maxTokens": 100_000})
    await ann.first_token(start["streamId"])
    reply = await ann.ask("clear_history", sessionId=session_id)
    assert reply["type"] == "history_cleared"
    end = await ann.end_of(start["streamId"])
    assert (end["type"], end["reason"]) == ("stream_stopped", "client")
    assert await history(ann, session_id) == []
    assert (await say(ann, session_id))["droppedMessages"] == 0


async def test_a_deleted_session_is_gone_with_its_stream(ann: Wire) -> None:
    """Its stream is stopped, its id unknown from then on, and the status names it no more."""
    session_id = await open_session(ann)
    start = await ann.stream(sessionId=session_id, options={"maxTokens": 100_000})
    await ann.first_token(start["streamId"])
    assert session_id in (await ann.ask("get_status"))["sessionIds"]
    reply = await ann.ask("delete_session", sessionId=session_id)
    assert reply["type"] == "session_deleted"
    assert (await ann.end_of(start["streamId"]))["type"] == "stream_stopped"
    gone = await ann.ask("get_history", sessionId=session_id)
    assert gone["code"] == "session_not_found"
    assert session_id not in (await ann.ask("get_status"))["sessionIds"]


async def test_anonymous_sessions_work_while_their_client_lives(wire: Wire) -> None:
    """Without a name sessions are the client's own."""
    session_id = await open_session(wire)
    await say(wire, session_id)
    assert len(await history(wire, session_id)) == 2
