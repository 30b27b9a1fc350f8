"""Rounding to nearest gives the gguf package's bytes, and values as near as the type allows."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tropilla.errors import UnsupportedError
from tropilla.formats.dequantize import dequantize
from tropilla.formats.quantize import QUANTIZABLE, quantize
from tropilla.formats.tensor_types import BLOCKS, TensorType

BLOCK_TYPES = [t for t in QUANTIZABLE if BLOCKS[t].columns > 1]
K_TYPES = [t for t in QUANTIZABLE if BLOCKS[t].columns == 256]
ROUNDED = [t for t in QUANTIZABLE if t not in K_TYPES]  # those whose bytes ggml's rule determines
ROUNDED_BLOCKS = [t for t in ROUNDED if t in BLOCK_TYPES]


def oracle(tensor_type: TensorType, weights: NDArray[np.float32]) -> bytes:
    with np.errstate(all="ignore"):
        encoded = gguf.quantize(weights, gguf.GGMLQuantizationType[tensor_type.name])
    return bytes(encoded.tobytes())


def weights_like_a_model(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return normal weights with rows of very different sizes, some zero or constant blocks."""
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(shape) * 10.0 ** rng.integers(-4, 3, (*shape[:-1], 1))
    weights[0, :32] = 0
    weights[-1, :32] = 0.125
    return weights.astype(np.float32)


def half_spacing(numbers: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.spacing(numbers.astype(np.float16)).astype(np.float32)


@pytest.mark.parametrize("tensor_type", ROUNDED, ids=lambda t: t.name)
@pytest.mark.parametrize("shape", [(1, 32), (3, 64), (700, 256)])
def test_bytes_equal_the_gguf_package(tensor_type: TensorType, shape: tuple[int, ...]) -> None:
    weights = weights_like_a_model(1, shape)
    encoded = quantize(tensor_type, weights)
    assert encoded.shape == (shape[0], shape[1] // BLOCKS[tensor_type].columns * BLOCKS[tensor_type].bytes)
    assert encoded.tobytes() == oracle(tensor_type, weights)


# From the least that still has a normal inverse scale to the greatest whose scale fits in float16.
FINITE = st.floats(-60000, 60000, width=32).filter(lambda x: x == 0 or abs(x) > 1e-30)


@settings(deadline=None, max_examples=60)
@given(weights=hnp.arrays(np.float32, (2, 32), elements=FINITE))
def test_any_weights_equal_the_gguf_package(weights: NDArray[np.float32]) -> None:
    for tensor_type in ROUNDED:
        assert quantize(tensor_type, weights).tobytes() == oracle(tensor_type, weights), tensor_type.name


@pytest.mark.parametrize(
    "weights",
    [
        [0.5, -0.5, 1.5, 2.5, -2.5, 127.0],  # halves, with scale 1 in Q8_0: away from zero
        [0.49999997, 127.0],  # just below a half must not be rounded up
        [3.0, -3.0],  # a tie of magnitudes: the first one decides the sign of the scale
        [-3.0, 3.0],
    ],
)
@pytest.mark.parametrize("tensor_type", ROUNDED_BLOCKS, ids=lambda t: t.name)
def test_ties(tensor_type: TensorType, weights: list[float]) -> None:
    row = np.zeros((1, 32), np.float32)
    row[0, : len(weights)] = weights
    assert quantize(tensor_type, row).tobytes() == oracle(tensor_type, row)


@pytest.mark.parametrize("tensor_type", [TensorType.F32, TensorType.BF16])
def test_not_a_number_stays_one(tensor_type: TensorType) -> None:
    """A signalling NaN whose payload lies in the low bits must not turn into infinity when cut."""
    weights = np.array([0x7F800001, 0xFF800001, 0x7F800000, 0x7FC00000], np.uint32).view(np.float32)
    decoded = dequantize(tensor_type, quantize(tensor_type, weights), len(weights))
    np.testing.assert_array_equal(np.isnan(decoded), [True, True, False, True])


@pytest.mark.parametrize("tensor_type", ROUNDED_BLOCKS, ids=lambda t: t.name)
def test_error_is_at_most_one_step(tensor_type: TensorType) -> None:
    """A step is range / levels. Rounding costs half of it, and a whole one at the end that a signed
    range lacks; a quant times the rounding of the scale and the rounding of the minimum come on top.
    """
    weights = weights_like_a_model(2, (50, 32))
    decoded = dequantize(tensor_type, quantize(tensor_type, weights), weights.size).reshape(weights.shape)
    levels = {"Q4_0": 16, "Q4_1": 15, "Q5_0": 32, "Q5_1": 31, "Q8_0": 254}[tensor_type.name]
    largest = np.abs(weights).max(axis=1, keepdims=True)
    step = 2 * largest / levels
    rounding = levels * half_spacing(step) + half_spacing(largest)
    assert (np.abs(decoded - weights) <= step + rounding).all()


@pytest.mark.parametrize("tensor_type", BLOCK_TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("least", [1e-45, 1e-40, 1e-38])
def test_tiny_weights_become_zero(tensor_type: TensorType, least: float) -> None:
    """Their scale has no finite inverse or no float16: the block must still decode to zero."""
    weights = np.full((1, BLOCKS[tensor_type].columns), least, np.float32)
    weights[0, ::2] *= -1
    decoded = dequantize(tensor_type, quantize(tensor_type, weights), weights.size)
    np.testing.assert_array_equal(decoded, np.zeros(weights.size, np.float32))


@pytest.mark.parametrize("tensor_type", BLOCK_TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_is_refused(tensor_type: TensorType, bad: float) -> None:
    weights = np.ones((1, BLOCKS[tensor_type].columns), np.float32)
    weights[0, 5] = bad
    with pytest.raises(UnsupportedError, match="infinite weights"):
        quantize(tensor_type, weights)


@pytest.mark.parametrize("tensor_type", [TensorType.F16, *BLOCK_TYPES], ids=lambda t: t.name)
def test_too_large_is_refused(tensor_type: TensorType) -> None:
    with pytest.raises(UnsupportedError, match="too large for float16"):
        quantize(tensor_type, np.array([[1e9] + [0] * (BLOCKS[tensor_type].columns - 1)], np.float32))


def test_infinity_is_kept_in_f16() -> None:
    assert quantize(TensorType.F16, np.array([np.inf], np.float32)).tobytes() == b"\x00\x7c"


def test_other_types_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="cannot quantize to IQ2_S; choose one of F32, F16"):
        quantize(TensorType.IQ2_S, np.zeros((1, 256), np.float32))


def test_part_of_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="rows of 33 weights are not whole Q4_0 blocks"):
        quantize(TensorType.Q4_0, np.zeros((2, 33), np.float32))


def test_no_rows() -> None:
    empty: NDArray[Any] = quantize(TensorType.Q8_0, np.zeros((0, 32), np.float32))
    assert empty.nbytes == 0
