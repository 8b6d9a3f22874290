"""GBNF, llama.cpp's form of grammars: whether one can be used, told before llama.cpp sees it.

Decides nothing about what an answer may say. llama.cpp's own parser believes what it reads: a
thousand brackets within each other end its process by a stack that runs over, a count that is
smaller than the one before it fills the memory. So a grammar is read here first, bounded in depth
and in size, and a fault is told with its line.
"""

from __future__ import annotations

from typing import Final

from wsserver.engines.contract import JobRefused
from wsserver.engines.gbnf_rules import GrammarFault, Rule, Sequence, Symbol, check

LLGUIDANCE: Final = "%llguidance"
"""How a grammar begins that is none of GBNF, but of llguidance."""

_MOST_DEPTH: Final = 64  # brackets within brackets
_MOST_TIMES: Final = 2_000  # repetitions that must be there, llama.cpp's own bound
_MOST_DIGITS: Final = 6
# Of the grammar with its repetitions written out, as llama.cpp holds it.
_MOST_ELEMENTS: Final = 100_000
_END_OF_LINE: Final = "\n"

_ESCAPED: Final = frozenset('trn\\"[]-')
_HEX: Final = {"x": 2, "u": 4, "U": 8}  # digits


def checked_gbnf(grammar: str) -> str:
    """``grammar``, which llama.cpp can use.

    Raises:
        JobRefused: ``invalid_parameters``, with what is wrong and on which line.
    """
    fault = fault_of(grammar)
    if fault is not None:
        raise unusable("grammar", fault)
    return grammar


def unusable(option: str, reason: str) -> JobRefused:
    """The refusal of a grammar, an expression or a schema, by the name of its option."""
    message = f"{option} can't be used: {reason}"
    return JobRefused("invalid_parameters", message, field=f"options.{option}")


def fault_of(grammar: str) -> str | None:
    """What is wrong with a grammar, with its line, for people; None: it can be used."""
    try:
        check(_Parser(grammar).parse())
    except GrammarFault as fault:
        return f"line {grammar.count(_END_OF_LINE, 0, fault.at) + 1}: {fault}"
    return None


class _Parser:
    """Reads a grammar into rules. Brackets become rules of names that nobody can write."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self._elements = 0
        self._rules: dict[str, Rule] = {}

    def parse(self) -> dict[str, Rule]:
        """All rules by name.

        Raises:
            GrammarFault: If the text is no grammar, or more than llama.cpp can hold.
        """
        self._skip(lines=True)
        while self._at < len(self._text):
            name = self._name()
            if not name:
                raise self._fault("expected the name of a rule (letters, digits, '-')")
            self._skip()
            if not self._take("::="):
                raise self._fault(f"expected '::=' after {name!r}")
            self._skip(lines=True)
            self._alternatives(name)
            if self._at < len(self._text) and self._text[self._at] not in "\r\n":
                raise self._fault(f"did not expect {self._text[self._at]!r}")
            self._skip(lines=True)
        return self._rules

    def _alternatives(self, name: str) -> None:
        rule = self._rules[name] = Rule(self._at)
        rule.sequences.append(self._sequence())
        while self._take("|"):
            self._skip(lines=True)
            rule.sequences.append(self._sequence())

    def _sequence(self) -> Sequence:
        symbols: Sequence = []
        while (symbol := self._symbol()) is not None:
            symbols.append(symbol)
            self._elements += symbol.elements
            self._skip(lines=self._depth > 0)
            self._repetition(symbol)
            if self._elements > _MOST_ELEMENTS:
                raise self._fault("the grammar is too large with its repetitions written out")
        return symbols

    def _symbol(self) -> Symbol | None:
        if self._take('"'):
            return self._literal()
        if self._take("["):
            return self._class()
        if self._take("("):
            return self._bracket()
        if self._take("."):
            return Symbol()
        if self._take("!"):
            if not self._take("<"):
                raise self._fault("expected a token, <...>, after '!'")
            return self._token()
        if self._take("<"):
            return self._token()
        name = self._name()
        return Symbol(name) if name else None

    def _literal(self) -> Symbol:
        characters = 0
        while not self._take('"'):
            self._character("a text")
            characters += 1
        return Symbol(elements=characters, is_optional=not characters)

    def _class(self) -> Symbol:
        self._take("^")
        characters = 0
        while not self._take("]"):
            first = self._character("a class")
            characters += 1
            if self._text.startswith("-", self._at) and not self._text.startswith("-]", self._at):
                self._at += 1
                if self._character("a class") < first:
                    raise self._fault("a class has a range that runs backwards")
        if not characters:
            raise self._fault("a class has no characters")
        return Symbol(elements=characters)

    def _bracket(self) -> Symbol:
        self._depth += 1
        if self._depth > _MOST_DEPTH:
            raise self._fault(f"more than {_MOST_DEPTH} brackets within each other")
        self._skip(lines=True)
        name = f"({len(self._rules)}"
        self._alternatives(name)
        self._depth -= 1
        if not self._take(")"):
            raise self._fault("expected ')'")
        return Symbol(name)

    def _token(self) -> Symbol:
        end = self._text.find(">", self._at)
        if end <= self._at or "\n" in self._text[self._at : end]:
            raise self._fault("expected a token's name or [number], and '>'")
        self._at = end + 1
        return Symbol()

    def _repetition(self, symbol: Symbol) -> None:
        """``*``, ``+``, ``?``, ``{n}``, ``{n,}`` or ``{n,m}`` after a symbol, if there is one."""
        if self._take("*"):
            symbol.is_optional = symbol.repeats = True
        elif self._take("+"):
            symbol.repeats = True
        elif self._take("?"):
            symbol.is_optional = True
        elif self._take("{"):
            least, most = self._times()
            symbol.is_optional |= least == 0
            symbol.repeats = most is None
            symbol.times = max(least, min(most or 0, _MOST_TIMES))
            self._elements += symbol.elements * symbol.times
        else:
            return
        self._skip(lines=self._depth > 0)

    def _times(self) -> tuple[int, int | None]:
        self._skip(lines=self._depth > 0)
        least: int = self._number()
        self._skip(lines=self._depth > 0)
        most: int | None = least
        if self._take(","):
            self._skip(lines=self._depth > 0)
            is_open = self._text.startswith("}", self._at)
            most = None if is_open else self._number()
            self._skip(lines=self._depth > 0)
        if not self._take("}"):
            raise self._fault("expected '}' after the number of repetitions")
        if least > _MOST_TIMES:
            raise self._fault(f"more than {_MOST_TIMES} repetitions")
        if most is not None and most < max(least, 1):
            raise self._fault("a repetition's larger number is less than its smaller one, or 0")
        return least, most

    def _number(self) -> int:
        start = self._at
        while self._text[self._at : self._at + 1] in _DIGITS:
            self._at += 1
        digits = self._text[start : self._at]
        if not digits:
            raise self._fault("expected a number of repetitions")
        if len(digits) > _MOST_DIGITS:
            raise self._fault("a number of repetitions is too large")
        return int(digits)

    def _character(self, where: str) -> int:
        """The next character within quotes or a class, as its code."""
        if self._at >= len(self._text):
            raise self._fault(f"{where} does not end")
        character = self._text[self._at]
        self._at += 1
        if character == "\0":
            raise self._fault("NUL can't be part of a grammar")
        if character != "\\":
            return ord(character)
        kind = self._text[self._at : self._at + 1]
        self._at += 1
        if kind in _HEX:
            return self._code(_HEX[kind])
        if kind not in _ESCAPED:
            raise self._fault(f"'\\{kind}' is no escape of GBNF")
        return ord({"t": "\t", "r": "\r", "n": "\n"}.get(kind, kind))

    def _code(self, digits: int) -> int:
        text = self._text[self._at : self._at + digits]
        self._at += digits
        if len(text) < digits or not all(digit in _HEX_DIGITS for digit in text):
            raise self._fault(f"expected {digits} hexadecimal digits")
        code = int(text, 16)
        if not 0 <= code < 0x110000 or 0xD800 <= code < 0xE000:
            raise self._fault(f"{text} is no character")
        return code

    def _name(self) -> str:
        start = self._at
        while self._text[self._at : self._at + 1] in _NAME:
            self._at += 1
        return self._text[start : self._at]

    def _take(self, expected: str) -> bool:
        if not self._text.startswith(expected, self._at):
            return False
        self._at += len(expected)
        return True

    def _skip(self, *, lines: bool = False) -> None:
        """White space and comments; ends of lines where ``lines`` says so."""
        space = " \t\r\n" if lines else " \t"
        while self._at < len(self._text):
            character = self._text[self._at]
            if character == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif character in space:
                self._at += 1
            else:
                return

    def _fault(self, message: str) -> GrammarFault:
        return GrammarFault(self._at, message)


# Sets, and not texts: the empty text is in every text.
_DIGITS: Final = frozenset("0123456789")
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_NAME: Final = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")
