"""Packed tiles give back exactly the weights of the file."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels import blocks
from tests.kernels.runner import Array, Canaried
from tropilla import _native


def unpacked(name: str, tile: Array, n_cols: int) -> Array:
    out = np.empty((16, n_cols), np.float32)
    for row in range(16):
        room = Canaried((n_cols,), np.float32)
        _native.call_kernel("scalar", "unpack", [blocks.TYPES[name], n_cols, row], [tile, room.array])
        room.check()
        out[row] = room.array
    return out


@pytest.mark.parametrize("n_blocks", [1, 2, 3])
@pytest.mark.parametrize("n_rows", [1, 5, 15, 16])
@pytest.mark.parametrize("name", blocks.TYPES)
def test_unpacks_the_bits_that_gguf_reads(name: str, n_rows: int, n_blocks: int) -> None:
    n_cols = n_blocks * blocks.BLOCK_SIZES[blocks.TYPES[name]][0]
    weights = blocks.random_weights(name, n_rows, n_cols, np.random.default_rng(n_rows))
    values = unpacked(name, blocks.packed(name, weights.rows, n_cols), n_cols)
    np.testing.assert_array_equal(values[:n_rows].view(np.uint32), weights.values.view(np.uint32))
    assert (values[n_rows:] == 0).all()


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x80, 0x7F])
@pytest.mark.parametrize("name", blocks.INTEGER_TYPES)
def test_unpacks_extreme_codes_and_scales(name: str, fill: int) -> None:
    weights = blocks.extreme_weights(name, 256, fill)
    values = unpacked(name, blocks.packed(name, weights.rows, 256), 256)
    np.testing.assert_array_equal(values.view(np.uint32), weights.values.view(np.uint32))


@pytest.mark.parametrize("name", ["F16", "BF16", "Q4_0"])
def test_every_finite_half_is_read_exactly(name: str) -> None:
    """Each of the 65 536 patterns stands in a weight or a scale, subnormals included."""
    halves = np.arange(0x10000, dtype=np.uint16).reshape(16, -1)
    rows = halves.view(np.uint8)
    if name == "Q4_0":  # codes 9: the weight is the scale itself
        rows = np.full((16, halves.shape[1], 18), 0x99, np.uint8)
        rows[:, :, :2] = halves.view(np.uint8).reshape(16, -1, 2)
        rows = rows.reshape(16, -1)
    with np.errstate(invalid="ignore"):  # signalling NaNs among the patterns
        expected = blocks.dequantize(name, rows)
    values = unpacked(name, blocks.packed(name, rows, expected.shape[1]), expected.shape[1])
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(values[finite].view(np.uint32), expected[finite].view(np.uint32))
    np.testing.assert_array_equal(np.isnan(values), np.isnan(expected))
