"""The two orders of rotary rows: attention scores must not depend on which one a file uses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tropilla.formats.rotary_rows import interleave_rows, is_rotated, split_rows

FloatArray = NDArray[np.float64]


def rotate_half_split(x: FloatArray, angles: FloatArray) -> FloatArray:
    """Hugging Face's rotation (RoFormer's rotate_half form): pairs (i, i + Dh/2)."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate(
        [a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1
    )


def rotate_interleaved(x: FloatArray, angles: FloatArray) -> FloatArray:
    """Meta's rotation: pairs (2i, 2i+1) as complex numbers (Su et al. 2021, section 3.4.2)."""
    rotated = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    return np.stack([rotated.real, rotated.imag], -1).reshape(x.shape)


@pytest.mark.parametrize(("n_heads", "head_dim", "dim"), [(1, 2, 3), (4, 8, 16), (3, 6, 5)])
def test_scores_agree_after_interleaving(n_heads: int, head_dim: int, dim: int) -> None:
    rng = np.random.default_rng(0)
    wq, wk = rng.normal(size=(2, n_heads * head_dim, dim))
    x, y = rng.normal(size=(2, dim))
    speeds = 0.3 ** np.arange(head_dim // 2)

    def scores(rotate: object, q: FloatArray, k: FloatArray) -> FloatArray:
        assert callable(rotate)
        q, k = ((w @ v).reshape(n_heads, head_dim) for w, v in ((q, x), (k, y)))
        return np.asarray((rotate(q, 7 * speeds) * rotate(k, 2 * speeds)).sum(-1))

    wq_ours, wk_ours = (
        np.frombuffer(
            interleave_rows(memoryview(w.tobytes()), head_dim=head_dim, row_bytes=8 * dim), np.float64
        ).reshape(w.shape)
        for w in (wq, wk)
    )
    # Both orders compute the same sums in another order: a few roundings of sums of head_dim products.
    np.testing.assert_allclose(
        scores(rotate_interleaved, wq_ours, wk_ours), scores(rotate_half_split, wq, wk), rtol=1e-12
    )


@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 5), st.randoms())
def test_splitting_undoes_interleaving(n_heads: int, half: int, row_bytes: int, random: object) -> None:
    data = np.random.default_rng(abs(hash(random)) % 2**32).bytes(n_heads * 2 * half * row_bytes)
    there = interleave_rows(memoryview(data), head_dim=2 * half, row_bytes=row_bytes)
    assert bytes(split_rows(there, head_dim=2 * half, row_bytes=row_bytes)) == data


def test_which_tensors_rotate() -> None:
    rotated = ["blk.0.attn_q.weight", "blk.11.attn_k.bias", "blk.0.attn_q_norm.weight"]
    others = ["blk.0.attn_v.weight", "blk.0.attn_output.weight", "blk.0.attn_norm.weight", "output.weight"]
    assert all(map(is_rotated, rotated))
    assert not any(map(is_rotated, others))
