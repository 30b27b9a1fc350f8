"""Encode the K types: 256 weights share float16 scales, which whole numbers of a few bits divide up.

A sub-block's scale and minimum are fitted by least squares to quants rounded under several candidate
scales; then the whole numbers nearest to the fit and their neighbours are compared by the error that they
leave, and at last the float16 scales are fitted anew to all 256 weights. This is the definition of the
search; csrc/quantize/superblocks.h does the same operations in the same order, so its bytes are the same.
Layouts: see tropilla.formats.dequantize.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tropilla.formats.dequantize import Blocks, Bytes, Floats
from tropilla.formats.tensor_types import TensorType

# Candidate scales: the range over a few more or fewer levels than there are.
_STEPS = [np.float32(0.25 * step) for step in range(-4, 5)]
# Rounds of: quants under the fitted scale, then the scale that fits them best.
_REFINEMENTS = 2
# How far from the nearest whole number a sub-block's scale is looked for.
_OFFSETS = [np.float32(offset) for offset in (-1, 0, 1)]

_ONE, _ZERO = np.float32(1), np.float32(0)
_LARGEST = np.float32(np.finfo(np.float32).max)


class _Shape(NamedTuple):
    """Say how a type divides a superblock: columns of a sub-block, its quants, its whole numbers."""

    columns: int
    least: int  # quant; 0 where a minimum is subtracted
    top: int  # quant
    limit: int  # of the whole numbers: 0 to limit, or -limit to limit - 1


_SHAPES: Mapping[TensorType, _Shape] = {
    TensorType.Q2_K: _Shape(16, 0, 3, 15),
    TensorType.Q3_K: _Shape(16, -4, 3, 32),
    TensorType.Q4_K: _Shape(32, 0, 15, 63),
    TensorType.Q5_K: _Shape(32, 0, 31, 63),
    TensorType.Q6_K: _Shape(16, -32, 31, 128),
}


class Superblocks(NamedTuple):
    """Hold found scales and quants: weight = d * scale * quant - d_min * minimum.

    d, d_min: (B,); scale, minimum: (B, sub-blocks), whole; quants: (B, 256), whole, counted from 0.
    """

    d: Floats
    d_min: Floats
    scale: Floats
    minimum: Floats
    quants: Bytes


def search(tensor_type: TensorType, rows: Floats) -> Superblocks:
    """Find the scales and quants of superblocks; rows: (B, 256) float32, finite, at most 2**30."""
    shape = _SHAPES[tensor_type]
    parts = rows.reshape(len(rows), -1, shape.columns)
    with np.errstate(all="ignore"):  # as in C++, infinities and NaN lose every comparison
        return _search_signed(parts, shape) if shape.least else _search_affine(parts, shape)


def _ratio(a: Floats, b: Floats) -> Floats:
    """Return a / b, and 0 where b is 0."""
    return np.where(b == 0, _ZERO, a / np.where(b == 0, _ONE, b))


def _inverse(scale: Floats) -> Floats:
    inverse = _ratio(np.broadcast_to(_ONE, scale.shape), scale)
    return np.where(np.abs(inverse) <= _LARGEST, inverse, _ZERO)


def _clamp(numbers: Floats, least: float, top: float) -> Floats:
    raised = np.where(numbers > np.float32(least), numbers, np.float32(least))
    return np.where(raised < np.float32(top), raised, np.float32(top))


def _through_half(numbers: Floats) -> Floats:
    return numbers.astype(np.float16).astype(np.float32)


def _columns(parts: Floats) -> Iterator[Floats]:
    """Yield column after column: sums are taken in this order."""
    return iter(np.moveaxis(parts, -1, 0))


@dataclass(frozen=True, slots=True)
class _Rounding:
    """Say how quants come about: (x + shift) * inverse, rounded to nearest and clamped."""

    inverse: Floats
    shift: Floats
    shape: _Shape

    def __call__(self, column: Floats) -> Floats:
        return _clamp(np.rint((column + self.shift) * self.inverse), self.shape.least, self.shape.top)


class _Sums(NamedTuple):
    """Hold what least squares needs to know of the quants of a sub-block."""

    q: Floats
    qq: Floats
    xq: Floats


def _sums(parts: Floats, rounding: _Rounding) -> _Sums:
    q, qq, xq = (np.zeros(parts.shape[:-1], np.float32) for _ in range(3))
    for column in _columns(parts):
        quants = rounding(column)
        q += quants
        qq += quants * quants
        xq += column * quants
    return _Sums(q, qq, xq)


def _error(parts: Floats, rounding: _Rounding, scale: Floats, minimum: Floats) -> Floats:
    """Return the squared error of scale * quant - minimum for each sub-block."""
    total = np.zeros(parts.shape[:-1], np.float32)
    for column in _columns(parts):
        left = column - (scale * rounding(column) - minimum)
        total += left * left
    return total


def _added(parts: Floats) -> Floats:
    total = np.zeros(parts.shape[:-1], np.float32)
    for column in _columns(parts):
        total += column
    return total


class _Affine(NamedTuple):
    """Hold weight = scale * quant - minimum and by how much that lowers the squared error."""

    scale: Floats
    minimum: Floats
    gain: Floats


def _least_squares(sums: _Sums, total: Floats, columns: int) -> _Affine:
    n = np.float32(columns)
    slope = _ratio(n * sums.xq - total * sums.q, n * sums.qq - sums.q * sums.q)
    slope = np.where(slope > 0, slope, _ZERO)
    offset = (slope * sums.q - total) / n
    alone = _ratio(sums.xq, sums.qq)
    alone = np.where(alone > 0, alone, _ZERO)
    scale: Floats = np.where(offset < 0, alone, slope)
    minimum: Floats = np.where(offset > 0, offset, _ZERO)
    return _Affine(scale, minimum, scale * sums.xq - minimum * total)


def _better(best: _Affine, other: _Affine) -> _Affine:
    better = other.gain > best.gain
    scale = np.where(better, other.scale, best.scale)
    minimum = np.where(better, other.minimum, best.minimum)
    return _Affine(scale, minimum, np.where(better, other.gain, best.gain))


def _fit_affine(parts: Floats, total: Floats, shape: _Shape) -> _Affine:
    least, greatest = np.minimum(parts.min(axis=-1), _ZERO), parts.max(axis=-1)
    worst: Floats = np.full(least.shape, -_LARGEST, np.float32)
    best = _Affine(np.zeros_like(least), -least, worst)
    for step in _STEPS:
        rounding = _Rounding(_inverse((greatest - least) / (np.float32(shape.top) + step)), -least, shape)
        best = _better(best, _least_squares(_sums(parts, rounding), total, shape.columns))
    for _ in range(_REFINEMENTS):
        rounding = _Rounding(_inverse(best.scale), best.minimum, shape)
        best = _better(best, _least_squares(_sums(parts, rounding), total, shape.columns))
    return best


def _choose_pairs(
    parts: Floats, total: Floats, fit: _Affine, d: Floats, d_min: Floats, shape: _Shape
) -> tuple[Floats, Floats]:
    """Return the whole numbers of the sub-blocks, given the scales (B, 1) that they multiply."""
    inverse_min = _inverse(d_min)
    nearest = _clamp(np.rint(fit.scale * _inverse(d)), 0, shape.limit)
    nearest_min = _clamp(np.rint(fit.minimum * inverse_min), 0, shape.limit)
    scale, minimum, least_error = nearest, nearest_min, np.full_like(nearest, _LARGEST)
    for offset in _OFFSETS:
        tried = _clamp(nearest + offset, 0, shape.limit)
        real = d * tried
        inverse = _inverse(real)
        sums = _sums(parts, _Rounding(inverse, d_min * nearest_min, shape))
        fitted = (real * sums.q - total) / np.float32(shape.columns)
        tried_min = _clamp(np.rint(fitted * inverse_min), 0, shape.limit)
        real_min = d_min * tried_min
        error = _error(parts, _Rounding(inverse, real_min, shape), real, real_min)
        better = error < least_error
        scale, minimum = np.where(better, tried, scale), np.where(better, tried_min, minimum)
        least_error = np.where(better, error, least_error)
    return scale, minimum


class _Scales(NamedTuple):
    """Hold d and d_min, (B, 1), and the whole numbers that they multiply, (B, sub-blocks)."""

    d: Floats
    d_min: Floats
    scale: Floats
    minimum: Floats

    def rounding(self, shape: _Shape) -> _Rounding:
        return _Rounding(_inverse(self.d * self.scale), self.d_min * self.minimum, shape)

    def error(self, parts: Floats, shape: _Shape) -> Floats:
        of_parts = _error(parts, self.rounding(shape), self.d * self.scale, self.d_min * self.minimum)
        return _added(of_parts)[:, None]

    def quants(self, parts: Floats, shape: _Shape) -> Bytes:
        rounding = self.rounding(shape)
        columns = [rounding(column) - np.float32(shape.least) for column in _columns(parts)]
        return np.stack(columns, axis=-1).reshape(len(parts), -1).astype(np.uint8)


def _refit_affine(parts: Floats, total: Floats, found: _Scales, shape: _Shape) -> _Scales:
    """Fit d and d_min anew to all weights, given the whole numbers; keep the old where they are better."""
    sums = _sums(parts, found.rounding(shape))
    scale, minimum = found.scale, found.minimum
    ss = _added(scale * scale * sums.qq)[:, None]
    sm = _added(scale * minimum * sums.q)[:, None]
    mm = _added(minimum * minimum * np.float32(shape.columns))[:, None]
    xs = _added(scale * sums.xq)[:, None]
    xm = _added(minimum * total)[:, None]
    both = ss * mm - sm * sm
    d = np.where(both > 0, _ratio(xs * mm - xm * sm, both), _ratio(xs, ss))
    d = _through_half(np.where(d > 0, d, _ZERO))
    d_min = _ratio(d * sm - xm, mm)
    d_min = _through_half(np.where(d_min > 0, d_min, _ZERO))
    return _keep_better(parts, found, found._replace(d=d, d_min=d_min), shape)


def _keep_better(parts: Floats, found: _Scales, other: _Scales, shape: _Shape) -> _Scales:
    better = other.error(parts, shape) < found.error(parts, shape)
    d, d_min = np.where(better, other.d, found.d), np.where(better, other.d_min, found.d_min)
    return found._replace(d=d, d_min=d_min)


def _search_affine(parts: Floats, shape: _Shape) -> Superblocks:
    total = _added(parts)
    fit = _fit_affine(parts, total, shape)
    limit = np.float32(shape.limit)
    d = _through_half(fit.scale.max(axis=1, keepdims=True) / limit)
    d_min = _through_half(fit.minimum.max(axis=1, keepdims=True) / limit)
    scale, minimum = _choose_pairs(parts, total, fit, d, d_min, shape)
    found = _refit_affine(parts, total, _Scales(d, d_min, scale, minimum), shape)
    return Superblocks(found.d[:, 0], found.d_min[:, 0], scale, minimum, found.quants(parts, shape))


def _largest(numbers: Floats) -> Floats:
    """Return the number of largest magnitude of each run, the first of equal ones."""
    at = np.abs(numbers).argmax(axis=-1)[..., None]
    return np.take_along_axis(numbers, at, axis=-1)[..., 0]


def _fit_signed(parts: Floats, shape: _Shape) -> Floats:
    largest = _largest(parts)
    zero = np.zeros_like(largest)
    best, best_gain = zero, zero

    def keep_better(inverse: Floats) -> None:
        nonlocal best, best_gain
        sums = _sums(parts, _Rounding(inverse, zero, shape))
        scale = _ratio(sums.xq, sums.qq)
        gain = scale * sums.xq
        better = gain > best_gain
        best, best_gain = np.where(better, scale, best), np.where(better, gain, best_gain)

    for step in _STEPS:
        keep_better(-_inverse(largest / (np.float32(-shape.least) + step)))
    for _ in range(_REFINEMENTS):
        keep_better(_inverse(best))
    return best


def _choose_scales(parts: Floats, fitted: Floats, d: Floats, shape: _Shape) -> Floats:
    nearest = _clamp(np.rint(fitted * _inverse(d)), -shape.limit, shape.limit - 1)
    scale, least_error, zero = nearest, np.full_like(nearest, _LARGEST), np.zeros_like(nearest)
    for offset in _OFFSETS:
        tried = _clamp(nearest + offset, -shape.limit, shape.limit - 1)
        real = d * tried
        error = _error(parts, _Rounding(_inverse(real), zero, shape), real, zero)
        better = error < least_error
        scale, least_error = np.where(better, tried, scale), np.where(better, error, least_error)
    return scale


def _search_signed(parts: Floats, shape: _Shape) -> Superblocks:
    fitted = _fit_signed(parts, shape)
    d = _through_half(_largest(fitted)[:, None] / np.float32(-shape.limit))
    scale = _choose_scales(parts, fitted, d, shape)
    zero = np.zeros_like(scale)
    found = _Scales(d, np.zeros_like(d), scale, zero)
    sums = _sums(parts, found.rounding(shape))
    refitted = _ratio(_added(scale * sums.xq), _added(scale * scale * sums.qq))[:, None]
    found = _keep_better(parts, found, found._replace(d=_through_half(refitted)), shape)
    return Superblocks(found.d[:, 0], found.d_min[:, 0], scale, zero, found.quants(parts, shape))


def _planes(numbers: Bytes, bits: int, group: int, shift: int = 0) -> Bytes:
    """Pack fields of `bits` bits: into each run of `group` bytes first all lowest fields, then all next."""
    planes = numbers.reshape(len(numbers), -1, 8 // bits, group) >> np.uint8(shift)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    packed: Bytes = np.bitwise_or.reduce((planes & np.uint8((1 << bits) - 1)) << shifts, axis=2)
    return packed.reshape(len(numbers), -1)


def _six_bit_pairs(found: Superblocks) -> Bytes:
    scale, minimum = found.scale.astype(np.uint8), found.minimum.astype(np.uint8)
    early = [numbers[:, :4] | numbers[:, 4:] >> 4 << 6 for numbers in (scale, minimum)]
    return np.concatenate([*early, scale[:, 4:] & 15 | (minimum[:, 4:] & 15) << 4], axis=1)


def q2_k(found: Superblocks, blocks: Blocks) -> None:
    """Lay out Q2_K blocks, but for the float16 scales."""
    blocks["scales"] = found.scale.astype(np.uint8) | found.minimum.astype(np.uint8) << 4
    blocks["qs"] = _planes(found.quants, 2, 32)


def q3_k(found: Superblocks, blocks: Blocks) -> None:
    """Lay out Q3_K blocks, but for the float16 scale."""
    scales = (found.scale + 32).astype(np.uint8)
    blocks["scales"] = np.concatenate([_planes(scales, 4, 8), _planes(scales, 2, 4, shift=4)], axis=1)
    blocks["qs"], blocks["hmask"] = _planes(found.quants, 2, 32), _planes(found.quants, 1, 32, shift=2)


def q4_k(found: Superblocks, blocks: Blocks) -> None:
    """Lay out Q4_K blocks, but for the float16 scales."""
    blocks["scales"], blocks["qs"] = _six_bit_pairs(found), _planes(found.quants, 4, 32)


def q5_k(found: Superblocks, blocks: Blocks) -> None:
    """Lay out Q5_K blocks, but for the float16 scales."""
    q4_k(found, blocks)
    blocks["qh"] = _planes(found.quants, 1, 32, shift=4)


def q6_k(found: Superblocks, blocks: Blocks) -> None:
    """Lay out Q6_K blocks, but for the float16 scale."""
    blocks["scales"] = found.scale.astype(np.int8)
    blocks["ql"], blocks["qh"] = _planes(found.quants, 4, 64), _planes(found.quants, 2, 32, shift=4)
