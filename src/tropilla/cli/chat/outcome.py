"""What a line that the user typed leads to; the terminal shows it, tests compare it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Say:
    """Show a text of Tropilla's own."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Show the model's answer as it comes."""

    pieces: Generator[str, None, None]


@dataclass(frozen=True, slots=True)
class Prefill:
    """Offer a text for editing as the next message."""

    text: str


@dataclass(frozen=True, slots=True)
class Leave:
    """End the program."""


Outcome = Say | Answer | Prefill | Leave
"""What can follow a line."""
