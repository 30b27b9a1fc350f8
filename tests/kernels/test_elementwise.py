"""Quantising, norm, addition, SiLU, rotation and half precision against float64.

u = 2^-24 is the error of one rounded operation; each bound counts the operations on a term's path.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from tests.kernels.runner import Array, Canaried, Runner, unaligned

UNIT = 2.0**-24
# Around vectors of 4, 8 and 16 floats and pairs of them, and a model's width.
LENGTHS = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 576]


def floats(values: Sequence[float]) -> Array:
    return np.array(values, np.float32)


def normal(n: int, seed: int = 0) -> Array:
    return unaligned(np.random.default_rng(seed).standard_normal(n).astype(np.float32))


class Quantized:
    def __init__(self, runner: Runner, x: Array) -> None:
        rooms = [
            Canaried((x.size,), np.int8),
            Canaried((x.size // 32,), np.float32),
            Canaried((x.size // 16,), np.int32),
        ]
        self.q, self.scale, self.sums = (room.array for room in rooms)
        runner("quantize", [x.size], [unaligned(x), self.q, self.scale, self.sums])
        for room in rooms:
            room.check()


def halfway_block() -> Array:
    """127 and fifteen exact halves: the tie rule decides each."""
    x = np.zeros(32, np.float32)
    x[0] = 127.0
    x[1:16] = np.arange(15) - 7 + 0.5
    return x


def nearest_even(x: float, inverse: float) -> int:
    return round(Fraction(float(np.float32(x) * np.float32(inverse))))


def test_quantize_rounds_to_nearest_ties_to_even(runner: Runner) -> None:
    x = np.concatenate([normal(320, i) * 10.0 ** (i - 5) for i in range(11)] + [halfway_block()])
    x = x.astype(np.float32)
    result = Quantized(runner, x)
    blocks = x.reshape(-1, 32)
    amax = np.abs(blocks).max(axis=1)
    np.testing.assert_array_equal(result.scale, amax / np.float32(127))
    inverse = np.float32(127) / amax
    for block, inv, q in zip(blocks, inverse, result.q.reshape(-1, 32), strict=True):
        assert q.tolist() == [nearest_even(value, inv) for value in block]
    np.testing.assert_array_equal(result.sums, result.q.reshape(-1, 16).astype(np.int32).sum(axis=1))


def test_quantize_stays_within_127(runner: Runner) -> None:
    """A kernel that negates int8 must never meet -128."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (4096, 32)).astype(np.float32)
    x[:, 5] = -np.abs(x).max(axis=1)
    result = Quantized(runner, x.reshape(-1))
    assert result.q.reshape(-1, 32)[:, 5].tolist() == [-127] * 4096
    assert result.q.max() <= 127


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_quantize_carries_what_is_not_finite_to_the_scale(runner: Runner, bad: float) -> None:
    x = normal(64).copy()
    x[40] = bad
    result = Quantized(runner, x)
    assert np.isfinite(result.scale[0])
    assert not np.isfinite(result.scale[1])
    assert (result.q[32:] == 0).all()
    assert result.sums[2:].tolist() == [0, 0]


def test_quantize_takes_vanishing_blocks_for_zero(runner: Runner) -> None:
    result = Quantized(runner, np.repeat(floats([0.0, 1e-40, 7e-31]), 32))
    assert result.scale.tolist() == [0.0, 0.0, 0.0]
    assert not result.q.any()


@pytest.mark.parametrize("n", LENGTHS)
def test_rms_norm(runner: Runner, n: int) -> None:
    """The mean of n squares passes n + 2 roundings, the root halves their effect; five more follow."""
    x, weight = normal(n, 1) * 100, normal(n, 2)
    room = Canaried((n,), np.float32)
    runner("rms_norm", [n, 1e-5], [unaligned(x), weight, room.array])
    room.check()
    exact = x.astype(np.float64)
    expected = exact / np.sqrt((exact**2).mean() + 1e-5) * weight
    assert (np.abs(room.array - expected) <= ((n + 2) / 2 + 5) * UNIT * np.abs(expected)).all()


def test_rms_norm_adds_eps_inside_the_root(runner: Runner) -> None:
    out = np.empty(16, np.float32)
    runner("rms_norm", [16, 0.25], [np.zeros(16, np.float32), np.ones(16, np.float32), out])
    assert (out == 0).all()
    runner("rms_norm", [16, 0.75], [np.full(16, 0.5, np.float32), np.ones(16, np.float32), out])
    assert np.abs(out - 0.5).max() <= 4 * UNIT


@pytest.mark.parametrize("n", LENGTHS)
def test_add_is_exactly_float32(runner: Runner, n: int) -> None:
    room = Canaried((n,), np.float32)
    room.array[:] = normal(n, 3)
    expected = room.array + normal(n, 4)
    runner("add", [n], [room.array, normal(n, 4)])
    room.check()
    np.testing.assert_array_equal(room.array, expected)


def silu_mul(runner: Runner, gate: Array, up: Array) -> Array:
    room = Canaried(gate.shape, np.float32)
    runner("silu_mul", [gate.size], [unaligned(gate), unaligned(up), room.array])
    room.check()
    return room.array


def assert_silu_mul(out: Array, gate: Array, up: Array) -> None:
    """exp errs by at most 4 u; the sum, the quotient and the product add one each.

    Where exp(-gate) passes 2^128 the result is 0 instead of less than |gate| * 2^-128; a subnormal
    quotient errs by half of 2^-149.
    """
    g = gate.astype(np.float64)
    expected = g / (1.0 + np.exp(-g)) * up
    bound = 8 * UNIT * np.abs(expected) + (2.0**-128 * np.abs(g) + 2.0**-149) * np.abs(up)
    assert (np.abs(out - expected) <= bound).all()


@pytest.mark.parametrize("n", LENGTHS)
def test_silu_mul(runner: Runner, n: int) -> None:
    gate, up = normal(n, 5) * 5, normal(n, 6)
    assert_silu_mul(silu_mul(runner, gate, up), gate, up)


def test_silu_mul_over_the_whole_range_of_exp(runner: Runner) -> None:
    gate = np.linspace(-110, 110, 100_003).astype(np.float32)
    up = np.ones_like(gate)
    assert_silu_mul(silu_mul(runner, gate, up), gate, up)


def test_silu_mul_at_the_ends(runner: Runner) -> None:
    gate = floats([np.inf, np.nan, -1000.0, -0.0, 3e38])
    out = silu_mul(runner, gate, np.ones_like(gate))
    np.testing.assert_array_equal(out, floats([np.inf, np.nan, 0.0, 0.0, 3e38]))


@pytest.mark.parametrize("head_dim", [2, 4, 6, 14, 16, 18, 32, 64, 80, 128])
@pytest.mark.parametrize("n_heads", [1, 3])
def test_rope(runner: Runner, n_heads: int, head_dim: int) -> None:
    """Two products and a sum: at most two roundings on each term."""
    angles = np.random.default_rng(7).uniform(-3, 3, head_dim // 2)
    turn = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    room = Canaried((n_heads, head_dim // 2, 2), np.float32)
    room.array[...] = normal(n_heads * head_dim, 8).reshape(room.array.shape)
    a, b = np.moveaxis(room.array.astype(np.float64), 2, 0)
    runner("rope", [n_heads, head_dim], [room.array, unaligned(turn)])
    room.check()
    cos, sin = turn.astype(np.float64).T
    expected = np.stack([a * cos - b * sin, b * cos + a * sin], axis=2)
    terms = np.stack([np.abs(a * cos) + np.abs(b * sin), np.abs(b * cos) + np.abs(a * sin)], axis=2)
    assert (np.abs(room.array - expected) <= 2 * (1 + UNIT) * UNIT * terms).all()


def to_f16(runner: Runner, x: Array) -> Array:
    room = Canaried(x.shape, np.uint16)
    runner("to_f16", [x.size], [unaligned(x), room.array])
    room.check()
    return room.array


@pytest.mark.parametrize("n", LENGTHS)
def test_to_f16_of_every_length(runner: Runner, n: int) -> None:
    x = normal(n, 9)
    np.testing.assert_array_equal(to_f16(runner, x), x.astype(np.float16).view(np.uint16))


def test_to_f16_rounds_as_ieee_says(runner: Runner) -> None:
    """Every half, the point between it and the next, and that point's neighbours; NumPy's rounding."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    between = (halves[:-1] + halves[1:]) / 2
    points = np.concatenate([halves, between, np.nextafter(between, 0), np.nextafter(between, np.inf)])
    ends = floats([65519.9, 65520.0, 65536.0, 3e38, 1e-8, 1e-45, np.inf])
    x = np.concatenate([points, ends]).astype(np.float32)
    x = np.concatenate([x, -x])
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16).view(np.uint16)
    np.testing.assert_array_equal(to_f16(runner, x), expected)


def test_to_f16_keeps_nan(runner: Runner) -> None:
    assert np.isnan(to_f16(runner, floats([np.nan, -np.nan, 1.0])).view(np.float16)[:2]).all()


@pytest.mark.parametrize("head_dim", [32, 64, 96, 128])
def test_hadamard(runner: Runner, head_dim: int) -> None:
    """Sylvester's matrix on each block of a power of two; log2 sums and two roundings of the scale."""
    block = head_dim & -head_dim
    matrix = np.array([[(-1) ** (i & j).bit_count() for j in range(block)] for i in range(block)])
    x = normal(head_dim, 9)
    room = Canaried((head_dim,), np.float32)
    room.array[:] = x
    runner("hadamard", [head_dim], [room.array])
    room.check()
    blocks = x.astype(np.float64).reshape(-1, block)
    expected = (blocks @ matrix / np.sqrt(block)).reshape(-1)
    size = np.repeat(np.abs(blocks).sum(axis=1) / np.sqrt(block), block)
    assert (np.abs(room.array - expected) <= (np.log2(block) + 2) * UNIT * size).all()
