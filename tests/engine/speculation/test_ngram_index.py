"""The index finds what a search through all tokens finds, and a rewind leaves no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropilla._native import NgramIndex

LONGEST, SHORTEST = 32, 2

few_tokens = st.lists(st.integers(0, 3), max_size=60)
some_tokens = st.lists(st.integers(0, 30), max_size=200)


def find(index: NgramIndex, most: int) -> tuple[int, list[int]]:
    n_matched = index.match()
    return n_matched, index.following(most)


def indexed(tokens: list[int]) -> NgramIndex:
    index = NgramIndex()
    index.extend(tokens)
    return index


def agreement(tokens: list[int], place: int) -> int:
    """Return how many tokens up to a place agree with the last ones, LONGEST at most."""
    n = 0
    while n < min(LONGEST, place + 1) and tokens[place - n] == tokens[-1 - n]:
        n += 1
    return n


def continued(tokens: list[int], place: int, most: int) -> list[int]:
    """Return the tokens after a place, and after the last one what these themselves say comes next."""
    following = tokens[place + 1 :]
    return [following[i % len(following)] for i in range(most)]


@given(tokens=some_tokens | few_tokens, most=st.integers(0, 40))
def test_finds_the_latest_longest_match(tokens: list[int], most: int) -> None:
    """A few places are tried for each length, so a match is always one, and the best where few are."""
    matches = [agreement(tokens, place) for place in range(len(tokens) - 1)]
    longest = max(matches, default=0)
    n_matched, following = find(indexed(tokens), most)
    assert n_matched <= longest
    if n_matched:
        assert n_matched >= SHORTEST
        places = [place for place, n in enumerate(matches) if n == n_matched]
        assert any(following == continued(tokens, place, most) for place in places)
    else:
        assert following == []
    if sum(n >= SHORTEST for n in matches) <= 3:
        assert n_matched == (longest if longest >= SHORTEST else 0)
        if n_matched:
            assert following == continued(tokens, max(places), most)


@given(pieces=st.lists(few_tokens, max_size=6))
def test_tokens_may_come_in_pieces(pieces: list[list[int]]) -> None:
    index = NgramIndex()
    for piece in pieces:
        index.extend(piece)
    whole = [token for piece in pieces for token in piece]
    assert len(index) == len(whole)
    assert find(index, 8) == find(indexed(whole), 8)


@given(kept=few_tokens, dropped=some_tokens, after=few_tokens)
def test_a_rewind_leaves_no_trace(kept: list[int], dropped: list[int], after: list[int]) -> None:
    index = indexed([*kept, *dropped])
    index.rewind(len(dropped))
    index.extend(after)
    assert find(index, 8) == find(indexed([*kept, *after]), 8)


def test_a_long_text_is_found_again_at_its_first_words() -> None:
    text = [i * 7919 % 50_000 for i in range(3000)]
    index = indexed(text)
    index.extend(text[1000:1002])
    assert find(index, 31) == (2, text[1002:1033])
    index.extend(text[1002:1100])
    assert find(index, 31) == (LONGEST, text[1100:1131])


def test_a_period_goes_on() -> None:
    assert find(indexed([9, 1, 2, 3, 1, 2, 3]), 7) == (3, [1, 2, 3, 1, 2, 3, 1])


def test_a_rewind_of_more_than_there_is() -> None:
    with pytest.raises(ValueError, match="fewer tokens"):
        indexed([1, 2]).rewind(3)
