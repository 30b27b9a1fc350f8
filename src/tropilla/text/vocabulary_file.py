"""Take a vocabulary's parts from a file that may be broken."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tropilla.errors import FormatError

_LARGEST = 256 << 20  # ten times the largest vocabulary in use; a weights file given by mistake is not read


def read_vocabulary_file(path: Path) -> bytes:
    """Return the file's bytes; raises FormatError if it cannot be read or is absurdly large."""
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise FormatError(path, f"is {size} bytes long, too long for a vocabulary")
        return path.read_bytes()
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror})") from None


def vocabulary_text(path: Path, entry: str | bytes) -> str:
    """Return an entry of a vocabulary as text; raises FormatError if it is none."""
    try:
        return entry.decode() if isinstance(entry, bytes) else entry
    except UnicodeDecodeError:
        raise FormatError(path, f"the vocabulary holds {entry!r}, which is not valid UTF-8") from None


def vocabulary_texts(path: Path, entries: Iterable[str | bytes]) -> list[str]:
    """Return all entries as texts; raises FormatError if one is none."""
    texts = list(entries)
    if set(map(type, texts)) <= {str}:  # a vocabulary has hundreds of thousands, nearly always texts
        return texts  # type: ignore[return-value]  # just checked
    return [vocabulary_text(path, entry) for entry in texts]
