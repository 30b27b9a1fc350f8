"""Texts that a user hands over, in any form that editors and shells leave them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tropilla.cli.text_file import read_stdin, read_text, without_last_line_end
from tropilla.errors import DataError, RequestError


def test_a_file_is_read_without_its_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf\xec\x95\x88")
    assert read_text(tmp_path / "a") == "안"


def test_what_is_no_text_is_named_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"ab\xff")
    with pytest.raises(DataError, match="a: is no UTF-8 text: invalid start byte at byte 2"):
        read_text(tmp_path / "a")
    with pytest.raises(RequestError, match="no such file"):
        read_text(tmp_path)


def test_standard_input_that_is_no_text_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a\xff"), "utf-8"))
    with pytest.raises(DataError, match="standard input: is no UTF-8 text"):
        read_stdin()


@pytest.mark.parametrize(
    ("text", "expected"), [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", "")]
)
def test_only_the_last_line_end_goes(text: str, expected: str) -> None:
    assert without_last_line_end(text) == expected
