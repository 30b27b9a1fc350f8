"""How a chat names its model: in a way that lasts, and in a way that fits a line."""

from __future__ import annotations

from pathlib import Path

from tropilla.hub.names import looks_like_path


def lasting(name: str) -> str:
    """Return the name, a path made absolute: a chat may go on from another folder."""
    return str(Path(name).expanduser().absolute()) if looks_like_path(name) else name


def short(name: str) -> str:
    """Return a path's last part, any other name as it is."""
    return Path(name).name if looks_like_path(name) else name
