"""Open a model while the terminal says that it is being opened."""

from __future__ import annotations

import time

from tropilla.cli.background import call_in_background
from tropilla.cli.chat.app import OpenModel
from tropilla.cli.chat.model_name import short
from tropilla.cli.chat.screen import Screen
from tropilla.cli.chat.seam import TextModel

_SILENT_S = 0.3  # a load as short as this needs no remark


def open_shown(name: str, open_model: OpenModel, screen: Screen) -> TextModel:
    """Return the opened model; a load that takes its time is shown with the seconds it has taken."""
    start = time.perf_counter()

    def on_tick() -> None:
        seconds = time.perf_counter() - start
        if seconds > _SILENT_S:
            screen.busy(f"opening {short(name)} ... {seconds:.0f} s")

    try:
        return call_in_background(lambda: open_model(name), on_tick)
    finally:
        screen.clear_busy()
