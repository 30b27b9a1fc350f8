"""Special tokens in a text: found where they are meant, kept out where a user merely wrote them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from tropilla.errors import RequestError

# Noncharacters never occur in interchanged text (Unicode 23.7), so one of them is free for a guard.
_NONCHARACTERS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


class SpecialTokens:
    """Split a text at the special tokens written in it.

    ids maps each special token's text to its id.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = dict(ids)
        # Longest first: "<|end|>" must not hide "<|end|>>".
        longest_first = sorted(filter(None, ids), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def split(self, text: str) -> Iterator[str | int]:
        """Yield the text between special tokens as strings, and each special token as its id."""
        start = 0
        for match in self._pattern.finditer(text) if self._pattern else ():
            if match.start() > start:
                yield text[start : match.start()]
            yield self._ids[match[0]]
            start = match.end()
        if start < len(text):
            yield text[start:]


class Guard:
    """Break the special tokens that users wrote, so that only the template's own are parsed.

    A mark is put after the first character of each special token inside a user's text; templates still
    see (and may trim, split or compare) the text, and `remove` takes the marks out once the rendered
    prompt has been split at the special tokens that remain.
    """

    def __init__(self, specials: Iterable[str], texts: Iterable[str]) -> None:
        used = set().union(*map(set, texts))
        free = [mark for mark in _NONCHARACTERS if mark not in used]
        if not free:
            raise RequestError("the messages use every Unicode noncharacter; remove at least one of them")
        self.mark = free[0]
        specials = sorted(filter(None, specials), key=len, reverse=True)
        self._whole = re.compile("|".join(map(re.escape, specials)) or r"(?!)")
        # Two texts that a template puts side by side must not form a special token together either.
        self._prefixes = tuple({special[:n] for special in specials for n in range(1, len(special))})

    def apply(self, text: str) -> str:
        """Return the text with its special tokens broken by the mark."""
        broken = self._whole.sub(lambda match: match[0][0] + self.mark + match[0][1:], text)
        if not broken.endswith(self._prefixes):
            return broken
        start = min(len(broken) - len(p) for p in self._prefixes if broken.endswith(p))
        return broken[: start + 1] + self.mark + broken[start + 1 :]

    def apply_deep(self, value: object) -> object:
        """Return a copy of JSON-like data with every string in it guarded, keys included."""
        if isinstance(value, str):
            return self.apply(value)
        if isinstance(value, Mapping):
            return {self.apply_deep(key): self.apply_deep(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.apply_deep(item) for item in value]
        return value

    def remove(self, text: str) -> str:
        """Return the text without marks."""
        return text.replace(self.mark, "")


def strings_in(value: object) -> Iterator[str]:
    """Yield every string in JSON-like data, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings_in(key)
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)
