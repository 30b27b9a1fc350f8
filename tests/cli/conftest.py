"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty library folder that the verbs use instead of the user's."""
    folder = tmp_path / "library"
    monkeypatch.setenv("TROPILLA_HOME", str(folder))
    return folder
