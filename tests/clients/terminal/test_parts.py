"""The pure parts of the terminal client: marks to styles, words to lines, what is harmless."""

from __future__ import annotations

import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wsserver_client import StreamResult
from wsserver_terminal.ages import age
from wsserver_terminal.arguments import full_url, option_name, option_value, parse_arguments
from wsserver_terminal.conversation import Conversation
from wsserver_terminal.identity import known_user
from wsserver_terminal.ink import Ink, Run, Style
from wsserver_terminal.lines import LineMaker
from wsserver_terminal.neutral import harmless, neutral, neutral_line
from wsserver_terminal.stats import Stats

MARKDOWN = st.text(alphabet=st.sampled_from("ab *`#->~1\n"), max_size=60)


def inked(*pieces: str) -> list[tuple[str, Style]]:
    """Style of every character."""
    ink = Ink()
    runs = [run for piece in pieces for run in ink.feed(piece)] + ink.finish()
    return [(char, run.style) for run in runs for char in run.text]


@given(MARKDOWN, st.data())
def test_ink_is_the_same_however_text_is_cut(text: str, data: st.DataObject) -> None:
    """Where a piece ends makes no difference to what is shown."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    bounds = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]
    assert inked(*pieces) == inked(text)


@given(st.text(alphabet="ab 1.\n", max_size=80))
def test_text_without_marks_is_unchanged(text: str) -> None:
    """What has no marks is shown as it was written."""
    assert "".join(char for char, _ in inked(text)) == text


def test_marks_become_styles() -> None:
    """Bold, code, headings, bullets, quotes and fences; stars and backticks elsewhere stay."""

    def shown(text: str) -> list[Run]:
        ink = Ink()
        return ink.feed(text) + ink.finish()

    assert shown("a **b** c") == [Run("a "), Run("b", Style.BOLD), Run(" c")]
    assert shown("use `x*y`!") == [Run("use "), Run("x*y", Style.CODE), Run("!")]
    assert shown("## Head") == [Run("Head", Style.HEADING)]
    assert shown("- item") == [Run("• item")]
    assert shown("> said") == [Run("▏ ", Style.MARK), Run("said")]
    assert shown("2 * 3 ** 4") == [Run("2 * 3 ** 4")]
    assert shown("#no heading") == [Run("#no heading")]
    assert shown("```py\nx = **y**\n```\n*") == [
        Run("```py", Style.MARK, is_block=True),
        Run("\n"),
        Run("x = **y**", Style.BLOCK, is_block=True),
        Run("\n"),
        Run("```", Style.MARK, is_block=True),
        Run("\n"),
        Run("*"),
    ]


@given(st.lists(st.text(alphabet="abc \n", max_size=30), max_size=10), st.integers(20, 40))
def test_lines_keep_every_character_and_fit(pieces: list[str], width: int) -> None:
    """No line is wider than the screen, and only blanks at a break are left out."""
    maker = LineMaker(width)
    lines = []
    for piece in pieces:
        lines += maker.feed(Ink().feed(piece) if not piece else _plain(piece))
    lines += maker.finish()
    texts = ["".join(run.text for run in line) for line in lines]
    assert all(len(text) <= width for text in texts)
    assert "".join("".join(texts).split()) == "".join("".join(pieces).split())


def _plain(text: str) -> list[Run]:
    runs = []
    for number, line in enumerate(text.split("\n")):
        if number:
            runs.append(Run("\n"))
        if line:
            runs.append(Run(line))
    return runs


def test_words_are_broken_between_and_long_ones_within() -> None:
    """A word that fits a line is never cut; one that fits none is."""
    maker = LineMaker(20)
    lines = maker.feed([Run("the quick brown fox jumps " + "x" * 45 + " end")]) + maker.finish()
    texts = ["".join(run.text for run in line).rstrip() for line in lines]
    assert texts[0] == "the quick brown fox"
    assert texts[1] == "jumps"
    assert [len(text) for text in texts[2:4]] == [20, 20]
    assert texts[-1] == "xxxxx end"


def test_wide_characters_count_twice() -> None:
    """Ten wide characters fill a line of twenty."""
    maker = LineMaker(20)
    lines = maker.feed([Run("琴" * 11)]) + maker.finish()
    assert ["".join(run.text for run in line) for line in lines] == ["琴" * 10, "琴"]


@given(st.text())
def test_nothing_can_steer_the_terminal(text: str) -> None:
    """No control character passes but the line feed (and, into files, the tab)."""
    for shown in (neutral(text), harmless(text).replace("\t", "")):
        controls = {char for char in shown if unicodedata.category(char) in ("Cc", "Cs")}
        assert controls <= {"\n"}
    assert "\n" not in neutral_line(text)


def test_escape_sequences_are_seen_and_do_nothing() -> None:
    """The text of a sequence stays, its effect does not, and directions cannot be turned."""
    assert neutral("\x1b[31mred\x07\x9b2J") == "␛[31mred␇\ufffd2J"
    assert neutral("\u202eevil") == "\ufffdevil"
    assert neutral("a\r\nb\tc") == "a\nb    c"


def test_conversation_leaves_out_what_no_longer_fits() -> None:
    """The oldest turns go, never the question itself; the saved file has all of them."""
    talk = Conversation(system="S", context_length=100)
    for number in range(10):
        turn = talk.ask(f"question {number} " + "x" * 40)
        turn.answer = "y" * 40
    assert 0 < talk.left_out < 10
    messages = talk.messages()
    assert messages[0] == {"role": "system", "content": "S"}
    assert messages[1]["role"] == "user"
    assert messages[-2]["content"].startswith("question 9")
    assert talk.markdown().count("**You**") == 10
    while talk.drop_oldest():
        pass
    assert len(talk.messages()) == 3
    assert talk.take_back() is not None
    talk.clear()
    assert (talk.messages(), talk.take_back()) == ([{"role": "system", "content": "S"}], None)


def test_stats_tell_speed_and_first_token() -> None:
    """Figures of the last answer and of all."""
    stats = Stats()
    stats.note(StreamResult("x", "stop", total_tokens=11), 0.5, 1.5)
    assert stats.tokens_per_second == 10.0
    rows = dict(stats.rows())
    assert rows["first token"] == "500 ms" and rows["session"] == "1 answers, 11 tokens"


def test_arguments_come_from_line_and_environment() -> None:
    """The line wins over the environment; addresses may be short."""
    environment = {"WSSERVER_URL": "ws://env:1", "WSSERVER_API_KEY": "key"}
    parsed = parse_arguments(["--user", "ann", "--set", 'stop=["a"]'], environment)
    assert (parsed.url, parsed.api_key, parsed.name) == ("ws://env:1", "key", "ann")
    assert parsed.options == {"stop": ["a"]}
    assert parse_arguments(["box:9"], environment).url == "ws://box:9"
    assert full_url("https://box/x") == "wss://box/x"
    assert option_name("maxTokens") == option_name("max-tokens") == "max_tokens"
    assert (option_value("0.3"), option_value("true"), option_value("word")) == (0.3, True, "word")


def test_ages_are_words() -> None:
    """Each unit is used up to the next one; what lies ahead is now."""
    second, minute, hour, day = 1000, 60_000, 3_600_000, 86_400_000
    expected = {
        -5 * hour: "just now",
        9 * second: "just now",
        10 * second: "10 s ago",
        60 * second: "1 min ago",
        59 * minute: "59 min ago",
        25 * hour: "1 d ago",
        8 * day: "1 w ago",
        800 * day: "2 y ago",
    }
    assert {time: age(time) for time in expected} == expected


def test_programs_that_start_together_make_one_identity(tmp_path: Path) -> None:
    """Whoever is first makes it; all have the same. Where nothing can be kept there is none."""
    environment = {"XDG_STATE_HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: known_user(environment), range(32)))
    assert len(made) == 1 and None not in made
    (tmp_path / "file").touch()
    nowhere = str(tmp_path / "file")
    assert known_user({"XDG_STATE_HOME": nowhere, "LOCALAPPDATA": nowhere}) is None
