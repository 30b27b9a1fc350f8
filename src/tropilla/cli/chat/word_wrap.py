"""Break lines between words, also while the words are still coming in."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable

_STYLE_OR_CHARACTER = re.compile(r"\x1b\[[0-9;]*m|.", re.DOTALL)
_BULLET = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+|\s*")
_COLUMNS = re.compile(r" {2,}")


class WordWrapper:
    """Put a line end in place of the space before a word that would not fit; code stays as it is.

    width: asked at the start of each line, so that a resized window counts. Styles, as escape
    sequences, take no room. A word is held back until it is whole.
    """

    def __init__(self, width: Callable[[], int]) -> None:
        from prompt_toolkit.utils import get_cwidth  # here: a chat through a pipe never needs it

        self._character_width = get_cwidth
        self._width_now = width
        self._in_code = False
        self._word, self._word_width = "", 0
        self._out: list[str] = []
        self._width = self._column = self._indent = 0
        self._line, self._spaces = "", ""
        self._begin_line()

    def push(self, text: str) -> str:
        """Take the next piece of text and return what can be shown of it now."""
        for unit in _STYLE_OR_CHARACTER.findall(text):
            if unit == "\n":
                self._end_line()
            elif unit == " ":
                self._place_word()
                self._spaces += unit
            else:
                self._add(unit)
        return self._drain()

    def flush(self) -> str:
        """Return what was held back."""
        self._place_word()
        self._out.append(self._spaces)
        self._spaces = ""
        return self._drain()

    def _add(self, unit: str) -> None:
        self._word += unit
        width = 0 if unit[0] == "\x1b" else max(0, self._character_width(unit))
        self._word_width += width
        if width == 2:  # between ideographs any place is good for a line end
            self._place_word(may_break=True)
        elif self._word_width >= self._width:  # too long for any line: the terminal breaks it
            self._place_word()

    def _place_word(self, *, may_break: bool = False) -> None:
        if not self._word:
            return
        end = self._column + len(self._spaces) + self._word_width
        if end > self._width and (self._spaces or may_break) and self._column and not self._in_code:
            self._spaces = "\n" + " " * self._indent
            end = self._indent + self._word_width
        self._out += [self._spaces, self._word]
        self._line += self._spaces + self._word
        self._column = end if end <= self._width else end % self._width
        self._spaces, self._word, self._word_width = "", "", 0
        self._indent = self._indent or self._hanging_indent()

    def _hanging_indent(self) -> int:
        """Return where the text of a list's item begins, for the lines that follow its first."""
        bullet = _BULLET.match(self._line + " ")
        return bullet.end() if bullet and bullet.end() <= self._width // 2 else 0

    def _end_line(self) -> None:
        self._place_word()
        self._out.append(self._spaces + "\n")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", self._line).lstrip()
        self._in_code ^= plain.startswith(("```", "~~~"))
        self._begin_line()

    def _begin_line(self) -> None:
        self._width = max(self._width_now(), 20)
        self._line, self._spaces = "", ""
        self._column = self._indent = 0

    def _drain(self) -> str:
        text = "".join(self._out)
        self._out.clear()
        return text


def wrapped(text: str, width: int) -> str:
    """Return a text of our own with its long lines broken; a table's last column stays a column."""
    return "\n".join(_wrapped_line(line, width) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    last_column = max((gap.end() for gap in _COLUMNS.finditer(line)), default=0)
    indent = last_column if 3 * last_column <= 2 * width else 0
    body = textwrap.wrap(line[indent:], width - indent, break_long_words=False, break_on_hyphens=False)
    return line[:indent] + ("\n" + " " * indent).join(body)
