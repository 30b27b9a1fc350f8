"""What is proposed, and what is learned from it."""

from __future__ import annotations

import pytest

from tropilla.engine.speculation.lookup import Lookup

TEXT = list(range(50))


def test_proposes_what_followed_with_falling_chances() -> None:
    token_ids, chances = Lookup([*TEXT, 10, 11, 12]).propose(8)
    assert token_ids == TEXT[13:21]
    assert chances == sorted(chances, reverse=True)
    assert 0.3 < chances[0] < 1


def test_proposes_nothing_where_nothing_repeats() -> None:
    assert Lookup(TEXT).propose(8) == ([], [])


def test_longer_matches_are_trusted_more() -> None:
    firsts = [Lookup([*TEXT, *range(10, 10 + n)]).propose(1).chances[0] for n in (2, 4, 8, 20, 40)]
    assert firsts == sorted(firsts)
    assert firsts[-1] > 0.9


def test_learns_without_being_asked_to_check() -> None:
    """A token that was not proposed in a step teaches as much as one that was."""
    lookup = Lookup(TEXT)
    before = Lookup([*TEXT, 1, 2]).propose(1).chances[0]
    for i in range(8):
        lookup.drawn([2 * i, 2 * i + 1])
        lookup.propose(4)
        lookup.drawn([100 + i])  # never what followed
    lookup.drawn([1, 2])
    assert lookup.propose(1).chances[0] < before / 2


def test_learns_only_up_to_the_first_wrong_token() -> None:
    right, wrong = Lookup([*TEXT, 10, 11]), Lookup([*TEXT, 10, 11])
    for lookup, drawn in ((right, [12, 13, 14]), (wrong, [12, 99])):
        lookup.propose(8)
        lookup.drawn(drawn)
        lookup.drawn([20, 21])
    assert right.propose(2).chances[0] == wrong.propose(2).chances[0]
    assert right.propose(2).chances[1] > wrong.propose(2).chances[1]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_rewind_takes_tokens_back(n: int) -> None:
    lookup = Lookup([*TEXT, 10, 11, 12, *range(60, 60 + n)])
    lookup.propose(4)
    lookup.rewind(n)
    assert lookup.propose(4).token_ids == TEXT[13:17]
