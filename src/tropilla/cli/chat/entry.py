"""What the user enters: who reads it, when it is complete, what it says."""

from __future__ import annotations

from typing import Protocol

FENCE = '"""'


class Reader(Protocol):
    """Give the user's entries; EOFError at Ctrl-D, KeyboardInterrupt at Ctrl-C on an empty line."""

    def read(self, prefill: str = "") -> str:
        """Return the next entry, fences taken off; prefill is there to be edited."""


def is_complete(text: str) -> bool:
    """Return whether Enter sends the text; an open fence keeps it for more lines."""
    stripped = text.strip()
    if not stripped.startswith(FENCE):
        return True
    return len(stripped) >= 2 * len(FENCE) and stripped.endswith(FENCE)


def continues(line: str) -> bool:
    r"""Return whether a line ends in a backslash of its own, not in an escaped one: `\` but not `\\`."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def message_of(text: str) -> str:
    """Return what a complete entry says, its fences taken off."""
    stripped = text.strip()
    if stripped.startswith(FENCE) and is_complete(stripped):
        return stripped[len(FENCE) : -len(FENCE)].strip("\n")
    return stripped
