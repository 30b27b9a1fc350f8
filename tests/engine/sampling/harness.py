"""Samplers with single options, logits of every shape, and the comparison with the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.sampling.reference import LARGEST, Candidates, all_candidates
from tropilla import _native

Logits = NDArray[np.float32]


def make_params(**options: Any) -> _native.SamplerParams:
    """Return neutral parameters but for the given ones."""
    params = _native.SamplerParams()
    for name, value in options.items():
        assert hasattr(params, name)
        setattr(params, name, value)
    return params


def make_sampler(vocab_size: int, prompt: Sequence[int] = (), /, **options: Any) -> _native.Sampler:
    return _native.Sampler(make_params(**options), vocab_size, prompt)


def distribution(sampler: _native.Sampler, logits: Logits) -> dict[int, float]:
    """Return what the sampler would draw from."""
    return dict(sampler.probabilities(logits))


def generate(sampler: _native.Sampler, rows: Logits) -> list[int]:
    """Draw and accept one token for each row of logits."""
    tokens = []
    for row in rows:
        tokens.append(sampler.sample(row).token)
        sampler.accept(tokens[-1])
    return tokens


def random_rows(n: int, vocab_size: int, seed: int = 0) -> Logits:
    return np.random.default_rng(seed).normal(0, 2, (n, vocab_size)).astype(np.float32)


@st.composite
def logits_of_every_shape(draw: st.DrawFn, min_size: int = 1, max_size: int = 80) -> Logits:
    """Random, tied, flat, masked or extreme; at least one token is not masked."""
    size = draw(st.integers(min_size, max_size))
    element = draw(
        st.sampled_from([
            st.floats(-12, 12, width=32),
            st.integers(-3, 3).map(float),
            st.just(0.5),
            st.sampled_from([-LARGEST, -1e30, -50.0, 0.0, 50.0, 1e30, LARGEST]),
        ])
    )  # fmt: skip
    if draw(st.booleans()):
        element = st.one_of(element, element, st.just(-np.inf))
    logits = np.array(draw(st.lists(element, min_size=size, max_size=size)), np.float32)
    assume(np.isfinite(logits).any())
    return logits


def assert_distribution(actual: dict[int, float], expected: dict[int, float], *, rtol: float = 1e-9) -> None:
    """Same candidates, same probabilities.

    The logits are the same float32 numbers on both sides, so only exp and the order of the sums
    differ: some 1e-16 for each of at most a hundred terms.
    """
    assert sorted(actual) == sorted(expected)
    for token, p in expected.items():
        assert abs(actual[token] - p) <= rtol * p + 1e-300, (token, actual[token], p)


Filter = Callable[[Candidates, float], Candidates]


def filtered(reference: Filter, logits: Logits, limit: float) -> dict[int, float]:
    """Return the reference's distribution, skipping logits where rounding decides who survives."""
    c = all_candidates(logits)
    results = [reference(c, limit * (1 + nudge)) for nudge in (-1e-9, 0, 1e-9)]
    assume(all(np.array_equal(r.ids, results[1].ids) for r in results))
    return results[1].distribution()
