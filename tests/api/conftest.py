from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import tropilla
from tests.api.tiny_model import write_tiny_model


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def tiny(tiny_path: Path) -> Iterator[tropilla.Model]:
    with tropilla.load(tiny_path, threads=2) as model:
        yield model
