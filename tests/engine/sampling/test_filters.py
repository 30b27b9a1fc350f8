"""Every filter keeps exactly the candidates that the reference keeps (rule SA-7)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.sampling import reference
from tests.engine.sampling.harness import (
    Filter,
    Logits,
    assert_distribution,
    distribution,
    filtered,
    logits_of_every_shape,
    make_sampler,
)

SHARES = st.floats(0.001, 0.999)
FILTERS: dict[str, tuple[Filter, st.SearchStrategy[float]]] = {
    "top_n_sigma": (reference.top_n_sigma, st.floats(0, 5)),
    "typical_p": (reference.typical, SHARES),
    "top_p": (reference.top_p, SHARES),
    "min_p": (reference.min_p, st.one_of(SHARES, st.just(1.0))),
    "top_a": (reference.top_a, SHARES),
    "tail_free": (reference.tail_free, SHARES),
    "epsilon_cutoff": (reference.epsilon, SHARES),
    "eta_cutoff": (reference.eta, SHARES),
}


@pytest.mark.parametrize("option", FILTERS)
@given(data=st.data(), logits=logits_of_every_shape())
def test_filter_keeps_what_the_reference_keeps(option: str, data: st.DataObject, logits: Logits) -> None:
    reference_filter, limits = FILTERS[option]
    limit = data.draw(limits)
    expected = filtered(reference_filter, logits, limit)
    assert_distribution(distribution(make_sampler(len(logits), **{option: limit}), logits), expected)


@given(logits=logits_of_every_shape(), k=st.integers(1, 100))
def test_top_k_keeps_the_lower_ids_of_equal_logits(logits: Logits, k: int) -> None:
    expected = reference.top_k(reference.all_candidates(logits), k).distribution()
    assert_distribution(distribution(make_sampler(len(logits), top_k=k), logits), expected)


@pytest.mark.parametrize("k", [1, 2, 15, 16, 17, 40, 1000, 4999, 5000, 6000])
@pytest.mark.parametrize("order", ["random", "rising", "falling", "tied"])
def test_top_k_of_a_large_vocabulary_in_any_order(k: int, order: str) -> None:
    rows = np.random.default_rng(3).normal(0, 4, 5000).astype(np.float32)
    logits = {"random": rows, "rising": np.sort(rows), "falling": -np.sort(rows), "tied": np.round(rows)}[
        order
    ]
    expected = reference.top_k(reference.all_candidates(logits), k).distribution()
    assert_distribution(distribution(make_sampler(5000, top_k=k), logits), expected)


@pytest.mark.parametrize("P", [0.01, 0.5, 0.9, 0.999, 0.9999999])
def test_top_p_and_typical_of_a_large_vocabulary_sort_far_enough(P: float) -> None:
    logits = np.random.default_rng(4).normal(0, 1, 20_000).astype(np.float32)
    for option, keep in (("top_p", reference.top_p), ("typical_p", reference.typical)):
        expected = keep(reference.all_candidates(logits), P).distribution()
        # 20 000 terms of relative error 1e-16 in each sum
        assert_distribution(distribution(make_sampler(20_000, **{option: P}), logits), expected, rtol=1e-11)


@given(logits=logits_of_every_shape(), threshold=st.floats(0.01, 0.5))
def test_xtc_drops_all_likely_tokens_but_the_last(logits: Logits, threshold: float) -> None:
    sampler = make_sampler(len(logits), xtc_probability=1.0, xtc_threshold=threshold)
    assert_distribution(distribution(sampler, logits), filtered(reference.xtc, logits, threshold))


def test_xtc_flips_its_coin_by_seed_and_leaves_the_rest_alone() -> None:
    logits = np.array([3, 3, 0, 0], np.float32)
    samplers = [make_sampler(4, seed=s, xtc_probability=0.25, xtc_threshold=0.1) for s in range(2000)]
    dropped = sum(0 not in distribution(s, logits) for s in samplers)
    assert abs(dropped - 500) < 4 * np.sqrt(2000 * 0.25 * 0.75)  # four standard deviations
    assert all(len(distribution(s, logits)) in (3, 4) for s in samplers)


def test_each_rule_by_hand() -> None:
    """p = 1/2, 1/4, 1/8, 1/8: small enough to follow the specification's table on paper."""
    logits = np.log(np.array([0.5, 0.25, 0.125, 0.125], np.float32))

    def survivors(**options: float) -> list[int]:
        return sorted(distribution(make_sampler(4, **options), logits))

    assert survivors(top_k=2) == [0, 1]
    assert survivors(top_k=3) == [0, 1, 2]
    assert survivors(top_p=0.7) == [0, 1]
    assert survivors(top_p=0.76) == [0, 1, 2]
    assert survivors(min_p=0.4) == [0, 1]
    assert survivors(min_p=0.6) == [0]
    assert survivors(top_a=0.9) == [0, 1]  # 0.9 / 4 = 0.225
    assert survivors(epsilon_cutoff=0.2) == [0, 1]
    assert survivors(epsilon_cutoff=0.9) == [0]  # the best always survives
    # H = 1.75 bits; surprises 1, 2, 3, 3 bits lie 0.75, 0.25, 1.25, 1.25 from it
    assert survivors(typical_p=0.2) == [1]
    assert survivors(typical_p=0.3) == [0, 1]
    assert survivors(typical_p=0.8) == [0, 1, 2]
    # exp(-H) = 2**-1.75 = 0.297; sqrt(0.2) * 0.297 = 0.133 < 0.2
    assert survivors(eta_cutoff=0.2) == [0, 1]
    # differences 1/4, 1/8, 0; second differences 1/8, 1/8; cumulated 1/2, 1
    assert survivors(tail_free=0.4) == [0]
    assert survivors(tail_free=0.6) == [0, 1]
    # logits -1, -2, -3, -3 in bits: mean -2.25, deviation sqrt(0.6875) = 0.829
    assert survivors(top_n_sigma=1.0) == [0]
    assert survivors(top_n_sigma=1.5) == [0, 1]
    assert survivors(xtc_probability=1.0, xtc_threshold=0.2) == [1, 2, 3]


def test_a_limit_met_exactly() -> None:
    """Four tokens of p = 1/4: two reach one half, three exceed it."""
    flat = np.zeros(4, np.float32)
    assert sorted(distribution(make_sampler(4, top_p=0.5), flat)) == [0, 1]
    assert sorted(distribution(make_sampler(4, typical_p=0.5), flat)) == [0, 1, 2]
    assert len(distribution(make_sampler(4, epsilon_cutoff=0.25), flat)) == 4
    assert sorted(distribution(make_sampler(4, xtc_probability=1.0, xtc_threshold=0.25), flat)) == [3]


def test_top_n_sigma_leaves_masked_tokens_out_of_the_deviation() -> None:
    """The trap of the specification: masked logits counted as zeros widen the deviation."""
    logits = np.array([-5, -6, -7, -8], np.float32)
    masked = np.concatenate([logits, np.full(96, -np.inf, np.float32)])
    alone = distribution(make_sampler(4, top_n_sigma=1.0), logits)
    assert distribution(make_sampler(100, top_n_sigma=1.0), masked) == alone
    assert sorted(alone) == [0, 1]  # deviation sqrt(5) / 2 = 1.118
