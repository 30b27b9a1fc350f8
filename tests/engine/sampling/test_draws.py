"""Mirostat, adaptive-p and skew: what they draw from, and the state they carry from token to token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.sampling import reference
from tests.engine.sampling.harness import (
    Logits,
    assert_distribution,
    distribution,
    generate,
    logits_of_every_shape,
    make_sampler,
    random_rows,
)
from tests.engine.sampling.reference import all_candidates


@given(logits=logits_of_every_shape(), tau=st.floats(0.1, 6))
def test_mirostat_2_keeps_what_does_not_surprise_too_much(logits: Logits, tau: float) -> None:
    expected = reference.mirostat_2(all_candidates(logits), 2 * tau)
    sampler = make_sampler(len(logits), mirostat=2, mirostat_tau=tau)
    assert_distribution(distribution(sampler, logits), expected.distribution())


@given(
    logits=logits_of_every_shape().filter(lambda x: np.abs(x[np.isfinite(x)]).max() < 100),
    tau=st.floats(0.1, 6),
    m=st.integers(2, 100),
)
def test_mirostat_1_estimates_zipfs_exponent(logits: Logits, tau: float, m: int) -> None:
    expected = reference.mirostat_1(all_candidates(logits), 2 * tau, m, len(logits))
    sampler = make_sampler(len(logits), mirostat=1, mirostat_tau=tau, mirostat_m=m)
    assert_distribution(distribution(sampler, logits), expected.distribution())


def test_mirostat_1_on_an_exact_zipf_law() -> None:
    """p_i ~ 1 / i**s has exponent s whatever m; then k is the formula's."""
    s, V, tau = 1.5, 200, 2.0
    logits = (-s * np.log(np.arange(1, V + 1))).astype(np.float32)
    k = int((0.5 * 2 ** (2 * tau) / (1 - V**-0.5)) ** (1 / s))
    assert k == 4
    for m in (2, 10, 100):
        sampler = make_sampler(V, mirostat=1, mirostat_tau=tau, mirostat_m=m)
        assert len(distribution(sampler, logits)) == k


@pytest.mark.parametrize("version", [1, 2])
def test_mirostat_feeds_each_surprise_back(version: int) -> None:
    rows, tau, eta, mu = random_rows(30, 50), 2.0, 0.3, 4.0
    sampler = make_sampler(50, seed=3, mirostat=version, mirostat_tau=tau, mirostat_eta=eta)
    for row in rows:
        c = all_candidates(row)
        c = reference.mirostat_2(c, mu) if version == 2 else reference.mirostat_1(c, mu, 100, 50)
        expected = c.distribution()
        assert_distribution(distribution(sampler, row), expected)
        token = sampler.sample(row).token
        sampler.accept(token)
        mu = reference.mirostat_update(mu, expected[token], tau, eta)


def test_mirostat_replaces_the_chain_but_for_bias_and_temperature() -> None:
    logits = random_rows(1, 20)[0]
    base: dict[str, Any] = {"mirostat": 2, "mirostat_tau": 3.0}
    plain = distribution(make_sampler(20, **base), logits)
    assert distribution(make_sampler(20, top_k=1, repetition_penalty=9.0, **base), logits) == plain
    assert distribution(make_sampler(20, temperature=2.0, **base), logits) != plain
    assert distribution(make_sampler(20, logit_bias=[(4, 5.0)], **base), logits) != plain


@given(logits=logits_of_every_shape(), target=st.floats(0, 1), decay=st.floats(0, 0.99))
def test_adaptive_p_prefers_tokens_near_its_aim(logits: Logits, target: float, decay: float) -> None:
    S, W = target / (1 - decay), 1 / (1 - decay)
    expected = reference.adaptive(all_candidates(logits), target, S, W).distribution()
    sampler = make_sampler(len(logits), adaptive_target=target, adaptive_decay=decay)
    # logits of at most 32, each at most one float32 place off
    assert_distribution(distribution(sampler, logits), expected, rtol=2 * 32 * 2.0**-23)


def test_adaptive_p_feeds_the_probability_before_aiming_back() -> None:
    rows, target, decay = random_rows(30, 20), 0.3, 0.8
    S, W = target / (1 - decay), 1 / (1 - decay)
    sampler = make_sampler(20, seed=4, adaptive_target=target, adaptive_decay=decay, top_k=12)
    for row in rows:
        c = reference.top_k(all_candidates(row), 12)
        expected = reference.adaptive(c, target, S, W).distribution()
        assert_distribution(distribution(sampler, row), expected, rtol=2 * 32 * 2.0**-23)
        token = sampler.sample(row).token
        sampler.accept(token)
        S = c.distribution()[token] + decay * S
        W = 1 + decay * W


@given(logits=logits_of_every_shape(), s=st.floats(-2, 2).filter(bool))
def test_skew_bends_the_inverse_cdf(logits: Logits, s: float) -> None:
    expected = reference.skewed(all_candidates(logits), s)
    actual = distribution(make_sampler(len(logits), skew=s), logits)
    assert actual.keys() == expected.keys()
    # differences of cumulated sums near one, whose rounding the power multiplies by up to e**2
    assert all(abs(actual[t] - expected[t]) < 1e-12 for t in actual)


@pytest.mark.parametrize(
    "options",
    [
        {"mirostat": 1, "mirostat_tau": 2.0, "mirostat_eta": 0.5},
        {"mirostat": 2, "mirostat_tau": 2.0, "mirostat_eta": 0.5},
        {"adaptive_target": 0.4, "adaptive_decay": 0.7},
        {"dry_multiplier": 1.0, "repetition_penalty": 1.5, "frequency_penalty": 0.3},
        {"no_repeat_ngram": 2},
    ],
)
def test_rewinding_restores_what_earlier_tokens_left(options: dict[str, Any]) -> None:
    """As a rejected draft does: draw 20, take 12 back, force 5 others, take them back too."""
    rows = random_rows(20, 30)
    sampler = make_sampler(30, seed=7, **options)
    first = generate(sampler, rows)
    sampler.rewind(12)
    for token in (1, 1, 2, 1, 1):
        sampler.sample(rows[0])
        sampler.accept(token)
    sampler.rewind(5)
    assert generate(sampler, rows[8:]) == first[8:]


def test_a_forced_token_leaves_mirostat_as_it_was() -> None:
    row = random_rows(1, 30)[0]
    sampler = make_sampler(30, mirostat=2, mirostat_tau=1.0, mirostat_eta=1.0)
    before = distribution(sampler, row)
    sampler.accept((sampler.sample(row).token + 1) % 30)
    assert distribution(sampler, row) == before
    token = sampler.sample(row).token
    sampler.accept(token)
    after = distribution(sampler, row)
    assert after != before
    sampler.accept(token)  # not drawn again
    assert distribution(sampler, row) == after
    sampler.rewind(2)
    sampler.accept(token)  # nor after the rewind
    assert distribution(sampler, row) == before
