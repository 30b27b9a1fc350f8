"""Colour Markdown as it streams in, without adding, moving or losing a character of it."""

from __future__ import annotations

from enum import Enum

RESET = "\x1b[0m"

_DELIMITERS = "*_`#~"
_BOLD, _ITALIC = "1", "3"
_CODE, _HEADING, _FENCE = "36", "1;35", "2"
_EMPHASIS = {1: {_ITALIC}, 2: {_BOLD}, 3: {_BOLD, _ITALIC}}


class _Block(Enum):
    TEXT = "text"
    HEADING = "heading"
    FENCE_LINE = "the line that opens or closes a fence"
    CODE = "code between fences"


class MarkdownStyler:
    """Put terminal colours into streamed Markdown; without them the output is the input.

    Only a run of delimiters at the end of what has come so far is held back, until the next
    character says what it means. Spans end at the latest with their line, so that one stray
    delimiter cannot colour the rest of an answer.
    """

    def __init__(self) -> None:
        self._out: list[str] = []
        self._shown = ""  # the style that the terminal is in
        self._run = ""  # delimiters whose meaning is still open
        self._before = "\n"  # the character before the run
        self._indent_only = True  # nothing but spaces on this line so far
        self._escaped = False
        self._block = _Block.TEXT
        self._after_line = _Block.TEXT
        self._fence = ""
        self._emphasis: set[str] = set()
        self._code_span = ""

    def push(self, text: str) -> str:
        """Take the next piece of the answer and return what can be shown of it now, coloured."""
        for char in text:
            self._take(char)
        return self._drain()

    def flush(self) -> str:
        """Return what was held back, and leave the terminal in its normal style."""
        self._settle("")
        self._set_style("")
        return self._drain()

    def _drain(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        return text

    def _take(self, char: str) -> None:
        if self._run and char == self._run[0] and not self._escaped:
            self._run += char
            return
        self._settle(char)
        if char in _DELIMITERS and not self._escaped:
            self._run = char
            return
        self._escaped = char == "\\" and not self._escaped and not self._in_code()
        if char == "\n":
            self._end_line()
        else:
            self._emit(char)

    def _in_code(self) -> bool:
        return bool(self._code_span) or self._block is _Block.CODE

    def _end_line(self) -> None:
        self._emphasis.clear()
        self._code_span = ""
        if self._block is not _Block.CODE:
            self._block = self._after_line
        self._set_style("")
        self._emit_plain("\n")
        self._indent_only = True

    def _settle(self, following: str) -> None:
        """Decide what the pending run of delimiters means, now that the next character is known."""
        run, self._run = self._run, ""
        if not run:
            return
        if self._indent_only and self._starts_block(run, following):
            self._emit(run)
        elif run[0] == "`":
            self._backticks(run)
        elif run[0] in "*_" and self._block is not _Block.CODE and not self._code_span:
            self._stars(run, following)
        else:
            self._emit(run)

    def _starts_block(self, run: str, following: str) -> bool:
        if self._block is _Block.CODE:
            if not run.startswith(self._fence):
                return False
            self._block, self._after_line = _Block.FENCE_LINE, _Block.TEXT
        elif run[0] in "`~" and len(run) >= 3:
            self._fence = run
            self._block, self._after_line = _Block.FENCE_LINE, _Block.CODE
        elif run[0] == "#" and len(run) <= 6 and following in (" ", "\n", ""):
            self._block = _Block.HEADING
        else:
            return False
        return True

    def _backticks(self, run: str) -> None:
        if self._block is _Block.FENCE_LINE and self._after_line is _Block.CODE:
            # A fence's opening line has no second run of backticks: it was a span all along.
            self._block = self._after_line = _Block.TEXT
            self._emit(run)
        elif self._block is _Block.CODE or (self._code_span and run != self._code_span):
            self._emit(run)
        elif self._code_span:
            self._emit(run)
            self._code_span = ""
        else:
            self._code_span = run
            self._emit(run)

    def _stars(self, run: str, following: str) -> None:
        """Open or close emphasis by CommonMark's flanking rules, told from the characters on both sides."""
        spans = _EMPHASIS.get(len(run), set())
        can_open = bool(following) and not following.isspace()
        can_close = not self._before.isspace()
        if run[0] == "_":  # snake_case is no emphasis
            can_open = can_open and not self._before.isalnum()
            can_close = can_close and not following.isalnum()
        if spans and spans <= self._emphasis and can_close:
            self._emit(run)
            self._emphasis -= spans
            return
        if can_open:
            self._emphasis |= spans
        self._emit(run)

    def _style(self) -> str:
        if self._block is _Block.HEADING:
            return _HEADING
        if self._block is _Block.FENCE_LINE:
            return _FENCE
        if self._in_code():
            return _CODE
        return ";".join(sorted(self._emphasis))

    def _emit(self, text: str) -> None:
        self._set_style(self._style())
        self._emit_plain(text)
        self._indent_only = self._indent_only and text == " "

    def _emit_plain(self, text: str) -> None:
        self._out.append(text)
        self._before = text[-1]

    def _set_style(self, style: str) -> None:
        if style != self._shown:
            self._out.append(
                RESET if not style else f"{RESET}\x1b[{style}m" if self._shown else f"\x1b[{style}m"
            )
            self._shown = style


def visible(text: str) -> str:
    """Replace control characters by their Unicode pictures, so that an answer cannot steer the terminal.

    Line feeds and tabs stay. An escape sequence printed as it comes could clear the screen, set
    the clipboard or answer a prompt in the user's name.
    """
    return text.translate(_PICTURES)


_PICTURES = {
    **{code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}
