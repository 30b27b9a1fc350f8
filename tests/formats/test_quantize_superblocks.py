"""The search for the K types' scales leaves less error than scales from the extremes do.

No outside oracle exists: ggml's search is another one. Comparisons with it are in docs/log.md.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tropilla.formats.dequantize import dequantize
from tropilla.formats.quantize import quantize
from tropilla.formats.tensor_types import TensorType

Floats = NDArray[np.float32]

# Quants a sub-block, columns of it, and whether a minimum is subtracted.
SHAPES = {
    TensorType.Q2_K: (4, 16, True),
    TensorType.Q3_K: (8, 16, False),
    TensorType.Q4_K: (16, 32, True),
    TensorType.Q5_K: (32, 32, True),
    TensorType.Q6_K: (64, 16, False),
}
TYPES = list(SHAPES)


def decoded(tensor_type: TensorType, weights: Floats) -> Floats:
    return dequantize(tensor_type, quantize(tensor_type, weights), weights.size).reshape(weights.shape)


def squared_error(weights: Floats, others: NDArray[np.floating]) -> float:
    return float(((weights.astype(np.float64) - others) ** 2).sum())


def rounded_from_extremes(tensor_type: TensorType, weights: Floats) -> NDArray[np.float64]:
    """Return each weight rounded under exact scales from its sub-block's extremes: no search."""
    levels, columns, has_minimum = SHAPES[tensor_type]
    parts = weights.astype(np.float64).reshape(-1, columns)
    if has_minimum:
        least = np.minimum(parts.min(axis=1, keepdims=True), 0)
        step = (parts.max(axis=1, keepdims=True) - least) / (levels - 1)
        quants = np.rint((parts - least) / step)
        offset: NDArray[np.float64] = (quants * step + least).reshape(weights.shape)
        return offset
    largest = np.take_along_axis(parts, np.abs(parts).argmax(axis=1)[:, None], axis=1)
    step = -largest / (levels // 2)
    quants = np.clip(np.rint(parts / step), -(levels // 2), levels // 2 - 1)
    rounded: NDArray[np.float64] = (quants * step).reshape(weights.shape)
    return rounded


@pytest.mark.parametrize("tensor_type", TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("tail", [3, 30])
def test_error_is_below_that_of_exact_scales_from_the_extremes(tensor_type: TensorType, tail: int) -> None:
    """The search pays for rounding its scales to six bits and float16, and still leaves less."""
    weights = np.random.default_rng(tail).standard_t(tail, (64, 256)).astype(np.float32)
    plain = squared_error(weights, rounded_from_extremes(tensor_type, weights))
    assert squared_error(weights, decoded(tensor_type, weights)) < plain


@pytest.mark.parametrize("tensor_type", TYPES, ids=lambda t: t.name)
def test_weights_that_the_type_can_hold_come_back(tensor_type: TensorType) -> None:
    """What was encoded once lies on a grid of the type, of which the search may only miss a scale's step.

    A sixty-third of a scale, in the few sub-blocks where it happens, is a hundredth of the squared error.
    """
    weights = np.random.default_rng(3).standard_normal((64, 256)).astype(np.float32)
    once = decoded(tensor_type, weights)
    assert squared_error(once, decoded(tensor_type, once)) <= 0.01 * squared_error(weights, once)


@pytest.mark.parametrize("tensor_type", TYPES, ids=lambda t: t.name)
@pytest.mark.parametrize("constant", [0.0, 0.25, -0.25])
def test_constant_weights(tensor_type: TensorType, constant: float) -> None:
    """One level suffices; its scale is a whole number times a float16, off by at most 2**-11 of itself.

    Six bits are exact here: the largest scale of a superblock is the greatest whole number.
    """
    weights = np.full((2, 256), constant, np.float32)
    np.testing.assert_allclose(decoded(tensor_type, weights), weights, rtol=2.0**-10, atol=0)


@pytest.mark.parametrize("tensor_type", TYPES, ids=lambda t: t.name)
def test_a_superblock_does_not_depend_on_its_neighbours(tensor_type: TensorType) -> None:
    weights = np.random.default_rng(4).standard_normal((9, 256)).astype(np.float32)
    alone = np.concatenate([quantize(tensor_type, row[None]) for row in weights])
    np.testing.assert_array_equal(quantize(tensor_type, weights), alone)


@pytest.mark.parametrize("tensor_type", TYPES, ids=lambda t: t.name)
def test_zero_sub_blocks_beside_others_stay_zero(tensor_type: TensorType) -> None:
    weights = np.random.default_rng(5).standard_normal((4, 256)).astype(np.float32)
    weights[:, 64:128] = 0
    np.testing.assert_array_equal(decoded(tensor_type, weights)[:, 64:128], 0)
