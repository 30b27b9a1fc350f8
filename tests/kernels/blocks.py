"""Random and extreme weight blocks of every type, and what the gguf package reads in them."""

from __future__ import annotations

from typing import NamedTuple

import gguf
import numpy as np

from tests.kernels.runner import Array
from tropilla import _native

FLOAT_TYPES = {"F32": 0, "F16": 1, "BF16": 30}
INTEGER_TYPES = {
    "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "Q2_K": 10, "Q3_K": 11, "Q4_K": 12, "Q5_K": 13,
    "Q6_K": 14, "IQ4_NL": 20, "IQ4_XS": 23,
}  # fmt: skip
TYPES = FLOAT_TYPES | INTEGER_TYPES
BLOCK_SIZES: dict[int, tuple[int, int]] = _native.block_sizes()

# Byte offsets of the f16 fields of a block, as the file has them: d, and the minimum's.
D_OFFSET = {"Q2_K": 80, "Q3_K": 108, "Q6_K": 208}
MIN_OFFSET = {"Q4_1": 2, "Q5_1": 2, "Q2_K": 82, "Q4_K": 2, "Q5_K": 2}


class Weights(NamedTuple):
    """Rows in the file's layout, with their values and the size of the terms these are sums of."""

    rows: Array  # (R, row bytes) uint8
    values: Array  # (R, C) float32
    terms: Array  # (R, C) float64: |scale * code| + |minimum|


def dequantize(name: str, rows: Array) -> Array:
    """Return what the gguf package reads in the rows."""
    values: Array = gguf.quants.dequantize(rows, gguf.GGMLQuantizationType[name])
    return np.ascontiguousarray(values, np.float32)


def set_halves(rows: Array, name: str, offset: int, values: Array) -> None:
    """Overwrite the f16 field at a byte offset of every block."""
    block_bytes = BLOCK_SIZES[TYPES[name]][1]
    blocks = rows.reshape(-1, block_bytes)
    blocks[:, offset : offset + 2] = values.astype(np.float16).reshape(-1, 1).view(np.uint8)


def weights_of(name: str, rows: Array) -> Weights:
    """Dequantise rows, with and without their minimums."""
    values = dequantize(name, rows)
    without = rows.copy()
    if name in MIN_OFFSET:
        n_blocks = rows.size // BLOCK_SIZES[TYPES[name]][1]
        set_halves(without, name, MIN_OFFSET[name], np.zeros(n_blocks))
    scaled = dequantize(name, without).astype(np.float64)
    return Weights(rows, values, np.abs(scaled) + np.abs(values - scaled))


def random_weights(name: str, n_rows: int, n_cols: int, rng: np.random.Generator) -> Weights:
    """Return rows whose codes and integer scales are random bits."""
    if name in FLOAT_TYPES:
        floats = rng.standard_normal((n_rows, n_cols)).astype(np.float32)
        rows = gguf.quants.quantize(floats, gguf.GGMLQuantizationType[name])
        rows = rows.view(np.uint8).reshape(n_rows, -1)
        return weights_of(name, np.ascontiguousarray(rows))
    columns, block_bytes = BLOCK_SIZES[TYPES[name]]
    n_blocks = n_rows * n_cols // columns
    rows = rng.integers(0, 256, (n_rows, n_cols // columns * block_bytes), np.uint8)
    set_halves(rows, name, D_OFFSET.get(name, 0), rng.uniform(-0.1, 0.1, n_blocks))
    if name in MIN_OFFSET:
        set_halves(rows, name, MIN_OFFSET[name], rng.uniform(-1, 1, n_blocks))
    return weights_of(name, rows)


def extreme_weights(name: str, n_cols: int, fill: int) -> Weights:
    """Return 16 rows with every code and integer scale bit from `fill` and the largest f16 scales."""
    columns, block_bytes = BLOCK_SIZES[TYPES[name]]
    n_blocks = 16 * n_cols // columns
    rows = np.full((16, n_cols // columns * block_bytes), fill, np.uint8)
    set_halves(rows, name, D_OFFSET.get(name, 0), np.full(n_blocks, 65504.0))
    if name in MIN_OFFSET:
        set_halves(rows, name, MIN_OFFSET[name], np.full(n_blocks, -65504.0))
    return weights_of(name, rows)


def aligned(size: int) -> Array:
    """Return marked bytes at an address that is a multiple of 64, with marked ones on both sides."""
    room = np.full(size + 128, 0xA5, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size]


def tile_bytes(name: str, n_cols: int) -> int:
    columns, block_bytes = BLOCK_SIZES[TYPES[name]]
    return 16 * (n_cols // columns) * block_bytes


def packed(name: str, rows: Array, n_cols: int) -> Array:
    """Pack rows into tiles, one behind the other, at an address that is a multiple of 64."""
    size = tile_bytes(name, n_cols)
    tiles = aligned(-(-len(rows) // 16) * size)
    room = tiles.base
    assert isinstance(room, np.ndarray)
    for i in range(0, len(rows), 16):
        some = rows[i : i + 16]
        tile = tiles[i // 16 * size :][:size]
        _native.call_kernel("scalar", "pack", [TYPES[name], n_cols, len(some)], [some, tile])
    start = tiles.ctypes.data - room.ctypes.data
    assert (room[:start] == 0xA5).all()
    assert (room[start + tiles.size :] == 0xA5).all()
    return tiles
