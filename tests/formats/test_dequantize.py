"""Dequantisation equals the gguf package's bit for bit, on random blocks and edge scales."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from tropilla.errors import UnsupportedError
from tropilla.formats.dequantize import block_dtype, dequantize
from tropilla.formats.tensor_types import BLOCKS, TensorType

GRID_TYPES = [t for t in TensorType if t.name.startswith(("IQ1", "IQ2", "IQ3"))]
ORACLE_TYPES = [
    t for t in TensorType if t.name in ("F32", "F16", *(q.name for q in gguf.quants._type_traits))
]
DECODED_BY_ORACLE = [t for t in ORACLE_TYPES if t not in GRID_TYPES]
PLAIN = {TensorType.F64, TensorType.I8, TensorType.I16, TensorType.I32, TensorType.I64}
ACTIVATIONS = {TensorType.Q8_1, TensorType.Q8_K}

# Zero, both signs, the smallest subnormal, the largest subnormal, the smallest normal, the largest.
EDGE_HALVES = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x0400, 0x7BFF, 0xFBFF], np.uint16)


def random_blocks(tensor_type: TensorType, n_blocks: int, seed: int) -> NDArray[Any]:
    """Return random bytes whose float fields are finite."""
    rng = np.random.default_rng(seed)
    raw = rng.integers(0, 256, (n_blocks, BLOCKS[tensor_type].bytes), np.uint8)
    blocks = raw.reshape(-1).view(block_dtype(tensor_type))
    for name in block_dtype(tensor_type).names or ():
        if blocks[name].dtype.kind == "f":
            blocks[name] = rng.standard_normal(blocks[name].shape)
    return blocks


def oracle(tensor_type: TensorType, blocks: NDArray[Any]) -> NDArray[np.float32]:
    raw = blocks.view(np.uint8).reshape(1, -1)
    with np.errstate(all="ignore"):
        decoded = gguf.dequantize(raw, gguf.GGMLQuantizationType[tensor_type.name])
    return np.asarray(decoded, np.float32).reshape(-1)


def ours(tensor_type: TensorType, blocks: NDArray[Any]) -> NDArray[np.float32]:
    return dequantize(tensor_type, blocks.tobytes(), len(blocks) * BLOCKS[tensor_type].columns)


def assert_same_bits(got: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert got.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


def test_every_type_is_covered() -> None:
    assert {*DECODED_BY_ORACLE, *GRID_TYPES, *PLAIN, *ACTIVATIONS} == set(TensorType)


@pytest.mark.parametrize("tensor_type", DECODED_BY_ORACLE, ids=lambda t: t.name)
@pytest.mark.parametrize("n_blocks", [1, 2, 300])
def test_random_blocks(tensor_type: TensorType, n_blocks: int) -> None:
    blocks = random_blocks(tensor_type, n_blocks, seed=n_blocks)
    assert_same_bits(ours(tensor_type, blocks), oracle(tensor_type, blocks))


@pytest.mark.parametrize("tensor_type", DECODED_BY_ORACLE, ids=lambda t: t.name)
def test_edge_scales(tensor_type: TensorType) -> None:
    """Each 16-bit scale takes every edge value, against every value of the other scale."""
    blocks = random_blocks(tensor_type, len(EDGE_HALVES) ** 2, seed=7)
    halves = [name for name in block_dtype(tensor_type).names or () if blocks[name].dtype == np.float16]
    for place, name in enumerate(halves):
        edges = np.tile(EDGE_HALVES, len(EDGE_HALVES)) if place else np.repeat(EDGE_HALVES, len(EDGE_HALVES))
        blocks[name] = edges.view(np.float16)
    assert_same_bits(ours(tensor_type, blocks), oracle(tensor_type, blocks))


@pytest.mark.parametrize(("tensor_type", "scale"), [(TensorType.MXFP4, "e"), (TensorType.NVFP4, "d")])
def test_every_8_bit_scale(tensor_type: TensorType, scale: str) -> None:
    blocks = random_blocks(tensor_type, 256, seed=8)
    codes = np.arange(256, dtype=np.uint8)
    blocks[scale] = codes if blocks[scale].ndim == 1 else codes[:, None]
    assert_same_bits(ours(tensor_type, blocks), oracle(tensor_type, blocks))


def test_bf16_keeps_every_pattern() -> None:
    codes = np.arange(1 << 16, dtype=np.uint16)
    expected = codes.astype(np.uint32) << 16
    np.testing.assert_array_equal(dequantize(TensorType.BF16, codes, len(codes)).view(np.uint32), expected)


def test_more_than_one_chunk() -> None:
    blocks = random_blocks(TensorType.Q4_K, 1000, seed=9)
    assert_same_bits(ours(TensorType.Q4_K, blocks), oracle(TensorType.Q4_K, blocks))


@pytest.mark.parametrize("tensor_type", sorted(PLAIN), ids=lambda t: t.name)
def test_plain_numbers(tensor_type: TensorType) -> None:
    numbers = np.array([0, 1, -1, 100, -128, 127], BLOCKS[tensor_type].fields["x"])
    np.testing.assert_array_equal(dequantize(tensor_type, numbers.tobytes(), 6), numbers.astype(np.float32))


@pytest.mark.parametrize("tensor_type", sorted(ACTIVATIONS), ids=lambda t: t.name)
def test_activation_blocks_are_scale_times_quant(tensor_type: TensorType) -> None:
    blocks = random_blocks(tensor_type, 3, seed=10)
    expected = blocks["d"].astype(np.float32)[:, None] * blocks["qs"].astype(np.float32)
    assert_same_bits(ours(tensor_type, blocks), expected.reshape(-1))


def test_infinite_scale_is_not_an_error() -> None:
    blocks = random_blocks(TensorType.Q4_0, 1, seed=11)
    blocks["d"] = np.inf
    assert not np.isfinite(ours(TensorType.Q4_0, blocks)).any()


def test_no_weights() -> None:
    assert dequantize(TensorType.Q4_0, b"", 0).shape == (0,)


@pytest.mark.parametrize("tensor_type", GRID_TYPES, ids=lambda t: t.name)
def test_grid_types_are_refused_by_name(tensor_type: TensorType) -> None:
    with pytest.raises(UnsupportedError, match=tensor_type.name):
        dequantize(tensor_type, bytes(BLOCKS[tensor_type].bytes), 256)


@pytest.mark.parametrize(("size_bytes", "n_weights"), [(17, 32), (19, 32), (18, 31), (18, 64), (0, 32)])
def test_wrong_sizes_are_refused(size_bytes: int, n_weights: int) -> None:
    with pytest.raises(ValueError, match=f"{size_bytes} bytes do not encode {n_weights} Q4_0"):
        dequantize(TensorType.Q4_0, bytes(size_bytes), n_weights)
