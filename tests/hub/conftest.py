"""Fixtures of the hub's tests: a library of their own, and nothing from the user's environment."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty library folder that every test of this room uses instead of the user's."""
    folder = tmp_path / "library"
    monkeypatch.setenv("TROPILLA_HOME", str(folder))
    return folder
