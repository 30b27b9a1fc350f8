"""What a user may ask of a pull."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tropilla.hub.http import Patience


@dataclass(frozen=True, kw_only=True, slots=True)
class PullOptions:
    """What to take and where to put it.

    file: a GGUF of a repository, by its name or a part of it such as Q4_K_M. name: the model's name
    in the library. again: fetch a fresh copy of what is here.
    """

    file: str | None = None
    name: str | None = None
    again: bool = False
    patience: Patience | None = None
