"""Read the file that `/read FILE [QUESTION]` names."""

from __future__ import annotations

from pathlib import Path

from tropilla.errors import DataError, OptionError, RequestError

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


def read_text(path: Path, *, limit_tokens: int) -> str:
    """Return a UTF-8 file's text; raise RequestError or DataError for what is no text that could fit."""
    if not path.is_file():
        raise RequestError(f"{path}: no such file; quote a path that has spaces")
    size = path.stat().st_size
    if size > limit_tokens * _MOST_BYTES_A_TOKEN:
        raise RequestError(f"{path}: {size} bytes cannot fit a context of {limit_tokens} tokens")
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(path, f"is no UTF-8 text: {error.reason} at byte {error.start}") from error
