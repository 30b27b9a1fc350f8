"""Watch a stream of text for strings that end it, or that must not appear in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Emission(NamedTuple):
    """Text that may be shown now, and the stop string that ended the stream, if one did."""

    text: str
    stop: str | None


class StopMatcher:
    """Pass text on until a stop string is complete; the stop string and what follows it never show.

    How the text is cut into pushes makes no difference: the stop that is complete first wins, and of
    those complete at the same character the longest.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(sorted(filter(None, stops), key=len, reverse=True))
        self._held = ""
        self._stopped: str | None = None

    def push(self, text: str) -> Emission:
        """Take more text; holds back what could still become a stop string."""
        if self._stopped is not None:
            return Emission("", self._stopped)
        text, self._held = self._held + text, ""
        ends = [(at + len(stop), at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            _, at, self._stopped = min(ends)
            return Emission(text[:at], self._stopped)
        n_safe = _first_prefix(text, self._stops)
        text, self._held = text[:n_safe], text[n_safe:]
        return Emission(text, None)

    def flush(self) -> str:
        """Return what was held back, once no more text will come."""
        held, self._held = self._held, ""
        return held


class BannedEmission(NamedTuple):
    """Text that may be shown now, and how many of the last pieces must be taken back."""

    text: str
    n_rewind: int


class BannedStringMatcher:
    """Hold back pieces of text, one for each token, until they cannot be part of a banned string.

    On a hit the tokens from the one in which the string begins are to be taken back, that token is to be
    banned at its place, and generation goes on from there. Upper and lower case are the same.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._banned = tuple(_folded(string) for string in strings if string)
        self._longest = max(map(len, self._banned), default=1)
        self._pieces: list[str] = []
        self._shown_end = ""  # text that is out, in which a string may yet begin after a rewind

    def push(self, piece: str) -> BannedEmission:
        """Take the text of one more token, "" if it completes no character.

        With n_rewind > 0 that many of the last tokens, this one included, are forgotten here as well.
        """
        self._pieces.append(piece)
        text = self._folded_text()
        hits = [at for banned in self._banned if (at := text.find(banned)) >= 0]
        keep = self._pieces_before(min(hits) - len(self._shown_end)) if hits else len(self._pieces)
        n_rewind = len(self._pieces) - keep
        del self._pieces[keep:]
        n_safe = _first_prefix(self._folded_text(), self._banned) - len(self._shown_end)
        return BannedEmission(self._release(self._pieces_before(n_safe)), n_rewind)

    @property
    def n_held(self) -> int:
        """Return how many of the last pieces are held back."""
        return len(self._pieces)

    def flush(self) -> str:
        """Return what was held back, once no more text will come."""
        return self._release(len(self._pieces))

    def _folded_text(self) -> str:
        return _folded(self._shown_end + "".join(self._pieces))

    def _release(self, n_pieces: int) -> str:
        """Give out whole pieces only, for a piece that begins before a hit must not be shown either."""
        shown = "".join(self._pieces[:n_pieces])
        del self._pieces[:n_pieces]
        self._shown_end = (self._shown_end + shown)[1 - self._longest :] if self._longest > 1 else ""
        return shown

    def _pieces_before(self, position: int) -> int:
        """Return how many pieces end at or before a position; empty ones there go with the next.

        A token with no text of its own begins the character that the next piece completes.
        """
        end = n_pieces = 0
        for number, piece in enumerate(self._pieces, start=1):
            end += len(piece)
            if end > position:
                break
            if piece:
                n_pieces = number
        return n_pieces


def _first_prefix(text: str, strings: Sequence[str]) -> int:
    """Return where the longest end of text that begins one of the strings starts; len(text) if none does."""
    longest = max(map(len, strings), default=1) - 1
    for start in range(max(0, len(text) - longest), len(text)):
        if any(string.startswith(text[start:]) for string in strings):
            return start
    return len(text)


def _folded(text: str) -> str:
    """Return text in lower case, of the same length: "İ" would become two characters."""
    return "".join(lower if len(lower := character.lower()) == 1 else character for character in text)
