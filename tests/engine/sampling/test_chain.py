"""The order of the chain is the caller's; neutral values change not a bit (rules SA-1, SA-5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.engine.sampling import reference
from tests.engine.sampling.harness import (
    assert_distribution,
    distribution,
    generate,
    make_sampler,
    random_rows,
)
from tests.engine.sampling.reference import all_candidates
from tropilla import _native

V = 40
LOGITS = random_rows(1, V, seed=8)[0]
PROMPT = [4, 9, 4, 9, 4]

# One value for every step that changes something, in the order of rule SA-1.
ACTIVE: dict[str, dict[str, Any]] = {
    "repetition": {"repetition_penalty": 1.4},
    "frequency_presence": {"frequency_penalty": 0.5},
    "encoder_repetition": {"encoder_repetition_penalty": 1.3},
    "no_repeat_ngram": {"no_repeat_ngram": 2},
    "dry": {"dry_multiplier": 0.8},
    "top_n_sigma": {"top_n_sigma": 2.0},
    "top_k": {"top_k": 30},
    "typical": {"typical_p": 0.97},
    "top_p": {"top_p": 0.96},
    "min_p": {"min_p": 0.01},
    "top_a": {"top_a": 0.05},
    "tail_free": {"tail_free": 0.99},
    "epsilon": {"epsilon_cutoff": 0.004},
    "eta": {"eta_cutoff": 0.01},
    "xtc": {"xtc_probability": 1.0, "xtc_threshold": 0.05},
    "temperature": {"temperature": 1.3},
    "smoothing": {"smoothing_factor": 0.2},
}

NEUTRAL: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram": 0,
    "dry_multiplier": 0.0,
    "top_n_sigma": -1.0,
    "top_k": 0,
    "typical_p": 1.0,
    "top_p": 1.0,
    "min_p": 0.0,
    "top_a": 0.0,
    "tail_free": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "xtc_probability": 0.0,
    "temperature": 1.0,
    "dynamic_temperature_range": 0.0,
    "smoothing_factor": 0.0,
    "mirostat": 0,
    "adaptive_target": -1.0,
    "skew": 0.0,
}


def reference_chain(c: reference.Candidates) -> reference.Candidates:
    """Run every step of ACTIVE in the order of rule SA-1, spelled out."""
    c = reference.repetition(c, PROMPT, r=1.4, window=64)
    c = reference.frequency_presence(c, PROMPT, frequency=0.5, presence=0)
    c = reference.encoder_repetition(c, PROMPT, e=1.3)
    c = reference.no_repeat_ngram(c, PROMPT, n=2)
    c = reference.dry(c, PROMPT, multiplier=0.8, base=1.75, allowed=2)
    c = reference.top_n_sigma(c, 2.0)
    c = reference.top_k(c, 30)
    c = reference.typical(c, 0.97)
    c = reference.top_p(c, 0.96)
    c = reference.min_p(c, 0.01)
    c = reference.top_a(c, 0.05)
    c = reference.tail_free(c, 0.99)
    c = reference.epsilon(c, 0.004)
    c = reference.eta(c, 0.01)
    c = reference.xtc(c, 0.05)
    c = reference.temperature(c, 1.3)
    return reference.smoothing(c, 0.2, 1.0)


def all_active(**options: Any) -> _native.Sampler:
    for step in ACTIVE.values():
        options = step | options
    return make_sampler(V, PROMPT, **options)


def test_the_default_chain_is_the_one_of_rule_sa_1() -> None:
    assert _native.sampler_names() == list(ACTIVE)
    for row in random_rows(50, V, seed=2):
        expected = reference_chain(all_candidates(row)).distribution()
        assert_distribution(distribution(all_active(), row), expected)


def test_a_chain_named_in_full_is_the_default_one() -> None:
    assert distribution(all_active(samplers=list(ACTIVE)), LOGITS) == distribution(all_active(), LOGITS)


@pytest.mark.parametrize("step", ACTIVE)
def test_a_step_runs_if_and_only_if_the_chain_names_it(step: str) -> None:
    alone = distribution(make_sampler(V, PROMPT, samplers=[step], **ACTIVE[step]), LOGITS)
    plain = distribution(make_sampler(V, PROMPT), LOGITS)
    others = [name for name in ACTIVE if name != step]
    assert alone != plain
    assert distribution(make_sampler(V, PROMPT, samplers=others, **ACTIVE[step]), LOGITS) == plain


def test_temperature_last_filters_the_sharper_distribution() -> None:
    """At temperature 2 before top-p more tokens are needed to reach 80 %; after it, not."""
    c = all_candidates(LOGITS)
    first = reference.top_p(reference.temperature(c, 2.0), 0.8).distribution()
    final = reference.temperature(reference.top_p(c, 0.8), 2.0).distribution()
    assert len(first) > len(final)
    options: dict[str, Any] = {"temperature": 2.0, "top_p": 0.8}
    hot_first = make_sampler(V, samplers=["temperature", "top_p"], **options)
    hot_last = make_sampler(V, samplers=["top_p", "temperature"], **options)
    assert_distribution(distribution(hot_first, LOGITS), first)
    assert_distribution(distribution(hot_last, LOGITS), final)


def test_a_step_may_be_named_twice() -> None:
    twice = make_sampler(V, samplers=["temperature", "temperature"], temperature=2.0)
    c = all_candidates(LOGITS)
    expected = reference.temperature(reference.temperature(c, 2.0), 2.0).distribution()
    assert_distribution(distribution(twice, LOGITS), expected)


def test_an_unknown_step_is_named() -> None:
    with pytest.raises(ValueError, match="'top_q'"):
        make_sampler(V, samplers=["top_q"])


@pytest.mark.parametrize("option", NEUTRAL)
def test_a_neutral_value_changes_not_a_bit(option: str) -> None:
    chain = {"temperature": 0.8, "top_k": 20, "repetition_penalty": 1.1}
    chain.pop(option, None)
    with_it = make_sampler(V, PROMPT, **chain, **{option: NEUTRAL[option]})
    assert with_it.probabilities(LOGITS) == make_sampler(V, PROMPT, **chain).probabilities(LOGITS)


@pytest.mark.parametrize(
    "options", [{}, {"repetition_penalty": 1.3}, {"top_k": 5}, {"top_k": 5, "typical_p": 0.2}, {"xtc": True}]
)
def test_greedy_takes_what_the_whole_chain_would_leave_first(options: dict[str, Any]) -> None:
    """Filters that keep the best are left out at temperature zero; the answer must not change."""
    if options.pop("xtc", False):
        options = ACTIVE["xtc"] | {"top_p": 0.9}
    for row in random_rows(50, V, seed=5):
        hot = make_sampler(V, PROMPT, **options).probabilities(row)
        best = min(hot, key=lambda pair: (-pair[1], pair[0]))[0]
        assert make_sampler(V, PROMPT, temperature=0.0, **options).sample(row).token == best


def test_no_candidate_order_depends_on_the_vocabularys_rest() -> None:
    """A banned tail changes neither which tokens are drawn nor their order."""
    rows = random_rows(40, V, seed=6)
    padded = np.concatenate([rows, np.full((40, 100), -np.inf, np.float32)], axis=1)
    for options in ({}, {"top_p": 0.9}, {"typical_p": 0.8, "temperature": 1.5}):
        small = generate(make_sampler(V, seed=1, **options), rows)
        assert generate(make_sampler(V + 100, seed=1, **options), padded) == small
