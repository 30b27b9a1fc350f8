"""Read the file that `/read FILE [QUESTION]` names."""

from __future__ import annotations

from pathlib import Path

from tropilla.cli.text_file import read_text
from tropilla.errors import OptionError, RequestError

_MOST_BYTES_A_TOKEN = 64  # a longer file cannot fit, and is not worth tokenizing to say so


def parse_read(argument: str) -> tuple[Path, str]:
    """Split the file's path, in quotes if it has spaces, from the question after it."""
    if not argument:
        raise OptionError("/read takes a file: /read FILE [QUESTION]")
    quote = argument[0]
    if quote in "\"'" and quote in argument[1:]:
        path, _, question = argument[1:].partition(quote)
    else:
        path, _, question = argument.partition(" ")
    return Path(path).expanduser(), question.strip()


def read_attachment(path: Path, *, limit_tokens: int) -> str:
    """Return a UTF-8 file's text; raise RequestError or DataError for what is no text that could fit."""
    if path.is_file() and path.stat().st_size > limit_tokens * _MOST_BYTES_A_TOKEN:
        size = path.stat().st_size
        raise RequestError(f"{path}: {size} bytes cannot fit a context of {limit_tokens} tokens")
    return read_text(path)
