"""Drawn tokens follow the exact probabilities, for every method (rule SA-7).

Each test draws once from each of 20 000 seeds of its own and compares the counts with the reference's
exact probabilities by Pearson's chi-square. The seeds are fixed and the generator is a pure function
of them, so a test that passes once passes always; a p-value below 1e-3 fails it. Candidates expected
fewer than five times are counted together, as the test needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.engine.sampling import reference
from tests.engine.sampling.harness import make_params
from tests.engine.sampling.reference import Candidates, all_candidates
from tropilla import _native

N = 20_000
ALPHA = 1e-3
V = 16
LOGITS = np.random.default_rng(11).normal(0, 1.5, V).astype(np.float32)
TOKENS = [2, 5, 7, 5, 2, 5, 7]
C = all_candidates(LOGITS)

Expected = dict[int, float]


def of(candidates: Candidates) -> Expected:
    return candidates.distribution()


def mixed(probability: float, one: Expected, other: Expected) -> Expected:
    return {t: probability * one.get(t, 0) + (1 - probability) * other.get(t, 0) for t in one | other}


def raised(c: Candidates, token: int, bias: float) -> Candidates:
    return reference.edit(c, lambda t, x: x + bias if t == token else x)


METHODS: dict[str, tuple[dict[str, Any], Callable[[], Expected]]] = {
    "neutral": ({}, lambda: of(C)),
    "logit_bias": ({"logit_bias": [(3, 1.5)]}, lambda: of(raised(C, 3, 1.5))),
    "banned_tokens": ({"banned_tokens": [2, 9]}, lambda: of(C.keep(~np.isin(C.ids, [2, 9])))),
    "allowed_token_ids": ({"allowed_token_ids": [1, 4, 8]}, lambda: of(C.keep(np.isin(C.ids, [1, 4, 8])))),
    "repetition": (
        {"repetition_penalty": 1.8},
        lambda: of(reference.repetition(C, TOKENS, r=1.8, window=64)),
    ),
    "frequency_presence": (
        {"frequency_penalty": 0.4, "presence_penalty": 0.3},
        lambda: of(reference.frequency_presence(C, TOKENS, frequency=0.4, presence=0.3)),
    ),
    "encoder_repetition": (
        {"encoder_repetition_penalty": 1.6},
        lambda: of(reference.encoder_repetition(C, TOKENS, e=1.6)),
    ),
    "no_repeat_ngram": ({"no_repeat_ngram": 3}, lambda: of(reference.no_repeat_ngram(C, TOKENS, n=3))),
    "dry": (
        {"dry_multiplier": 0.8},
        lambda: of(reference.dry(C, TOKENS, multiplier=0.8, base=1.75, allowed=2)),
    ),
    "top_n_sigma": ({"top_n_sigma": 1.5}, lambda: of(reference.top_n_sigma(C, 1.5))),
    "top_k": ({"top_k": 6}, lambda: of(reference.top_k(C, 6))),
    "typical": ({"typical_p": 0.7}, lambda: of(reference.typical(C, 0.7))),
    "top_p": ({"top_p": 0.85}, lambda: of(reference.top_p(C, 0.85))),
    "min_p": ({"min_p": 0.1}, lambda: of(reference.min_p(C, 0.1))),
    "top_a": ({"top_a": 0.3}, lambda: of(reference.top_a(C, 0.3))),
    "tail_free": ({"tail_free": 0.9}, lambda: of(reference.tail_free(C, 0.9))),
    "epsilon": ({"epsilon_cutoff": 0.05}, lambda: of(reference.epsilon(C, 0.05))),
    "eta": ({"eta_cutoff": 0.06}, lambda: of(reference.eta(C, 0.06))),
    "xtc": (
        {"xtc_probability": 0.4, "xtc_threshold": 0.1},
        lambda: mixed(0.4, of(reference.xtc(C, 0.1)), of(C)),
    ),
    "temperature": ({"temperature": 1.7}, lambda: of(reference.temperature(C, 1.7))),
    "dynamic_temperature": (
        {"temperature": 1.2, "dynamic_temperature_range": 0.7},
        lambda: of(reference.dynamic_temperature(C, 1.2, 0.7, 1.0)),
    ),
    "smoothing": (
        {"smoothing_factor": 0.3, "smoothing_curve": 1.5},
        lambda: of(reference.smoothing(C, 0.3, 1.5)),
    ),
    "mirostat_1": (
        {"mirostat": 1, "mirostat_tau": 1.5},
        lambda: of(reference.mirostat_1(C, 3.0, 100, V)),
    ),
    "mirostat_2": ({"mirostat": 2, "mirostat_tau": 1.5}, lambda: of(reference.mirostat_2(C, 3.0))),
    "adaptive": ({"adaptive_target": 0.2}, lambda: of(reference.adaptive(C, 0.2, 2.0, 10.0))),
    "skew": ({"skew": 0.5}, lambda: reference.skewed(C, 0.5)),
}


def seeds_of(test: int) -> range:
    """Return seeds that no other test uses: shared ones would fail or pass all tests together."""
    return range(test * N, (test + 1) * N)


def p_value(counts: Counter[int], expected: Expected) -> float:
    """Return the chance of counts at least this far from what is expected."""
    n = counts.total()
    rare = [t for t, p in expected.items() if p * n < 5]
    common = [t for t in expected if t not in rare]
    observed = [counts[t] for t in common]
    means = [expected[t] * n for t in common]
    if sum(expected[t] for t in rare) * n >= 5:
        observed.append(sum(counts[t] for t in rare))
        means.append(sum(expected[t] for t in rare) * n)
    scale = sum(observed) / sum(means)
    return float(stats.chisquare(observed, [m * scale for m in means]).pvalue)


@pytest.mark.parametrize("method", METHODS)
def test_drawn_tokens_follow_the_exact_probabilities(method: str) -> None:
    options, expected = METHODS[method]
    params = make_params(**options)
    counts: Counter[int] = Counter()
    for seed in seeds_of(list(METHODS).index(method)):
        params.seed = seed
        counts[_native.Sampler(params, V, TOKENS).sample(LOGITS).token] += 1
    exact = expected()
    assert set(counts) <= set(exact)
    assert len(exact) > 1
    assert exact != of(C) or method == "neutral"
    assert p_value(counts, exact) > ALPHA


def test_positions_of_one_seed_are_as_random_as_seeds() -> None:
    sampler = _native.Sampler(make_params(seed=12345), V, [])
    counts: Counter[int] = Counter()
    for _ in range(N):
        counts[sampler.sample(LOGITS).token] += 1
        sampler.accept(0)
    assert p_value(counts, of(C)) > ALPHA


def test_a_redraw_after_a_ban_follows_the_conditional_distribution() -> None:
    """Banning what was drawn and drawing again must not favour the banned token's neighbours."""
    favourite = int(C.ids[0])
    params = make_params()
    counts: Counter[int] = Counter()
    for seed in seeds_of(100):
        params.seed = seed
        sampler = _native.Sampler(params, V, [])
        token = sampler.sample(LOGITS).token
        if token == favourite:
            sampler.ban_next([favourite])
            token = sampler.sample(LOGITS).token
        counts[token] += 1
    assert p_value(counts, of(C.keep(C.ids != favourite))) > ALPHA


def test_the_coin_of_xtc_is_not_the_draws_number() -> None:
    """Were both the same random number, XTC would only ever act on draws from the top."""
    params = make_params(xtc_probability=0.5, xtc_threshold=0.1)
    given_xtc: Counter[int] = Counter()
    expected = of(reference.xtc(C, 0.1))
    for seed in seeds_of(101):
        params.seed = seed
        sampler = _native.Sampler(params, V, [])
        if len(sampler.probabilities(LOGITS)) == len(expected):
            given_xtc[sampler.sample(LOGITS).token] += 1
    assert p_value(given_xtc, expected) > ALPHA
