"""Mapped files: what may be opened, and how long their bytes can be used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tropilla.errors import FormatError
from tropilla.formats.mapped import MappedFile, drop_pages, release_view


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(256)) * 64)
    return path


def test_the_bytes_are_the_files(path: Path) -> None:
    with MappedFile(path) as file:
        assert file.size_bytes == 256 * 64
        assert bytes(file.view) == path.read_bytes()
        assert file.view.readonly
    assert file.size_bytes == 256 * 64
    path.unlink()  # on Windows this fails while the file is mapped


def test_closing_twice_is_harmless(path: Path) -> None:
    file = MappedFile(path)
    file.close()
    file.close()


def test_a_slice_outlives_the_file(path: Path) -> None:
    with MappedFile(path) as file:
        piece = file.view[300:310]
    assert bytes(piece) == bytes(range(44, 54))
    release_view(piece)
    with pytest.raises(ValueError, match="released"):
        bytes(piece)


def test_dropped_pages_come_back(path: Path) -> None:
    with MappedFile(path) as file:
        piece = file.view[5000:9000]
        before = bytes(piece)
        drop_pages(piece, 5000)
        assert bytes(piece) == before
    drop_pages(memoryview(b"not mapped"), 0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_named_pipe_is_refused_at_once(tmp_path: Path) -> None:
    """Opening one would wait for a writer for ever."""
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(FormatError, match="is not a regular file"):
        MappedFile(tmp_path / "pipe.gguf")
