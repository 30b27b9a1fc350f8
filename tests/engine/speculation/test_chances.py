"""Chances begin at their priors and follow what happens."""

from __future__ import annotations

import pytest

from tropilla.engine.speculation.chances import Chances


def test_begins_with_the_priors() -> None:
    chances = Chances([0.25, 0.75])
    assert (chances[0], chances[1]) == (0.25, 0.75)


@pytest.mark.parametrize("accepted", [False, True])
def test_learns_each_kind_alone(accepted: bool) -> None:
    chances = Chances([0.5, 0.5])
    seen = [chances[1]]
    for _ in range(200):
        chances.note(1, accepted)
        seen.append(chances[1])
    assert seen == sorted(seen, reverse=not accepted)
    assert seen[-1] == pytest.approx(float(accepted), abs=1e-4)
    assert chances[0] == 0.5


def test_forgets_what_is_long_past() -> None:
    chances = Chances([0.5])
    for accepted in [False] * 500 + [True] * 100:
        chances.note(0, accepted)
    assert chances[0] > 0.99  # 0.95^100 of 20 tries are left of the past
