"""The small typed events that long work yields; the command line prints them, tests collect them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Say how far a piece of work has come: done of total, counted in unit ("bytes", "tensors")."""

    what: str
    done: int
    total: int | None
    unit: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """Say that a file or folder is now complete on disk."""

    path: Path
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """Say something that the user should know although the work goes on."""

    text: str


Event = Progress | Saved | Notice
