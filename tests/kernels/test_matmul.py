"""The tile product of every weight type against float64.

Bound: a kernel multiplies exact integer dot products of 16 or 32 columns by rounded scales, adds the
minimum's part, multiplies by the activation's scale and sums over the row. Each term passes at most
n_sums additions and six other roundings (integer scale, product, minimum's product, their sum, the
oracle's own rounding of the weight, activation scale), so |error| <= gamma(n_sums + 6) * sum |terms|
with gamma(n) = n u / (1 - n u), u = 2^-24 (Higham 2002, 3.1). n_sums is the number of 16-column sums
for integer types and of columns for float types.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from tests.kernels import blocks
from tests.kernels.blocks import Weights
from tests.kernels.runner import Array, Canaried, Runner, unaligned
from tropilla import _native

UNIT = 2.0**-24
MAX_TOKENS = 17
MANY_TOKENS = 33  # enough for every path that several tiles and tokens take


class Inputs(NamedTuple):
    """Activations of T tokens in both forms, as the kernels read them."""

    f32: Array
    q: Array
    scale: Array
    sums: Array

    def values(self, name: str) -> Array:
        """Return what the kernel of a type multiplies by, (T, C) float64."""
        if name in blocks.FLOAT_TYPES:
            return self.f32.astype(np.float64)
        return self.q.astype(np.float64) * np.repeat(self.scale.astype(np.float64), 32, axis=1)


def inputs_from(q: Array, scale: Array, f32: Array) -> Inputs:
    n_tokens, n_cols = q.shape
    sums = q[:, : n_cols // 16 * 16].astype(np.int32).reshape(n_tokens, -1, 16).sum(axis=2, dtype=np.int32)
    return Inputs(unaligned(f32), unaligned(q), unaligned(scale), unaligned(sums))


def random_inputs(n_tokens: int, n_cols: int, rng: np.random.Generator) -> Inputs:
    q = rng.integers(-127, 128, (n_tokens, n_cols), np.int8)
    scale = rng.uniform(0.001, 0.1, (n_tokens, n_cols // 32)).astype(np.float32)
    return inputs_from(q, scale, rng.standard_normal((n_tokens, n_cols)).astype(np.float32))


def matmul(
    runner: Runner, name: str, tiles: Array, x: Inputs, first: int, n_tokens: int, *, n_tiles: int = 1
) -> Array:
    """Return (T, 16 * tiles), having checked that nothing beside those was written."""
    n_cols, n_rows = x.q.shape[1], 16 * n_tiles
    stride = n_rows + 3
    room = Canaried((n_tokens * stride,), np.float32)
    scratch = blocks.aligned(_native.matmul_scratch_bytes(n_cols))
    arrays = [tiles, x.f32, x.q, x.scale, x.sums, room.array, scratch]
    runner("matmul", [blocks.TYPES[name], n_cols, first, n_tokens, stride, n_tiles], arrays)
    room.check()
    out = room.array.reshape(n_tokens, stride)
    gaps = np.ascontiguousarray(out[:, n_rows:])
    assert (gaps.view(np.uint8) == room.MARK).all(), "written between the rows of out"
    return out[:, :n_rows].copy()


def assert_within_bound(name: str, out: Array, weights: Weights, x: Array) -> None:
    n_cols = x.shape[1]
    n = (n_cols if name in blocks.FLOAT_TYPES else n_cols // 16) + 6
    expected = x @ weights.values.astype(np.float64).T
    bound = n * UNIT / (1 - n * UNIT) * (np.abs(x) @ weights.terms.T)
    n_rows = len(weights.values)
    assert (np.abs(out[:, :n_rows] - expected) <= bound).all()
    assert (out[:, n_rows:] == 0).all()


def column_counts(name: str) -> list[int]:
    if name in blocks.FLOAT_TYPES:
        return [1, 2, 31, 64, 100]
    columns = blocks.BLOCK_SIZES[blocks.TYPES[name]][0]
    return [c for c in (32, 64, 96, 256, 512, 544, 768) if c % columns == 0]


def token_counts(n_cols: int) -> Iterator[int]:
    """Every count once around the register tiles; a few for the other sizes."""
    yield from range(1, MAX_TOKENS + 1) if n_cols in (64, 256) else (1, 8, 11)


@pytest.mark.parametrize("name", blocks.TYPES)
def test_is_the_product_within_the_bound(runner: Runner, name: str) -> None:
    rng = np.random.default_rng(blocks.TYPES[name])
    for n_cols in column_counts(name):
        weights = blocks.random_weights(name, 16, n_cols, rng)
        tile = blocks.packed(name, weights.rows, n_cols)
        x = random_inputs(MAX_TOKENS + 2, n_cols, rng)
        for n_tokens in token_counts(n_cols):
            out = matmul(runner, name, tile, x, 2, n_tokens)
            assert_within_bound(name, out, weights, x.values(name)[2 : 2 + n_tokens])


@pytest.mark.parametrize("name", blocks.TYPES)
def test_partial_tiles_give_zeros_in_the_missing_rows(runner: Runner, name: str) -> None:
    rng = np.random.default_rng(1)
    for n_rows in range(1, 17):
        weights = blocks.random_weights(name, n_rows, 256, rng)
        x = random_inputs(3, 256, rng)
        out = matmul(runner, name, blocks.packed(name, weights.rows, 256), x, 0, 3)
        assert_within_bound(name, out, weights, x.values(name))


@pytest.mark.parametrize("name", blocks.TYPES)
def test_a_token_does_not_depend_on_its_companions(runner: Runner, name: str) -> None:
    """Bit for bit: prefill, decode and batches of any size then say the same."""
    rng = np.random.default_rng(2)
    weights = blocks.random_weights(name, 16, 768, rng)
    tile = blocks.packed(name, weights.rows, 768)
    x = random_inputs(MAX_TOKENS, 768, rng)
    alone = np.concatenate([matmul(runner, name, tile, x, t, 1) for t in range(MAX_TOKENS)])
    for n_tokens in range(2, MAX_TOKENS + 1):
        together = matmul(runner, name, tile, x, 0, n_tokens)
        np.testing.assert_array_equal(together.view(np.uint32), alone[:n_tokens].view(np.uint32))


@pytest.mark.parametrize("fill", [0x00, 0xFF, 0x80, 0x7F])
@pytest.mark.parametrize("name", blocks.INTEGER_TYPES)
def test_extreme_codes_scales_and_activations(runner: Runner, name: str, fill: int) -> None:
    """Nothing saturates: all codes at an end of their range, against activations at theirs."""
    weights = blocks.extreme_weights(name, 512, fill)
    q = np.full((3, 512), 127, np.int8)
    q[1] = -127
    q[2, ::2] = -127
    x = inputs_from(q, np.ones((3, 16), np.float32), np.zeros((3, 512), np.float32))
    out = matmul(runner, name, blocks.packed(name, weights.rows, 512), x, 0, 3)
    assert_within_bound(name, out, weights, x.values(name))


@pytest.mark.parametrize("name", blocks.TYPES)
def test_two_tiles_are_each_what_it_is_alone(runner: Runner, name: str) -> None:
    """Bit for bit, whatever the number of tokens; the scratch is never read before it is written."""
    rng = np.random.default_rng(5)
    n_cols = 512
    weights = blocks.random_weights(name, 32, n_cols, rng)
    tiles = blocks.packed(name, weights.rows, n_cols)
    second = tiles[blocks.tile_bytes(name, n_cols) :]
    x = random_inputs(MANY_TOKENS, n_cols, rng)
    singly = [matmul(runner, name, tile, x, 0, MANY_TOKENS) for tile in (tiles, second)]
    alone = np.concatenate(singly, axis=1)
    for n_tokens in range(1, MANY_TOKENS + 1):
        together = matmul(runner, name, tiles, x, 0, n_tokens, n_tiles=2)
        np.testing.assert_array_equal(together.view(np.uint32), alone[:n_tokens].view(np.uint32))


@pytest.mark.parametrize("name", blocks.INTEGER_TYPES)
def test_two_tiles_with_extreme_codes_and_scales(runner: Runner, name: str) -> None:
    q = np.full((MANY_TOKENS, 512), 127, np.int8)
    q[1::3] = -127
    q[2::3, ::2] = -127
    x = inputs_from(q, np.ones((MANY_TOKENS, 16), np.float32), np.zeros((MANY_TOKENS, 512), np.float32))
    for fills in ((0x00, 0xFF), (0x80, 0x7F)):
        parts = [blocks.extreme_weights(name, 512, fill) for fill in fills]
        weights = Weights(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        out = matmul(runner, name, blocks.packed(name, weights.rows, 512), x, 0, MANY_TOKENS, n_tiles=2)
        assert_within_bound(name, out, weights, x.values(name))


def test_overwrites_what_was_in_out(runner: Runner) -> None:
    weights = blocks.random_weights("Q4_0", 16, 64, np.random.default_rng(3))
    tile = blocks.packed("Q4_0", weights.rows, 64)
    x = random_inputs(1, 64, np.random.default_rng(4))
    arrays = [tile, x.f32, x.q, x.scale, x.sums]
    scratch = blocks.aligned(_native.matmul_scratch_bytes(64))
    first, second = np.full(16, np.nan, np.float32), np.zeros(16, np.float32)
    for out in (first, second):
        runner("matmul", [blocks.TYPES["Q4_0"], 64, 0, 1, 16, 1], [*arrays, out, scratch])
    np.testing.assert_array_equal(first, second)
