"""Encode float32 weights as blocks: the definition of the bytes that Tropilla writes.

Blocks of 32 get their scale from their extremes, and each weight the nearest value; the bytes are those of
ggml's reference quantizers (quantize_row_*_ref in ggml-quants.c). The K types search for their scales.
tropilla._native.quantize writes the same bytes, fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from tropilla.errors import UnsupportedError
from tropilla.formats.dequantize import Blocks, Bytes, Floats, block_dtype
from tropilla.formats.quantize_superblocks import Superblocks, q2_k, q3_k, q4_k, q5_k, q6_k, search
from tropilla.formats.tensor_types import BLOCKS, TensorType

NOT_FINITE = "infinite weights and those that are not a number cannot be quantized; choose BF16"
TOO_LARGE = "weights are too large for float16; choose BF16 or F32"

# Weights encoded at a time: the intermediate arrays of a chunk stay in the cache.
_CHUNK_WEIGHTS = 1 << 16
# Beyond this nothing fits a float16 scale, and squares stay far from overflow below it.
_LARGEST_WEIGHT = np.float32(2**30)


def quantize(tensor_type: TensorType, weights: Floats) -> Bytes:
    """Encode an array whose last axis is a row; returns the rows' bytes, shape (..., row bytes).

    Raises UnsupportedError for types without an encoder and for weights that the type cannot hold
    (infinite, not a number, or a scale beyond float16); ValueError if rows are not whole blocks.
    """
    encode = _ENCODERS.get(tensor_type)
    if encode is None:
        names = ", ".join(t.name for t in _ENCODERS)
        raise UnsupportedError(f"cannot quantize to {tensor_type.name}; choose one of {names}")
    layout = BLOCKS[tensor_type]
    if weights.shape[-1] % layout.columns:
        raise ValueError(
            f"rows of {weights.shape[-1]} weights are not whole {tensor_type.name} blocks of {layout.columns}"
        )
    rows = np.ascontiguousarray(weights, np.float32).reshape(-1, layout.columns)
    blocks = np.empty(len(rows), block_dtype(tensor_type))
    step = max(1, _CHUNK_WEIGHTS // layout.columns)
    for start in range(0, len(rows), step):
        encode(rows[start : start + step], blocks[start : start + step])
    row_bytes = weights.shape[-1] // layout.columns * layout.bytes
    return blocks.view(np.uint8).reshape(*weights.shape[:-1], row_bytes)


def _half(numbers: Floats) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        halves = numbers.astype(np.float16)
    if np.isinf(halves).any() and not np.isinf(numbers).any():
        raise UnsupportedError(TOO_LARGE)
    return halves


def _require_finite(rows: Floats) -> None:
    if not np.isfinite(rows).all():
        raise UnsupportedError(NOT_FINITE)


def _inverse(scale: Floats) -> Floats:
    """Return 1 / scale, and 0 where that overflows: such blocks hold nothing that float16 could scale."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.float32(1) / scale
    inverse[np.isinf(inverse)] = 0
    return inverse


def _nibbles(quants: Bytes) -> Bytes:
    """Pack 32 quants into 16 bytes: the first half low, the second half high."""
    return quants[:, :16] & np.uint8(15) | quants[:, 16:] << np.uint8(4)


def _fifth_bits(quants: Bytes) -> NDArray[np.uint32]:
    return np.packbits(quants >> 4, axis=1, bitorder="little").view("<u4")[:, 0]


def _whole(numbers: Floats, top: int) -> Bytes:
    """Cut positive numbers to whole ones, at most `top`."""
    quants: Bytes = np.minimum(numbers, np.float32(top)).astype(np.uint8)
    return quants


def _signed_quants(rows: Floats, blocks: Blocks, half_range: int) -> Bytes:
    """Scale by the weight of largest magnitude so that it becomes exactly -half_range; set the scale."""
    _require_finite(rows)
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1, keepdims=True), axis=1)
    scale = largest / np.float32(-half_range)
    blocks["d"] = _half(scale)[:, 0]
    return _whole(rows * _inverse(scale) + np.float32(half_range + 0.5), 2 * half_range - 1)


def _offset_quants(rows: Floats, blocks: Blocks, top: int) -> Bytes:
    """Scale so that the least weight becomes 0 and the greatest `top`; set the scale and the least."""
    _require_finite(rows)
    least = rows.min(axis=1, keepdims=True)
    scale = (rows.max(axis=1, keepdims=True) - least) / np.float32(top)
    blocks["d"], blocks["m"] = _half(scale)[:, 0], _half(least)[:, 0]
    return _whole((rows - least) * _inverse(scale) + np.float32(0.5), top)


def _f32(rows: Floats, blocks: Blocks) -> None:
    blocks["x"] = rows[:, 0]


def _f16(rows: Floats, blocks: Blocks) -> None:
    blocks["x"] = _half(rows)[:, 0]


def _bf16(rows: Floats, blocks: Blocks) -> None:
    bits = rows.view(np.uint32)[:, 0]
    to_nearest_even = (bits.astype(np.uint64) + 0x7FFF + (bits >> 16 & 1)) >> 16
    quiet_nan = bits >> 16 | 0x40
    blocks["x"] = np.where(np.isnan(rows[:, 0]), quiet_nan, to_nearest_even)


def _q4_0(rows: Floats, blocks: Blocks) -> None:
    blocks["qs"] = _nibbles(_signed_quants(rows, blocks, 8))


def _q4_1(rows: Floats, blocks: Blocks) -> None:
    blocks["qs"] = _nibbles(_offset_quants(rows, blocks, 15))


def _q5_0(rows: Floats, blocks: Blocks) -> None:
    quants = _signed_quants(rows, blocks, 16)
    blocks["qs"], blocks["qh"] = _nibbles(quants), _fifth_bits(quants)


def _q5_1(rows: Floats, blocks: Blocks) -> None:
    quants = _offset_quants(rows, blocks, 31)
    blocks["qs"], blocks["qh"] = _nibbles(quants), _fifth_bits(quants)


def _q8_0(rows: Floats, blocks: Blocks) -> None:
    _require_finite(rows)
    scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
    blocks["d"] = _half(scale)[:, 0]
    scaled = rows * _inverse(scale)
    magnitude = np.abs(scaled)
    whole = np.floor(magnitude)  # floor(x + 0.5) would round 0.49999997 up: the sum is inexact
    blocks["qs"] = np.copysign(whole + (magnitude - whole >= 0.5), scaled)


def _searched(
    tensor_type: TensorType, lay_out: Callable[[Superblocks, Blocks], None]
) -> Callable[[Floats, Blocks], None]:
    def encode(rows: Floats, blocks: Blocks) -> None:
        _require_finite(rows)
        if (np.abs(rows) > _LARGEST_WEIGHT).any():
            raise UnsupportedError(TOO_LARGE)
        found = search(tensor_type, rows)
        if np.isinf(found.d).any() or np.isinf(found.d_min).any():
            raise UnsupportedError(TOO_LARGE)
        lay_out(found, blocks)
        blocks["d"] = found.d
        if "dmin" in BLOCKS[tensor_type].fields:
            blocks["dmin"] = found.d_min

    return encode


_ENCODERS: Mapping[TensorType, Callable[[Floats, Blocks], None]] = {
    TensorType.F32: _f32,
    TensorType.F16: _f16,
    TensorType.BF16: _bf16,
    TensorType.Q8_0: _q8_0,
    TensorType.Q4_0: _q4_0,
    TensorType.Q4_1: _q4_1,
    TensorType.Q5_0: _q5_0,
    TensorType.Q5_1: _q5_1,
    TensorType.Q2_K: _searched(TensorType.Q2_K, q2_k),
    TensorType.Q3_K: _searched(TensorType.Q3_K, q3_k),
    TensorType.Q4_K: _searched(TensorType.Q4_K, q4_k),
    TensorType.Q5_K: _searched(TensorType.Q5_K, q5_k),
    TensorType.Q6_K: _searched(TensorType.Q6_K, q6_k),
}

QUANTIZABLE = tuple(_ENCODERS)
