"""``wsserver chat`` as a person uses it: in a terminal, against the real server."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.clients.python.scripted import Peer, staged_in_thread
from tests.clients.terminal.conftest import OpenChat
from tests.clients.terminal.emulator import Emulator
from tests.conftest import StartServer
from tests.support.server import ServerProcess


def flat(text: str) -> str:
    """Without the line breaks of the screen."""
    return " ".join(text.split())


def talking(emulator: Emulator) -> Emulator:
    emulator.wait_for("connected · model")
    return emulator


def test_ask_see_it_stream_stop_it_ask_again_leave(
    server: ServerProcess, open_chat: OpenChat
) -> None:
    """The whole life of a conversation, with the keys that a person presses."""
    chat = talking(open_chat(server.ws_url, "--model", "slow", "--set", "max_tokens=1000"))
    chat.enter("What is a violin?")
    chat.wait_for(lambda text: "1 2 3" in text)  # the line still grows
    assert "answering" in chat.visible
    assert "stopped" not in chat.text
    chat.press("c")
    text = chat.wait_for("■ stopped")
    assert "> What is a violin?" in text
    chat.enter("/model fast")
    chat.wait_for("model: fast")
    chat.enter("/set max_tokens 40")
    chat.wait_for("max_tokens = 40")
    chat.enter("And now?")
    chat.wait_for(lambda text: "38 39 40" in flat(text.split("And now?")[-1]))
    chat.wait_for("/set max_tokens allows longer answers")
    chat.press("d")
    assert chat.wait_end() == 0


def test_answer_of_many_lines_is_whole(server: ServerProcess, open_chat: OpenChat) -> None:
    """A long answer is printed to the last word, once, in order, and nothing of it twice."""
    chat = talking(open_chat(server.ws_url, "--model", "flat", "--set", "max_tokens=1500"))
    chat.enter("Count")
    text = chat.wait_for("allows longer answers").split("> Count")[-1]
    numbers = [int(number) for number in re.findall(r"\b\d+\b", text.split("(cut short")[0])]
    assert numbers == list(range(1, 1501))
    chat.press("d")
    assert chat.wait_end() == 0


def test_ctrl_c_twice_leaves(server: ServerProcess, open_chat: OpenChat) -> None:
    """The first one says so; the second one leaves. A half-typed line is cleared first."""
    chat = talking(open_chat(server.ws_url))
    chat.type("half a ques")
    chat.wait_for("half a ques")
    chat.press("c")
    chat.wait_for(lambda text: "half a ques" not in text)
    chat.press("c")
    assert chat.wait_end() == 0


def test_lines_can_be_joined(server: ServerProcess, open_chat: OpenChat) -> None:
    """A backslash at the end, Alt-Enter and a paste make one question of several lines."""
    chat = talking(open_chat(server.ws_url, "--set", "max_tokens=2"))
    chat.type("first\\\r")
    chat.type("second\x1b\r")
    chat.enter("third")
    chat.wait_for("> first\n  second\n  third")
    chat.wait_for("allows longer answers")
    chat.type("\x1b[200~pasted\nlines\x1b[201~\r")
    chat.wait_for("> pasted\n  lines")
    chat.press("d")


def test_commands(server: ServerProcess, open_chat: OpenChat, tmp_path: Path) -> None:
    """Each command does what the help says."""
    chat = talking(open_chat(server.ws_url, "--set", "max_tokens=3"))
    chat.enter("/help")
    text = chat.wait_for("Alt-Enter")
    for name in ("model", "models", "load", "system", "set", "new", "stop", "retry", "save"):
        assert f"/{name}" in text
    chat.enter("/models")
    chat.wait_for(lambda text: "flat" in text and "ready" in text)
    chat.enter("/system Be brief.")
    chat.wait_for("system prompt set")
    chat.enter("/stats")
    chat.wait_for("none yet")
    chat.enter("one")
    chat.wait_for("allows longer")
    chat.enter("/stats")
    chat.wait_for("3 tokens in")
    chat.enter("/retry")
    chat.wait_for(lambda text: text.count("allows longer") == 2)
    chat.enter("/save talk.md")
    chat.wait_for("saved to")
    saved = (tmp_path / "talk.md").read_text()
    assert saved.startswith("# one\n\n## System\n\nBe brief.\n\n## User\n\none\n\n## Assistant")
    assert saved.endswith("\n\n1 2 3 \n") and saved.count("1 2 3") == 1
    chat.enter("/save talk.md")
    chat.wait_for(lambda text: "exists; choose another name" in flat(text))
    chat.enter("/load synthetic:?tps=0")
    chat.wait_for("/model synthetic asks it")
    chat.enter("/new")
    chat.wait_for("a new conversation")
    chat.enter("/set temprature 1")
    chat.wait_for("there is no option 'temprature'")
    chat.enter("/nonsense")
    chat.wait_for("there is no command /nonsense")
    chat.enter("/model nonsense")
    chat.wait_for("the server has no model nonsense")
    chat.enter("/quit")
    assert chat.wait_end() == 0


def test_server_errors_are_words(server: ServerProcess, open_chat: OpenChat) -> None:
    """What the server refuses is shown in words, and the conversation goes on without it."""
    chat = talking(open_chat(server.ws_url, "--set", "temperature=7"))
    chat.enter("What?")
    chat.wait_for(lambda text: "error:" in text and "temperature" in text)
    assert "Traceback" not in chat.text
    chat.enter("/set temperature 0")
    chat.wait_for("temperature = 0")
    chat.enter("/retry")
    chat.wait_for("nothing was asked yet")
    chat.press("d")
    assert chat.wait_end() == 0


def test_queue_position_is_shown(start_server: StartServer, open_chat: OpenChat) -> None:
    """Whoever waits sees their place, and the answer when it is their turn."""
    server = start_server("--model", "one=synthetic:?tps=50&slots=1&ttft_ms=0")
    first = talking(open_chat(server.ws_url, "--set", "max_tokens=100000"))
    first.enter("long")
    first.wait_for("1 2 3")
    second = talking(open_chat(server.ws_url, "--set", "max_tokens=5"))
    second.enter("short")
    second.wait_for("waiting, place 1 in the queue")
    first.press("c")
    first.wait_for("■ stopped")
    second.wait_for("1 2 3 4 5")


def test_room_shows_everybody(server: ServerProcess, open_chat: OpenChat) -> None:
    """Two people talk and ask in a room; both see words, names, the same answer, and who leaves."""
    ann = talking(open_chat(server.ws_url, "--user", "Ann", "--room", "hall"))
    ann.wait_for("room hall: 1 person")
    bob = talking(open_chat(server.ws_url, "--user", "Bob"))
    bob.enter("/room hall")
    bob.wait_for("room hall: 2 people")
    ann.wait_for("Bob came")
    bob.enter("Good evening!")
    ann.wait_for("Bob: Good evening!")
    ann.type("still typing")
    bob.enter("?How many are we?")
    ann.wait_for("Bob asks: How many are we?")
    ann.wait_for("1 2 3 4 5")
    assert "still typing" in ann.visible
    bob.wait_for("1 2 3 4 5")
    bob.press("c")
    bob.wait_for("■ stopped by you")
    ann.wait_for("■ stopped by Bob")
    bob.enter("/leave")
    bob.wait_for("left the room hall")
    ann.wait_for("Bob left")
    bob.enter("/room hall")
    bob.wait_for(lambda text: text.count("room hall: 2 people") == 2)
    bob.press("d")
    assert bob.wait_end() == 0
    ann.wait_for(lambda text: text.count("Bob left") == 2)


def test_a_second_terminal_has_its_users_name(server: ServerProcess, open_chat: OpenChat) -> None:
    """A user's second client is told to nobody, and what it asks is still shown under the name."""
    ann = talking(open_chat(server.ws_url, "--user", "Ann", "--room", "tabs"))
    ann.wait_for("room tabs: 1 person")
    for _ in range(2):
        bob = talking(open_chat(server.ws_url, "--user", "Bob", "--room", "tabs"))
        bob.wait_for("room tabs: 2 people")
    bob.enter("?How many are we?")
    ann.wait_for("Bob asks: How many are we?")
    assert ann.text.count("Bob came") == 1


def test_killed_terminal_keeps_its_place(server: ServerProcess, open_chat: OpenChat) -> None:
    """Nobody is told of a terminal that died, nor of the next one of its user: also where the tests
    run without hangups, as under ``nohup``."""
    ann = talking(open_chat(server.ws_url, "--user", "Ann", "--room", "ward"))
    ann.wait_for("room ward: 1 person")
    heeded = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        first = talking(open_chat(server.ws_url, "--user", "Bob", "--room", "ward"))
    finally:
        signal.signal(signal.SIGHUP, heeded)
    first.wait_for("room ward: 2 people")
    first.kill()
    second = talking(open_chat(server.ws_url, "--user", "Bob", "--room", "ward"))
    second.wait_for("room ward: 2 people")
    second.enter("I am back")
    told = ann.wait_for("Bob: I am back")
    assert told.count("Bob came") == 1
    assert "Bob left" not in told


def test_room_is_run_from_the_prompt(server: ServerProcess, open_chat: OpenChat) -> None:
    """Roles, settings, invites and kicks by command; who is thrown out has the prompt again."""
    ann = talking(open_chat(server.ws_url, "--user", "Ann", "--room", "club"))
    ann.wait_for("room club: 1 person")
    ann.enter("/rule access invited")
    ann.wait_for("settings: access invited")
    bob = talking(open_chat(server.ws_url, "--user", "Bob"))
    bob.enter("/room club")
    bob.wait_for("invited users")
    ann.enter("/invite viewer")
    ann.wait_for("invite: /enter club")
    invite = re.search(r"/enter club (\S+)", ann.visible)
    assert invite is not None
    bob.enter(f"/enter club {invite[1]}")
    bob.wait_for("room club: 2 people")
    bob.enter("hello")
    bob.wait_for("does not let you write here")
    ann.enter("/role bob member")
    bob.wait_for("is member now")
    ann.enter("/people")
    ann.wait_for("owner")
    ann.enter("/kick bob")
    bob.wait_for("left (kicked)")
    bob.enter("/people")
    bob.wait_for("this is no room")


def test_restart_of_the_server_is_survived(start_server: StartServer, open_chat: OpenChat) -> None:
    """When the server goes, the client says so, keeps the prompt, and goes on when it is back."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    server = start_server("--port", port)
    chat = talking(open_chat(server.ws_url, "--private", "--set", "max_tokens=100000"))
    chat.enter("long")
    chat.wait_for("1 2 3")
    server.kill()
    chat.wait_for("offline: connection lost")
    chat.wait_for(lambda _: "○ offline" in chat.visible or "○ connecting" in chat.visible)
    chat.enter("/stats")
    chat.wait_for("none yet")
    start_server("--port", port)
    chat.wait_for("connected again")
    text = chat.wait_for("error: the connection was lost")
    assert text.count("reconnecting") == 1  # however many attempts it took
    chat.enter("/set max_tokens 7")
    chat.enter("again")
    chat.wait_for(lambda text: "1 2 3 4 5 6 7" in text.split("> again")[-1])
    chat.press("d")
    assert chat.wait_end() == 0
    assert "Traceback" not in chat.text


def test_final_close_ends_the_program(open_chat: OpenChat) -> None:
    """A server that sends the client away for good is not asked again: words, and exit code 1."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.expect("models")
        await peer.close(4505, "kicked by the owner")

    with staged_in_thread(script) as url:
        chat = open_chat(url, "--private")
        assert chat.wait_end() == 1
    assert "the connection has ended: kicked by the owner" in flat(chat.text)
    assert "Traceback" not in chat.text


def test_model_cannot_steer_the_terminal(open_chat: OpenChat) -> None:
    """Escape sequences in an answer are shown as text, wherever pieces cut them; marks are not."""
    pieces = ["# Title\n\nA **bo", "ld** \x1b", "]0;EVIL\x07 and \x9b2J `code`\r", "\nlast\n"]

    async def script(peer: Peer) -> None:
        await peer.greet()
        asked = await peer.expect("models")
        await peer.send({"type": "models_list", "requestId": asked["requestId"], "models": []})
        asked = await peer.expect("stream")
        await peer.start(asked)
        offset = 0
        for piece in pieces:
            offset += len(piece.encode())
            await peer.token(piece, offset)
        await peer.complete(offset)
        await peer.closed()

    with staged_in_thread(script) as url:
        chat = talking(open_chat(url, "--private"))
        chat.enter("go")
        text = chat.wait_for("last")
        chat.press("d")
        assert chat.wait_end() == 0
    assert "Title\n\nA bold ␛]0;EVIL␇ and \ufffd2J code\nlast" in text
    assert b"EVIL\x07" not in chat.raw and b"\xc2\x9b" not in chat.raw


def test_history_is_kept_for_the_next_time(
    server: ServerProcess, open_chat: OpenChat, tmp_path: Path
) -> None:
    """What was asked can be called up again after a restart, and only its owner can read it."""
    chat = talking(open_chat(server.ws_url, "--set", "max_tokens=2"))
    chat.enter("remember me")
    chat.wait_for("allows longer")
    chat.press("d")
    assert chat.wait_end() == 0
    history = tmp_path / "state" / "wsserver" / "chat_history"
    assert "remember me" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0
    again = talking(open_chat(server.ws_url))
    again.type("\x1b[A")
    again.wait_for("> remember me")


def test_unreachable_server_is_said_in_a_sentence(open_chat: OpenChat) -> None:
    """No server: one sentence with what to do, and exit code 1."""
    chat = open_chat("ws://127.0.0.1:9")
    assert chat.wait_end() == 1
    assert "cannot reach ws://127.0.0.1:9" in flat(chat.text)
    assert "wsserver serve" in flat(chat.text)
    assert "Traceback" not in chat.text


@pytest.mark.parametrize("arguments", [["--url"], ["--set", "x"], ["--set", "nope=1"]])
def test_wrong_arguments_are_explained(open_chat: OpenChat, arguments: list[str]) -> None:
    """Exit code 2 and the usage."""
    chat = open_chat(*arguments)
    assert chat.wait_end() == 2
    assert "usage: wsserver chat" in chat.text
