"""``wsserver chat`` and the conversations that the server keeps: next week, after kill -9."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path

from tests.clients.cutting import relay
from tests.clients.terminal.conftest import OpenChat
from tests.clients.terminal.emulator import Emulator
from tests.clients.terminal.test_chat import flat, talking
from tests.conftest import StartServer
from tests.support.server import ServerProcess
from wsserver_client import Client, WireFailure, connect

CUT = "allows longer"


def said(chat: Emulator, line: str, *wanted: str) -> str:
    """Type a line, wait for what shall be shown after it and for the prompt; what was shown.

    A ``*`` in what is wanted stands for anything within a line. While a command runs no prompt is
    there, and a key pressed then would be the terminal's.
    """
    patterns = [re.compile(re.escape(one).replace(r"\*", r"[^\n]*")) for one in wanted]
    before = chat.text.count(f"> {line}\n")
    chat.enter(line)

    def holds(text: str) -> bool:
        shown = text.split(f"> {line}\n")[-1]
        return (
            text.count(f"> {line}\n") > before
            and all(pattern.search(shown) for pattern in patterns)
            and "● connected" in chat.visible
        )

    return chat.wait_for(holds).split(f"> {line}\n")[-1]


def end(chat: Emulator) -> None:
    """Leave, in order."""
    chat.press("d")
    assert chat.wait_end() == 0
    assert "Traceback" not in chat.text


def numbers(shown: str) -> list[int]:
    """The numbers of an answer, up to what is said about its end."""
    answer = re.split(r"[(■]", shown)[0]
    return [int(number) for number in re.findall(r"\b\d+\b", answer)]


def test_conversation_is_there_the_next_time(server: ServerProcess, open_chat: OpenChat) -> None:
    """It is listed, found, opened by its number, shown, and gone on with."""
    chat = talking(open_chat(server.ws_url, "--set", "max_tokens=3"))
    assert "The server keeps your conversations" in chat.text
    said(chat, "/sessions", "there are none yet")
    said(chat, "What is a violin?", CUT)
    said(chat, "/new", "a new conversation")
    said(chat, "What is a drum?", CUT)
    said(chat, "/title Percussion", "title: Percussion")
    end(chat)

    again = talking(open_chat(server.ws_url, "--set", "max_tokens=5"))
    said(again, "/sessions", "1*Percussion*just now*2", "2*What is a violin?")
    said(again, "/sessions violin", "1*What is a violin?")
    shown = said(again, "/open 1", "— What is a violin? —", "(cut short; /continue goes on)")
    assert "> What is a violin?\n1 2 3\n" in shown
    assert "drum" not in shown
    said(again, "And a viola?", CUT)
    shown = said(again, "/history", "(cut short; /continue goes on)")
    assert "> What is a violin?\n1 2 3\n> And a viola?\n1 2 3 4 5\n" in shown
    said(again, "/sessions", "1*What is a violin?*just now*4")
    said(again, "/delete 1", "deleted: What is a violin?")
    said(again, "/history", "nothing was asked yet")
    end(again)

    third = talking(open_chat(server.ws_url, "--resume"))
    third.wait_for("— Percussion —")
    third.wait_for("> What is a drum?")
    end(third)


def test_killed_server_has_kept_the_conversation(
    start_server: StartServer, open_chat: OpenChat, tmp_path: Path
) -> None:
    """kill -9 midway and a restart: the same terminal goes on with the answer, then asks again."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    kept = ("--port", port, "--set", f"data.dir={tmp_path / 'data'}")
    first = start_server(*kept)
    chat = talking(open_chat(first.ws_url, "--set", "max_tokens=100000"))
    chat.enter("Count")
    chat.wait_for("250 251 252")  # longer than a second: some of it is written
    first.kill()
    chat.wait_for("connection lost")
    start_server(*kept)
    chat.wait_for("connected again")
    chat.wait_for("/continue goes on with it")
    stored = numbers(said(chat, "/history", "(cut off; /continue goes on)").split("> Count\n")[-1])
    assert stored == list(range(1, len(stored) + 1)) and len(stored) >= 50
    said(chat, "/set max_tokens 40", "max_tokens = 40")
    shown = numbers(said(chat, "/continue", CUT))
    assert shown == list(range(shown[0], len(stored) + 41))
    assert shown[0] <= len(stored)  # the line that was cut off is shown whole
    assert numbers(said(chat, "And now?", CUT)) == list(range(1, 41))
    end(chat)

    later = talking(open_chat(first.ws_url, "--resume"))
    assert "> Count\n" in later.wait_for("> And now?\n")
    end(later)


def test_server_that_lost_its_store_is_asked_anew(
    start_server: StartServer, open_chat: OpenChat
) -> None:
    """A server that came back without the conversation: words, and /new begins another one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    first = start_server("--port", port)
    chat = talking(open_chat(first.ws_url, "--set", "max_tokens=2"))
    said(chat, "one", CUT)
    first.kill()
    chat.wait_for("connection lost")
    start_server("--port", port)
    chat.wait_for("connected again")
    said(chat, "two", "error:", "/new begins another conversation")
    said(chat, "/new", "a new conversation")
    said(chat, "three", CUT)
    end(chat)


def test_answers_and_questions_get_siblings(server: ServerProcess, open_chat: OpenChat) -> None:
    """/retry and /edit add branches; nothing is overwritten, and the newest branch is shown."""
    chat = talking(open_chat(server.ws_url, "--set", "max_tokens=2", "--user", "sibling"))
    said(chat, "/retry", "nothing was asked yet")
    said(chat, "first", CUT)
    said(chat, "second", CUT)
    said(chat, "/retry", CUT)
    chat.enter("/edit")
    chat.wait_for("> /edit second")
    chat.press("u")
    said(chat, "/edit third", CUT)
    said(chat, "/sessions", "1*first*just now*7")
    shown = said(chat, "/history", "goes on)")
    assert "> first\n1 2\n> third\n1 2\n" in shown and "second" not in shown
    said(chat, "/fork", "— a copy")
    said(chat, "fourth", CUT)
    said(chat, "/sessions", "1*first*6", "2*first*7")
    shown = said(chat, "/open 2", "goes on)")
    assert "> third\n1 2\n" in shown and "fourth" not in shown
    end(chat)


def test_stopped_answer_is_gone_on_with(server: ServerProcess, open_chat: OpenChat) -> None:
    """Ctrl-C, then /continue: the line goes on where it was, and counting has no gap."""
    chat = talking(open_chat(server.ws_url, "--set", "max_tokens=1000"))
    chat.enter("Count")
    chat.wait_for("40 41 42")
    chat.press("c")
    last = numbers(chat.wait_for("■ stopped").split("> Count\n")[-1])[-1]
    said(chat, "/set max_tokens 20", "max_tokens = 20")
    shown = numbers(said(chat, "/continue", CUT))
    assert shown == list(range(shown[0], last + 21)) and shown[0] <= last
    end(chat)


def test_answer_is_followed_from_a_second_terminal(
    server: ServerProcess, open_chat: OpenChat
) -> None:
    """Opened midway the answer goes on in both; stopped in one, it is stopped in both."""
    asker = talking(open_chat(server.ws_url, "--set", "max_tokens=100000", "--user", "two"))
    asker.enter("Count")
    asker.wait_for("40 41 42")
    other = talking(open_chat(server.ws_url, "--resume", "--user", "two"))
    other.wait_for("> Count\n")
    other.wait_for("140 141 142")
    other.press("c")
    seen = [numbers(chat.wait_for("■ stopped").split("> Count\n")[-1]) for chat in (asker, other)]
    assert seen[0] == seen[1] == list(range(1, len(seen[0]) + 1))
    end(asker)
    end(other)


def test_private_talk_is_kept_nowhere(
    server: ServerProcess, open_chat: OpenChat, tmp_path: Path
) -> None:
    """The client alone keeps it: it can be asked again and saved; the server has nothing of it."""
    chat = talking(open_chat(server.ws_url, "--private", "--set", "max_tokens=3"))
    assert "keeps your conversations" not in chat.text
    said(chat, "one", CUT)
    said(chat, "/retry", CUT)
    said(chat, "/save talk.md", "saved to")
    assert (tmp_path / "talk.md").read_text() == "**You**\n\none\n\n**fast**\n\n1 2 3 \n"
    said(chat, "/sessions", "this conversation is not kept by the server")
    end(chat)
    assert not (tmp_path / "state" / "wsserver" / "user").exists()


def test_identity_is_made_once_and_kept_from_others(
    server: ServerProcess, open_chat: OpenChat, tmp_path: Path
) -> None:
    """One random name for all runs, in a file of one's own; --user is somebody else."""
    chat = talking(open_chat(server.ws_url, "--set", "max_tokens=2"))
    said(chat, "mine", CUT)
    end(chat)
    file = tmp_path / "state" / "wsserver" / "user"
    made = file.read_text()
    assert re.fullmatch(r"[\w.-]+-[0-9a-f]{16}\n", made)
    assert file.stat().st_mode & 0o077 == 0
    other = talking(open_chat(server.ws_url, "--user", "Eve"))
    said(other, "/sessions", "there are none yet")
    end(other)
    assert file.read_text() == made
    assert sorted(path.name for path in file.parent.iterdir()) == ["chat_history", "user"]


def test_unknown_session_is_said_in_words(server: ServerProcess, open_chat: OpenChat) -> None:
    """Asked for by its id, one that is not there is not made."""
    for session in ("ses_nope", "bad\x85id"):
        chat = open_chat(server.ws_url, "--session", session, "--user", "nobody")
        assert chat.wait_end() == 1
        assert "error: there is no conversation" in flat(chat.text)
    chat = talking(open_chat(server.ws_url, "--resume", "--user", "nobody"))
    chat.wait_for("There is no earlier conversation.")
    said(chat, "/open ses_nope", "there is no conversation ses_nope")
    said(chat, "/open 1", "there is no number 1")
    said(chat, "/sessions", "there are none yet")
    end(chat)


def test_system_prompt_belongs_to_the_conversation(
    server: ServerProcess, open_chat: OpenChat, tmp_path: Path
) -> None:
    """Set before or after the first question, it is kept with the conversation."""
    chat = talking(open_chat(server.ws_url, "--system", "Be brief.", "--set", "max_tokens=2"))
    said(chat, "one", CUT)
    said(chat, "/save first.md", "saved to")
    said(chat, "/system Be long.", "system prompt set")
    said(chat, "/save second.md", "saved to")
    said(chat, "/system", "no system prompt")
    said(chat, "/save third.md", "saved to")
    saved = [(tmp_path / f"{name}.md").read_text() for name in ("first", "second", "third")]
    assert "Be brief." in saved[0] and "Be long." in saved[1] and "System" not in saved[2]
    end(chat)


async def test_answer_that_ended_meanwhile_is_shown_from_the_history(
    start_server: StartServer, open_chat: OpenChat
) -> None:
    """Cut off until the answer is over and no stream any more: its rest comes from the session."""
    server = start_server("--set", "streams.retention_seconds=0.1")
    async with relay(server.ws_url) as between, connect(server.ws_url, user_id="far") as near:
        chat = open_chat(between.url, "--user", "far", "--set", "max_tokens=600")
        await asyncio.to_thread(talking, chat)
        chat.enter("Count")
        await asyncio.to_thread(chat.wait_for, "40 41 42")
        between.refuse(True)
        between.cut()
        await over(near)
        between.refuse(False)
        text = await asyncio.to_thread(chat.wait_for, "allows longer", 30.0)
        await asyncio.to_thread(end, chat)
    first, rest = text.split("> Count\n")[-1].split("(the server has kept more of it:)")
    assert numbers(first.split("—")[0]) + numbers(rest) == list(range(1, 601))


async def over(client: Client) -> None:
    """Wait until the only answer of a user is no stream any more."""
    (session,) = (await client.sessions()).sessions
    running = (await client.history(session.session_id)).messages[-1].stream_id
    assert running is not None
    while True:
        try:
            await client.request(
                {"type": "watch_stream", "streamId": running, "fromOffset": 0}, timeout=30.0
            )
        except WireFailure as error:
            assert error.code == "stream_not_found"
            return
        await asyncio.sleep(0.05)  # nothing tells when it is let go
