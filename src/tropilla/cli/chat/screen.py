"""Write to the terminal: the model's words, Tropilla's own, and errors, each in its look."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TextIO

from tropilla.cli.chat.markdown import RESET, MarkdownStyler, visible
from tropilla.cli.chat.word_wrap import WordWrapper, wrapped

_DIM, _RED = "\x1b[2m", "\x1b[31m"
_ERASE_LINE = "\r\x1b[K"


class Screen:
    """Write to a stream, in colours where it is a terminal that has them and NO_COLOR is not set.

    width: the terminal's, to break lines between words; None leaves every line as it is.
    """

    def __init__(self, out: TextIO, *, colour: bool, width: Callable[[], int] | None = None) -> None:
        self._out = out
        self._colour = colour
        self._width = width
        self._wrapper: WordWrapper | None = None
        self._styler: MarkdownStyler | None = None
        self._at_line_start = True
        self._busy = ""

    def say(self, text: str) -> None:
        """Write a text of Tropilla's own on lines of its own."""
        self._write(f"{self._wrapped(text)}\n")

    def whisper(self, text: str) -> None:
        """Write a side remark, dimmed."""
        self._styled(_DIM, text)

    def complain(self, text: str) -> None:
        """Write what went wrong."""
        self._styled(_RED, text)

    def busy(self, text: str) -> None:
        """Write a passing remark that the next writing replaces; nothing where a line cannot be erased."""
        if self._colour and self._at_line_start and text != self._busy:
            self._busy = ""
            self._out.write(f"{_ERASE_LINE}{_DIM}{text}{RESET}")
            self._out.flush()
            self._busy = text

    def clear_busy(self) -> None:
        """Take the passing remark away, whoever writes next."""
        self._write("")

    def answer(self, text: str) -> None:
        """Write the next words of the model."""
        if self._styler is None:
            self._styler = MarkdownStyler()
            self._wrapper = WordWrapper(self._width) if self._width else None
        shown = visible(text)
        self._flow(self._styler.push(shown) if self._colour else shown)
        self._at_line_start = text.endswith("\n") if text else self._at_line_start

    def end_answer(self) -> None:
        """Finish the answer: what was held back, the normal style, a line end if it had none."""
        if self._styler is not None and self._colour:
            self._flow(self._styler.flush())
        if self._wrapper is not None:
            self._write(self._wrapper.flush())
        self._styler = self._wrapper = None
        self._write("" if self._at_line_start else "\n")
        self._at_line_start = True

    def _flow(self, text: str) -> None:
        self._write(self._wrapper.push(text) if self._wrapper is not None else text)

    def _styled(self, style: str, text: str) -> None:
        self._write(f"{style}{self._wrapped(text)}{RESET}\n" if self._colour else f"{self._wrapped(text)}\n")

    def _wrapped(self, text: str) -> str:
        return wrapped(visible(text), self._width()) if self._width else visible(text)

    def _write(self, text: str) -> None:
        if self._busy:
            self._out.write(_ERASE_LINE)
            self._busy = ""
        self._out.write(text)
        self._out.flush()


def terminal_screen() -> Screen:
    """Return a screen on standard output."""
    width = _terminal_width if sys.stdout.isatty() else None
    return Screen(sys.stdout, colour=has_colours(sys.stdout), width=width)


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns


def has_colours(stream: TextIO) -> bool:
    """Return whether a stream is a terminal that takes colours, and the user has not declined them."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.platform != "win32" or _enable_windows_colours()


def _enable_windows_colours() -> bool:
    """Make a Windows console understand escape sequences; return whether it does."""
    if sys.platform != "win32":
        return True
    import ctypes

    standard_output, virtual_terminal = -11, 0x0004
    kernel32 = ctypes.windll.kernel32
    handle = kernel32.GetStdHandle(standard_output)
    mode = ctypes.c_uint32()
    if not kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
        return False
    return bool(kernel32.SetConsoleMode(handle, mode.value | virtual_terminal))
