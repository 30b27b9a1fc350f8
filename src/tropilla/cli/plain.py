"""Print a model's text as it comes, plain, for pipes and files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Protocol

from tropilla.cli.background import Background


class HasText(Protocol):
    """A piece of the text."""

    @property
    def text(self) -> str:
        """Return what the piece adds."""


def print_pieces(pieces: Iterator[HasText]) -> None:
    """Print every piece at once when it comes, and a line end after the last."""
    for piece in Background(pieces):
        if piece is not None:
            sys.stdout.write(piece.text)
            sys.stdout.flush()
    sys.stdout.write("\n")
