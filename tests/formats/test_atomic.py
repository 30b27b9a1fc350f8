"""Files appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.errors import FormatError
from tropilla.formats.atomic import new_file


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"older")
    with new_file(path) as file:
        file.write(b"newer")
        assert path.read_bytes() == b"older"
    assert path.read_bytes() == b"newer"
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]


def write_half(path: Path) -> None:
    with new_file(path) as file:
        file.write(b"half")
        raise RuntimeError("stopped")


def test_nothing_is_left_of_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"older")
    with pytest.raises(RuntimeError, match="stopped"):
        write_half(path)
    assert path.read_bytes() == b"older"
    assert [p.name for p in tmp_path.iterdir()] == ["model.bin"]


def test_a_folder_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be written: No such file"), new_file(tmp_path / "no" / "m"):
        pass
