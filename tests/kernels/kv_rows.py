"""Keys and values as csrc/kernels/kv_block.h lays them out, from NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.kernels.runner import Array

KV_TYPES = ["F16", "F32", "Q8_0", "Q4_0"]  # by the numbers of KVType
QUANTIZED = KV_TYPES[2:]
BLOCK = 32  # tokens of a KV block
GROUP = 32  # dimensions that share a scale
MAX_BLOCKS = 16  # of one call of attend
UNPACKED_BLOCKS = 4
CELLS = {"F16": np.float16, "F32": np.float32, "Q8_0": np.int8, "Q4_0": np.uint8}


def width_of(head_dim: int) -> int:
    """Return how many cells a row of head_dim takes."""
    return -(-head_dim // 16) * 16


@dataclass
class Rows:
    """Keys or values of one head: the values are codes times scales."""

    kv_type: str
    codes: Array  # (S, Dh) what CELLS says; of Q4_0 from 0 to 15
    scales: Array  # (S, Dh / GROUP) f16; no columns if not quantized

    def values(self) -> Array:
        """Return (S, Dh) in float64."""
        if self.kv_type not in QUANTIZED:
            return self.codes.astype(np.float64)
        codes = self.codes.astype(np.float64) - (8 if self.kv_type == "Q4_0" else 0)
        return codes * np.repeat(self.scales.astype(np.float64), GROUP, axis=1)

    def part(self, rows: slice) -> Rows:
        return Rows(self.kv_type, self.codes[rows], self.scales[rows])

    def spoil(self, rows: slice) -> None:
        """Turn rows into NaN."""
        (self.scales if self.kv_type in QUANTIZED else self.codes)[rows] = np.nan

    def key_blocks(self) -> Array:
        """Return (blocks, bytes): [Dh][slot], then the scales; NaN where there is no key."""
        cells = self._cells()
        if self.kv_type == "Q4_0":
            cells = nibbles(cells)
        return self._joined(cells.swapaxes(1, 2))

    def value_blocks(self) -> Array:
        """Return (blocks, bytes): [slot][width], then the scales; NaN where there is no value."""
        cells = self._cells()
        return self._joined(nibbles(cells) if self.kv_type == "Q4_0" else cells)

    def _cells(self) -> Array:
        n_keys, head_dim = self.codes.shape
        filling = 5 if self.kv_type in QUANTIZED else np.nan
        cells = np.full((-(-n_keys // BLOCK) * BLOCK, width_of(head_dim)), filling, self.codes.dtype)
        cells[:n_keys, :head_dim] = self.codes
        return cells.reshape(-1, BLOCK, width_of(head_dim))

    def _joined(self, cells: Array) -> Array:
        n_blocks, (n_keys, n_groups) = len(cells), self.scales.shape
        scales = np.full((n_blocks * BLOCK, n_groups), np.nan, np.float16)
        scales[:n_keys] = self.scales
        by_group = scales.reshape(n_blocks, BLOCK, n_groups).swapaxes(1, 2)
        parts = [
            np.ascontiguousarray(part).reshape(n_blocks, -1).view(np.uint8) for part in (cells, by_group)
        ]
        return np.concatenate(parts, axis=1)


def nibbles(codes: Array) -> Array:
    """Return bytes that hold dimension 32 g + i low and 32 g + 16 + i high: (..., Dh / 2)."""
    groups = codes.reshape(*codes.shape[:-1], -1, 2, 16)
    both: Array = groups[..., 0, :] | groups[..., 1, :] << 4
    return both.reshape(*codes.shape[:-1], -1)


def random_rows(kv_type: str, n_rows: int, head_dim: int, rng: np.random.Generator) -> Rows:
    """Return rows with values around one in size."""
    if kv_type not in QUANTIZED:
        codes = rng.standard_normal((n_rows, head_dim)).astype(CELLS[kv_type])
        return Rows(kv_type, codes, np.zeros((n_rows, 0), np.float16))
    low, high = (0, 16) if kv_type == "Q4_0" else (-127, 128)
    codes = rng.integers(low, high, (n_rows, head_dim)).astype(CELLS[kv_type])
    scales = rng.uniform(-2, 2, (n_rows, head_dim // GROUP)) / (high - low)
    return Rows(kv_type, codes, scales.astype(np.float16))
