"""The plan against a search through all plans."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropilla.engine.speculation.plan import plan

falling = st.lists(st.floats(0.01, 0.99), max_size=4).map(lambda chances: sorted(chances, reverse=True))


def score(chances: Sequence[Sequence[float]], counts: Sequence[int], cost: Callable[[int], float]) -> float:
    """Return the logarithm of the product of all sequences' speeds."""
    expected = [1 + sum(chance[:n]) for chance, n in zip(chances, counts, strict=True)]
    return sum(math.log(e / cost(len(chances) + sum(counts))) for e in expected)


@given(chances=st.lists(falling, min_size=1, max_size=3), slope=st.floats(0.0, 1.0), most=st.integers(0, 8))
def test_no_other_plan_is_better(chances: list[list[float]], slope: float, most: int) -> None:
    def cost(n: int) -> float:
        return 1 + slope * n

    counts = plan(chances, n_tokens=len(chances), most=most, seconds=cost)
    assert sum(counts) <= most
    every = itertools.product(*(range(len(chance) + 1) for chance in chances))
    best = max(score(chances, other, cost) for other in every if sum(other) <= most)
    plain = score(chances, [0] * len(chances), cost)
    if any(counts):
        assert score(chances, counts, cost) == pytest.approx(best)
    else:
        assert best <= plain + math.log(1.05) + 1e-9


def test_free_tokens_are_all_taken_and_dear_ones_are_not() -> None:
    chances = [[0.9, 0.8, 0.7], [0.5]]
    assert plan(chances, n_tokens=2, most=10, seconds=lambda _: 1.0) == [3, 1]
    assert plan(chances, n_tokens=2, most=2, seconds=lambda _: 1.0) == [1, 1]
    assert plan(chances, n_tokens=2, most=10, seconds=float) == [0, 0]


def test_a_full_batch_is_not_slowed_for_one() -> None:
    """Sixteen sequences: what one would gain costs the others more than that."""
    sure = [[0.99] * 8]

    def cost(n: int) -> float:
        return 1 + 0.1 * n

    assert plan(sure, n_tokens=1, most=8, seconds=cost) == [8]
    assert sum(plan(sure + [[]] * 15, n_tokens=16, most=8, seconds=cost)) < 8


def test_a_cheap_size_after_a_dear_one_is_found() -> None:
    """Kernels take eight tokens at once, say."""
    assert plan([[0.9] * 7], n_tokens=1, most=7, seconds=lambda n: 1.0 if n in (1, 8) else 9.0) == [7]
