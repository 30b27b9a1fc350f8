"""Temperature, dynamic temperature and smoothing reshape as the reference does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.sampling import reference
from tests.engine.sampling.harness import (
    Logits,
    assert_distribution,
    distribution,
    logits_of_every_shape,
    make_sampler,
)
from tests.engine.sampling.reference import all_candidates


@given(logits=logits_of_every_shape(), T=st.floats(0.05, 10))
def test_temperature_divides(logits: Logits, T: float) -> None:
    expected = reference.temperature(all_candidates(logits), T).distribution()
    assert_distribution(distribution(make_sampler(len(logits), temperature=T), logits), expected)


@given(logits=logits_of_every_shape())
def test_temperature_zero_keeps_the_first_of_the_best(logits: Logits) -> None:
    assert distribution(make_sampler(len(logits), temperature=0), logits) == {int(np.argmax(logits)): 1.0}


def one_ulp(logits: Logits, divisor: float = 1.0) -> float:
    """Return how much one last place of a reshaped logit changes a probability, relatively.

    Where the new logit depends on an exponential, the two sides may round it to neighbouring float32.
    """
    largest = float(np.abs(logits[np.isfinite(logits)]).max()) / divisor
    return largest * 2.0**-22 + 1e-9


@given(
    logits=logits_of_every_shape().filter(lambda x: np.abs(x[np.isfinite(x)]).max() < 100),
    T=st.floats(0.5, 3),
    spread=st.floats(0.1, 0.4),
    exponent=st.floats(0.25, 4),
)
def test_dynamic_temperature_follows_the_entropy(
    logits: Logits, T: float, spread: float, exponent: float
) -> None:
    expected = reference.dynamic_temperature(all_candidates(logits), T, spread, exponent).distribution()
    sampler = make_sampler(
        len(logits), temperature=T, dynamic_temperature_range=spread, dynamic_temperature_exponent=exponent
    )
    # two logits, each off by one place: their difference by two
    assert_distribution(distribution(sampler, logits), expected, rtol=2 * one_ulp(logits, T - spread))


@given(logits=logits_of_every_shape(), f=st.floats(0.01, 5), curve=st.floats(1, 10))
def test_smoothing_is_the_cubic_of_the_table(logits: Logits, f: float, curve: float) -> None:
    expected = reference.smoothing(all_candidates(logits), f, curve)
    actual = distribution(make_sampler(len(logits), smoothing_factor=f, smoothing_curve=curve), logits)
    assert_distribution(actual, expected.distribution(), rtol=2 * one_ulp(expected.x) + 1e-9)


def test_dynamic_temperature_by_hand() -> None:
    """Two equal candidates have entropy ln 2 = ln N: the highest temperature; one has none."""
    sampler = make_sampler(3, temperature=1.0, dynamic_temperature_range=0.5)
    flat = np.zeros(3, np.float32)
    assert distribution(sampler, flat) == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    steep = np.array([1000, 0, 0], np.float32)  # no entropy at all: T = 0.5, still certain
    assert distribution(sampler, steep) == {0: 1.0, 1: 0.0, 2: 0.0}


def test_smoothing_by_hand() -> None:
    """f = 1, c = 1: k = 1, s = 0, so d = -2 becomes -4."""
    logits = np.array([5, 3], np.float32)
    actual = distribution(make_sampler(2, smoothing_factor=1.0, smoothing_curve=1.0), logits)
    assert actual[1] == pytest.approx(1 / (1 + np.exp(4)))


def test_a_dynamic_temperature_that_falls_to_zero_takes_the_best() -> None:
    logits = np.array([0, 800, 0], np.float32)
    sampler = make_sampler(3, temperature=0.0, dynamic_temperature_range=0.5)
    assert distribution(sampler, logits) == {1: 1.0}
