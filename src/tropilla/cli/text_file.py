"""Read the texts that a user hands over: files and standard input, UTF-8."""

from __future__ import annotations

import sys
from pathlib import Path

from tropilla.errors import DataError, RequestError


def read_text(path: Path) -> str:
    """Return a file's text; raise RequestError if there is no such file, DataError if it is no UTF-8."""
    if not path.is_file():
        raise RequestError(f"{path}: no such file")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, f"is no UTF-8 text: {error.reason} at byte {error.start}") from error


def read_stdin() -> str:
    """Return all of standard input but its last line end; raise DataError if it is no UTF-8."""
    try:
        return without_last_line_end(sys.stdin.read())
    except UnicodeDecodeError as error:
        reason = f"is no UTF-8 text: {error.reason} at byte {error.start}"
        raise DataError("standard input", reason) from error


def without_last_line_end(text: str) -> str:
    """Return the text without the line end that editors and `echo` put after the last line."""
    return text.removesuffix("\n").removesuffix("\r")
