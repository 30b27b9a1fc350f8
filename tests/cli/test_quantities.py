"""Sizes as people type and read them."""

from __future__ import annotations

import argparse

import pytest

from tropilla.cli.quantities import bytes_from, human_count
from tropilla.hub.disk import human_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16", 16e9), ("16GB", 16e9), ("16 gb", 16e9), ("16g", 16e9), ("1.5GiB", 1.5 * 2**30),
        ("900MB", 9e8), ("50GB/s", 5e10), ("2TB", 2e12), ("4KiB", 4096),
    ],
)  # fmt: skip
def test_sizes_are_understood(text: str, size: float) -> None:
    assert bytes_from(text) == size


@pytest.mark.parametrize("text", ["", "GB", "16XB", "-3GB", "1.2.3GB", "sixteen", "16iB", "."])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a size"):
        bytes_from(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(134_515_008, "135 M"), (8_030_261_248, "8.03 B"), (999_600, "1 M"), (260_000, "260 k"), (12, "12")],
)
def test_counts_have_three_digits(count: int, text: str) -> None:
    assert human_count(count) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (98_362_432, "98.4 MB"),
        (5.7e9, "5.7 GB"),
        (4.2e13, "42 TB"),
    ],
)
def test_bytes_have_three_digits(size: float, text: str) -> None:
    assert human_bytes(size) == text
