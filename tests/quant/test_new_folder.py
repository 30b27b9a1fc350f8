"""A folder that could not be written whole leaves nothing, and the error names the folder asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tropilla.errors import FormatError
from tropilla.formats.atomic import new_file
from tropilla.quant.new_folder import new_folder


def test_a_file_that_cannot_be_written_is_told_of_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(FormatError, match=r"^\S*out: cannot be written: No such file"),
        new_folder(tmp_path / "out") as folder,
        new_file(folder / "missing" / "model"),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_other_errors_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="bad weights"), new_folder(tmp_path / "out"):
        raise FormatError("m.gguf", "bad weights")
    assert not list(tmp_path.iterdir())
