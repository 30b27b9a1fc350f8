"""What cannot fit the memory is refused before it is loaded, with what would fit."""

from __future__ import annotations

from pathlib import Path

import pytest

import tropilla
from tests.api.tiny_model import CONFIG
from tropilla.api import model as loading
from tropilla.api.capacity import require_memory
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.executor import BLOCK_TOKENS
from tropilla.errors import CapacityError
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.hub.memory import Memory
from tropilla.model.describe import describe

HEAD_CELLS = 16  # the heads of 8 are padded to
TOKEN_BYTES = 2 * CONFIG.n_layers * CONFIG.n_kv_heads * HEAD_CELLS * 2  # keys and values in f16


def require(path: Path, available_bytes: int, options: EngineOptions | None = None) -> None:
    with open_checkpoint(path) as checkpoint:
        require_memory(checkpoint, CONFIG, options or EngineOptions(), available_bytes=available_bytes)


def test_what_just_fits_is_taken_and_a_byte_less_is_not(tiny_path: Path) -> None:
    needed = describe(tiny_path).weights_bytes + CONFIG.context_length * TOKEN_BYTES
    require(tiny_path, needed)
    with pytest.raises(CapacityError, match="lower context_length to 224 or less") as caught:
        require(tiny_path, needed - 1)
    assert (caught.value.needed, caught.value.available) == (needed, needed - 1)
    require(tiny_path, needed - 1, EngineOptions(context_length=CONFIG.context_length - BLOCK_TOKENS))


def test_a_draft_model_counts(tiny_path: Path) -> None:
    """The same model as its own draft takes everything twice."""
    needed = 2 * (describe(tiny_path).weights_bytes + CONFIG.context_length * TOKEN_BYTES)
    with open_checkpoint(tiny_path) as checkpoint:
        draft = (checkpoint, CONFIG)
        require_memory(checkpoint, CONFIG, EngineOptions(), available_bytes=needed, draft=draft)
        with pytest.raises(CapacityError, match=r"tiny\.gguf with .*tiny\.gguf needs"):
            require_memory(checkpoint, CONFIG, EngineOptions(), available_bytes=needed - 1, draft=draft)


def test_weights_that_cannot_fit_call_for_another_model(tiny_path: Path) -> None:
    with pytest.raises(CapacityError, match="fewer bits or a smaller model: tropilla models --fit"):
        require(tiny_path, describe(tiny_path).weights_bytes - 1)


def test_kv_memory_asked_for_counts(tiny_path: Path) -> None:
    with pytest.raises(CapacityError, match="lower kv_memory_mb"):
        require(tiny_path, 900_000_000, EngineOptions(kv_memory_mb=1000))


def test_a_system_that_cannot_be_asked_is_trusted(tiny_path: Path) -> None:
    require(tiny_path, 0)


def test_load_asks_this_machine(tiny_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    little = Memory(total_bytes=1000, available_bytes=1000)
    monkeypatch.setattr(loading, "measure_memory", lambda: little)
    with pytest.raises(CapacityError, match=r"tiny\.gguf needs .* but 1 kB are free"):
        tropilla.load(tiny_path)
