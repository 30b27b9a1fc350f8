"""The penalties look back at the sequence exactly as the reference does."""

from __future__ import annotations

from collections.abc import Sequence

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
from tropilla import _native

V = 12
LOGITS = logits_of_every_shape(min_size=V, max_size=V)
TOKENS = st.lists(st.integers(0, 5), max_size=40)
WINDOWS = st.one_of(st.just(-1), st.integers(1, 30))


def accepted(sampler: _native.Sampler, tokens: Sequence[int]) -> _native.Sampler:
    for token in tokens:
        sampler.accept(token)
    return sampler


@given(
    logits=LOGITS,
    prompt=TOKENS,
    reply=TOKENS,
    r=st.floats(0.3, 3),
    window=WINDOWS,
    slope=st.floats(0, 1),
    decay=st.integers(0, 20),
)
def test_repetition(
    logits: Logits, prompt: list[int], reply: list[int], r: float, window: int, slope: float, decay: int
) -> None:
    sampler = make_sampler(
        V,
        prompt,
        repetition_penalty=r,
        repetition_window=window,
        repetition_slope=slope,
        repetition_decay=decay,
    )
    expected = reference.repetition(
        all_candidates(logits), prompt + reply, r=r, window=window, slope=slope, decay=decay
    )
    assert_distribution(distribution(accepted(sampler, reply), logits), expected.distribution())


@given(
    logits=LOGITS,
    prompt=TOKENS,
    reply=TOKENS,
    frequency=st.floats(-2, 2),
    presence=st.floats(-2, 2),
    window=WINDOWS,
    whole=st.booleans(),
)
def test_frequency_and_presence(
    logits: Logits,
    prompt: list[int],
    reply: list[int],
    frequency: float,
    presence: float,
    window: int,
    whole: bool,
) -> None:
    sampler = make_sampler(
        V,
        prompt,
        frequency_penalty=frequency,
        presence_penalty=presence,
        repetition_window=window,
        penalize_prompt=whole,
    )
    counted = reference.last(prompt + reply if whole else reply, window)
    expected = reference.frequency_presence(
        all_candidates(logits), counted, frequency=frequency, presence=presence
    )
    assert_distribution(distribution(accepted(sampler, reply), logits), expected.distribution())


@given(logits=LOGITS, prompt=TOKENS, reply=TOKENS, e=st.floats(0.3, 3))
def test_encoder_repetition_looks_at_the_prompt_only(
    logits: Logits, prompt: list[int], reply: list[int], e: float
) -> None:
    sampler = accepted(make_sampler(V, prompt, encoder_repetition_penalty=e), reply)
    expected = reference.encoder_repetition(all_candidates(logits), prompt, e=e)
    assert_distribution(distribution(sampler, logits), expected.distribution())


@given(logits=LOGITS, tokens=TOKENS, n=st.integers(1, 5))
def test_no_repeat_ngram(logits: Logits, tokens: list[int], n: int) -> None:
    expected = reference.no_repeat_ngram(all_candidates(logits), tokens, n=n)
    sampler = accepted(make_sampler(V, no_repeat_ngram=n), tokens)
    assert_distribution(distribution(sampler, logits), expected.distribution())


@given(
    logits=LOGITS,
    tokens=st.lists(st.integers(0, 3), max_size=40),
    multiplier=st.floats(0.1, 3),
    base=st.floats(1, 3),
    allowed=st.integers(1, 4),
    window=WINDOWS,
    breakers=st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=3), max_size=3),
)
def test_dry(
    logits: Logits,
    tokens: list[int],
    multiplier: float,
    base: float,
    allowed: int,
    window: int,
    breakers: list[list[int]],
) -> None:
    sampler = make_sampler(
        V,
        tokens,
        dry_multiplier=multiplier,
        dry_base=base,
        dry_allowed_length=allowed,
        dry_range=window,
        dry_breakers=breakers,
    )
    expected = reference.dry(
        all_candidates(logits),
        reference.last(tokens, window),
        multiplier=multiplier,
        base=base,
        allowed=allowed,
        breakers=breakers,
    )
    # pow may differ in its last place before the difference is rounded to float32: one place of a
    # logit below 1e6 where it is not rounded away
    assert_distribution(distribution(sampler, logits), expected.distribution(), rtol=1e-6)


def logit_changes(prompt: Sequence[int], **options: object) -> list[float]:
    """Return by how much each of six equal logits moves against the last, which nothing touches."""
    p = distribution(make_sampler(6, prompt, **options), np.full(6, 2.0, np.float32))
    return [round(float(np.log(p[token] / p[5])), 5) for token in range(5)]


def test_repetition_by_hand() -> None:
    """Logit 2 and r = 2: one less for 0 and 1, the rest untouched; half the excess with slope 0.5."""
    assert logit_changes([0, 1, 1], repetition_penalty=2.0) == [-1, -1, 0, 0, 0]
    assert logit_changes([0, 1, 1], repetition_penalty=2.0, repetition_window=2) == [0, -1, 0, 0, 0]
    sloped = logit_changes([0, 1, 2, 3], repetition_penalty=2.0, repetition_slope=0.5)
    assert sloped == pytest.approx([-2 / 3, -2 / 3, -1, -1, 0], abs=1e-5)  # 2 / 1.5 = 4 / 3
    decayed = logit_changes([0, 1, 2], repetition_penalty=2.0, repetition_window=1, repetition_decay=2)
    assert decayed == pytest.approx([0, -2 / 3, -1, 0, 0], abs=1e-5)  # half the excess one beyond


def test_frequency_and_presence_by_hand() -> None:
    changes = logit_changes([0, 1, 1], frequency_penalty=0.5, presence_penalty=0.25)
    assert changes == [-0.75, -1.25, 0, 0, 0]
    assert logit_changes([0, 1, 1], frequency_penalty=0.5, penalize_prompt=False) == [0] * 5


def test_dry_by_hand() -> None:
    """0 1 2 3 | 0 1 2: three tokens repeat and 3 followed them."""
    prompt = [0, 1, 2, 3, 0, 1, 2]
    assert logit_changes(prompt, dry_multiplier=1.0, dry_base=2.0)[3] == -2  # 2 ** (3 - 2)
    assert logit_changes(prompt, dry_multiplier=1.0, dry_base=2.0, dry_allowed_length=4) == [0] * 5
    assert logit_changes(prompt, dry_multiplier=1.0, dry_base=2.0, dry_range=6) == [0, 0, 0, -1, 0]
    # a breaker in the repeated part shortens it; as the next token it goes free
    assert logit_changes(prompt, dry_multiplier=1.0, dry_base=2.0, dry_breakers=[[0]])[3] == -1
    assert logit_changes(prompt, dry_multiplier=1.0, dry_base=2.0, dry_breakers=[[0, 1]]) == [0] * 5
    assert logit_changes(prompt, dry_multiplier=1.0, dry_base=2.0, dry_breakers=[[3]]) == [0] * 5


def test_dry_finds_the_longest_match_in_every_sequence_of_two_tokens() -> None:
    """All 2046 sequences of up to ten tokens: matches inside matches and over their ends."""
    flat = np.zeros(3, np.float32)
    for length in range(1, 11):
        for bits in range(2**length):
            tokens = [bits >> i & 1 for i in range(length)]
            sampler = make_sampler(3, tokens, dry_multiplier=1.0, dry_base=1.25, dry_allowed_length=1)
            p = distribution(sampler, flat)
            for token in (0, 1):
                n = reference.dry_match(tokens, [], token)
                expected = 1.25 ** (n - 1) if n else 0.0
                assert np.log(p[2] / p[token]) == pytest.approx(expected, abs=1e-6), (tokens, token)


def test_the_dry_exponent_stops_at_the_largest_float() -> None:
    """1e-10 * 2 ** 127 is 1.7e28: less than the lead of 1e30, which 2 ** 198 would outweigh."""
    logits = np.array([0, -1e30], np.float32)
    sampler = make_sampler(2, [0] * 200, dry_multiplier=1e-10, dry_base=2.0, dry_range=-1)
    assert distribution(sampler, logits) == {0: 1.0, 1: 0.0}


def test_dry_stays_finite_after_a_long_repetition() -> None:
    """2 ** 198 would ban the token with -inf; the exponent stops at float32's largest."""
    logits = np.zeros(V, np.float32)
    sampler = make_sampler(V, [0] * 200, dry_multiplier=100.0, dry_base=2.0, dry_range=-1)
    assert distribution(sampler, logits)[0] == 0.0
    every = make_sampler(1, [0] * 200, dry_multiplier=100.0, dry_base=2.0, dry_range=-1)
    assert distribution(every, np.zeros(1, np.float32)) == {0: 1.0}


def test_no_repeat_ngram_gives_way_when_it_would_ban_everything() -> None:
    sampler = make_sampler(3, [0, 1, 2], no_repeat_ngram=1)
    assert len(distribution(sampler, np.zeros(3, np.float32))) == 3


@pytest.mark.parametrize("penalty", ["repetition", "frequency_presence", "encoder_repetition", "dry"])
def test_penalties_edit_the_few_that_a_filter_left(penalty: str) -> None:
    """Behind top-k the edit works on a list instead of the vocabulary, with the same numbers."""
    logits = np.random.default_rng(1).normal(0, 2, V).astype(np.float32)
    options = {
        "repetition_penalty": 1.7,
        "presence_penalty": 0.9,
        "encoder_repetition_penalty": 0.6,
        "dry_multiplier": 2.0,
    }
    prompt = [int(np.argmax(logits)), 3, int(np.argmax(logits)), 3]
    prompt = prompt * 2
    before = make_sampler(V, prompt, samplers=[penalty, "top_k"], top_k=V, **options)
    behind = make_sampler(V, prompt, samplers=["top_k", penalty], top_k=V, **options)
    assert distribution(behind, logits) == distribution(before, logits)
    assert distribution(before, logits) != distribution(make_sampler(V, top_k=V), logits)


def test_no_repeat_ngram_behind_a_filter() -> None:
    sampler = make_sampler(4, [0, 1, 0], samplers=["top_k", "no_repeat_ngram"], top_k=2, no_repeat_ngram=2)
    assert distribution(sampler, np.array([3, 2, 1, 0], np.float32)) == {0: 1.0}
