"""Which reader opens what, and what the user hears when none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.checkpoint import open_checkpoint


def test_a_wrong_path(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file or folder"):
        open_checkpoint(tmp_path / "missing.gguf")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"expected config\.json .* params\.json"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"hello", "not a model file that Tropilla knows"),
        ("empty.txt", b"", "is empty"),
        ("cut.gguf", b"GG", "byte"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        open_checkpoint(tmp_path / name)


def test_a_predecessor_of_gguf_is_named(tmp_path: Path) -> None:
    (tmp_path / "ggml-model-q4_0.bin").write_bytes(b"tjgg" + bytes(64))
    with pytest.raises(UnsupportedError, match="GGJT"):
        open_checkpoint(tmp_path / "ggml-model-q4_0.bin")
