"""Estimated seconds: what was seen, proportion between, the slope beyond."""

from __future__ import annotations

import pytest

from tropilla.engine.speculation.step_costs import StepCosts


def costs_of(**seconds: float) -> StepCosts:
    costs = StepCosts()
    for size, value in seconds.items():
        costs.note(int(size[1:]), value)
    return costs


def test_further_tokens_cost_little_before_anything_is_known() -> None:
    assert 1 < StepCosts().seconds(16) / StepCosts().seconds(1) < 3
    one_seen = costs_of(n1=2.0)
    assert one_seen.seconds(1) == 2.0
    assert 2.0 < one_seen.seconds(8) < 4.0


def test_sizes_between_and_beyond() -> None:
    costs = costs_of(n4=2.0, n1=1.0, n8=4.0)
    assert [costs.seconds(n) for n in (1, 4, 8)] == [1.0, 2.0, 4.0]
    assert costs.seconds(2) == pytest.approx(4 / 3)
    assert costs.seconds(6) == pytest.approx(3.0)
    assert costs.seconds(15) == pytest.approx(4.0 + 7 * 3 / 7)
    assert costs_of(n4=2.0, n8=4.0).seconds(1) == 2.0


def test_follows_changes_and_shrugs_off_a_hiccup() -> None:
    costs = costs_of(n1=1.0)
    for _ in range(50):
        costs.note(1, 1.0)
    costs.note(1, 100.0)
    assert costs.seconds(1) < 1.2
    for _ in range(100):
        costs.note(1, 3.0)
    assert costs.seconds(1) == pytest.approx(3.0, rel=0.01)
