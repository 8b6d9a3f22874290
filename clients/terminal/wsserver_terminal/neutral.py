"""Text that may be shown: what a model, a server or another person wrote cannot steer a terminal.

Everything that is shown and was not written here passes through `neutral`. It works character
by character, so it makes no difference where a piece of text was cut.
"""

from __future__ import annotations

from typing import Final

_VISIBLE_CONTROLS: Final = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}

_TABLE: Final[dict[int, int | None]] = {
    **_VISIBLE_CONTROLS,  # ESC becomes the sign for "escape": seen, and without effect
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),  # 0x9B alone begins a control sequence
    # Directions that outlast their text would turn what follows, the prompt included.
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),  # not encodable: printing would raise
    **dict.fromkeys((0x2028, 0x2029), 0x0A),
    0x09: 0x09,
    0x0A: 0x0A,
    0x0D: None,
}


def harmless(text: str) -> str:
    """``text`` with every control character but the line feed and the tab made visible."""
    return text.translate(_TABLE)


def neutral(text: str) -> str:
    """The same for a place on the screen, where a tab would jump."""
    return harmless(text).replace("\t", "    ")


def neutral_line(text: str) -> str:
    """The same for one line: a name, a title, an error."""
    return " ".join(neutral(text).split())
