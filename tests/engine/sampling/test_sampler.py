"""What every sampler promises: masks, errors, logprobs, and the same tokens from the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

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
from tropilla.errors import RequestError, TropillaError

V = 11
EOS, STOP = 2, 3
FLAT = np.zeros(V, np.float32)


def test_zero_temperature_takes_the_best_token_and_the_lower_id_of_two() -> None:
    logits = np.array([0, 3, 1, 3, 2], np.float32)
    assert make_sampler(5, temperature=0).sample(logits).token == 1


@given(logits=logits_of_every_shape())
def test_a_neutral_sampler_draws_from_the_softmax(logits: Logits) -> None:
    assert_distribution(
        distribution(make_sampler(len(logits)), logits), all_candidates(logits).distribution()
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 3}, {"allowed_token_ids": [1]}])
def test_a_damaged_logit_is_an_error_that_names_its_token(bad: float, options: dict[str, Any]) -> None:
    logits = random_rows(1, V)[0]
    logits[7] = bad
    with pytest.raises(TropillaError, match="token 7"):
        make_sampler(V, **options).sample(logits)


@pytest.mark.parametrize("options", [{}, {"temperature": 0}, {"top_k": 3}, {"mirostat": 2}])
def test_nothing_left_to_draw_is_the_requests_fault(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="no token to draw"):
        make_sampler(V, banned_tokens=range(V), **options).sample(FLAT)


@pytest.mark.parametrize("ids", [[V], [-1]])
@pytest.mark.parametrize("option", ["banned_tokens", "allowed_token_ids", "end_ids", "stop_token_ids"])
def test_a_token_outside_the_vocabulary_is_refused(option: str, ids: list[int]) -> None:
    with pytest.raises(ValueError, match="outside the vocabulary of 11"):
        make_sampler(V, **{option: ids})
    with pytest.raises(ValueError, match="outside the vocabulary"):
        make_sampler(V, ids)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        make_sampler(V).ban_next(ids)


def test_logits_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="got 10 logits for a vocabulary of 11"):
        make_sampler(V).sample(np.zeros(10, np.float32))


def test_masks_and_bias_come_before_the_chain() -> None:
    """Rule SA-1: what is left has exactly the conditional distribution."""
    logits = random_rows(1, V)[0]
    favourite = int(np.argmax(logits))
    c = all_candidates(logits)
    without = c.keep(c.ids != favourite)
    for mask in ({"banned_tokens": [favourite]}, {"logit_bias": [(favourite, -np.inf)]}):
        assert_distribution(distribution(make_sampler(V, **mask), logits), without.distribution())
        expected = reference.top_k(without, 3).distribution()
        assert_distribution(distribution(make_sampler(V, top_k=3, **mask), logits), expected)
    only = make_sampler(V, allowed_token_ids=[1, 5, 5])
    assert_distribution(distribution(only, logits), c.keep(np.isin(c.ids, [1, 5])).distribution())


def test_a_bias_is_added() -> None:
    p = distribution(make_sampler(V, logit_bias=[(4, 1.5), (5, -2.0)]), FLAT)
    assert np.log(p[4] / p[0]) == pytest.approx(1.5)
    assert np.log(p[5] / p[0]) == pytest.approx(-2.0)


def test_end_and_stop_tokens_wait_for_min_tokens() -> None:
    sampler = make_sampler(V, [1, 1], end_ids=[EOS], stop_token_ids=[STOP], min_tokens=2)
    for _ in range(2):
        assert {EOS, STOP}.isdisjoint(distribution(sampler, FLAT))
        sampler.accept(1)
    assert len(distribution(sampler, FLAT)) == V
    sampler.rewind(1)
    assert {EOS, STOP}.isdisjoint(distribution(sampler, FLAT))


def test_ignore_eos_masks_the_models_end_for_good_but_no_stop_token() -> None:
    sampler = make_sampler(V, end_ids=[EOS], stop_token_ids=[STOP], ignore_eos=True)
    generate(sampler, random_rows(5, V))
    p = distribution(sampler, FLAT)
    assert EOS not in p
    assert STOP in p


def test_bans_hold_at_their_position_until_it_is_rewound_past() -> None:
    sampler = make_sampler(V)
    sampler.accept(0)
    sampler.ban_next([4, 5])
    assert {4, 5}.isdisjoint(distribution(sampler, FLAT))
    sampler.accept(1)
    assert len(distribution(sampler, FLAT)) == V
    sampler.rewind(1)
    sampler.ban_next([6])
    assert {4, 5, 6}.isdisjoint(distribution(sampler, FLAT))
    sampler.rewind(1)
    sampler.accept(0)
    assert len(distribution(sampler, FLAT)) == V


def test_only_accepted_tokens_can_be_taken_back() -> None:
    sampler = make_sampler(V, [1, 2, 3])
    sampler.accept(4)
    with pytest.raises(ValueError, match="cannot rewind 2 tokens of 1 accepted"):
        sampler.rewind(2)


def test_logprobs_are_the_raw_models_whatever_the_chain_does() -> None:
    """Rule SA-6. Errors: half a float32 place of a logprob below 16, and of exp summed in double."""
    logits = random_rows(1, V)[0]
    expected = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    draw = make_sampler(V, [0], temperature=0, banned_tokens=[0], top_k=1, logprobs=3).sample(logits)
    order = np.argsort(-logits)[:3]
    assert [token for token, _ in draw.top] == order.tolist()
    np.testing.assert_allclose([logprob for _, logprob in draw.top], expected[order], atol=2**-20)
    assert draw.logprob == pytest.approx(expected[draw.token], abs=2**-20)
    assert make_sampler(V, logprobs=0).sample(logits).top == []
    assert make_sampler(V).sample(logits).logprob is None


def test_post_sampling_probs_report_the_distribution_drawn_from() -> None:
    logits = random_rows(1, V)[0]
    options: dict[str, Any] = {"temperature": 0.7, "top_k": 4, "skew": 1.0}
    sampler = make_sampler(V, seed=3, logprobs=3, post_sampling_probs=True, **options)
    final = distribution(sampler, logits)
    draw = sampler.sample(logits)
    likeliest = sorted(final, key=lambda t: (-final[t], t))[:3]
    assert [token for token, _ in draw.top] == likeliest
    for token, logprob in [*draw.top, (draw.token, draw.logprob)]:
        assert logprob == pytest.approx(np.log(final[token]), rel=2**-22)


def test_same_seed_same_tokens_and_other_seed_other_tokens() -> None:
    rows = random_rows(64, V)
    assert generate(make_sampler(V, seed=5), rows) == generate(make_sampler(V, seed=5), rows)
    assert generate(make_sampler(V, seed=5), rows) != generate(make_sampler(V, seed=6), rows)
    assert generate(make_sampler(V, seed=5), rows) != generate(make_sampler(V, seed=5 + 2**32), rows)


def test_drawing_twice_draws_the_same() -> None:
    sampler = make_sampler(V, seed=1)
    assert {sampler.sample(FLAT).token for _ in range(20)} == {sampler.sample(FLAT).token}


@pytest.mark.parametrize("options", [{}, {"mirostat": 2}, {"xtc_probability": 0.5, "dry_multiplier": 1.0}])
def test_fifteen_others_in_between_change_nothing(options: dict[str, Any]) -> None:
    """Rule SA-3: all randomness comes from the sequence's own seed and position."""
    rows = random_rows(30, V)
    alone = [generate(make_sampler(V, seed=s, **options), rows) for s in range(16)]
    together = [make_sampler(V, seed=s, **options) for s in range(16)]
    tokens: list[list[int]] = [[] for _ in together]
    for step, row in enumerate(rows):
        for s in np.random.default_rng(step).permutation(16):  # whatever the order within a step
            tokens[s].append(together[s].sample(row).token)
            together[s].accept(tokens[s][-1])
    assert tokens == alone


def test_a_continued_sequence_goes_on_as_if_it_had_never_stopped() -> None:
    """Positions count from the sequence's start: prompt plus half the reply continues the same way."""
    rows = random_rows(20, V)
    whole = generate(make_sampler(V, [1, 2, 3], seed=4), rows)
    assert generate(make_sampler(V, [1, 2, 3, *whole[:9]], seed=4), rows[9:]) == whole[9:]


def test_a_rewound_sequence_draws_the_same_again() -> None:
    rows = random_rows(20, V)
    sampler = make_sampler(V, seed=9)
    first = generate(sampler, rows)
    sampler.rewind(12)
    assert generate(sampler, rows[8:]) == first[8:]


def test_extreme_logits_still_leave_one_candidate() -> None:
    """Rule SA-5, with everything on at once."""
    everything = {
        "repetition_penalty": 5.0,
        "frequency_penalty": 2.0,
        "dry_multiplier": 5.0,
        "no_repeat_ngram": 1,
        "top_n_sigma": 0.0,
        "typical_p": 0.01,
        "top_p": 0.01,
        "top_a": 1.0,
        "tail_free": 0.01,
        "epsilon_cutoff": 0.99,
        "eta_cutoff": 0.99,
        "xtc_probability": 1.0,
        "temperature": 0.01,
        "smoothing_factor": 5.0,
    }
    largest = float(np.finfo(np.float32).max)
    for logits in ([largest, -largest, 0], [-largest] * 3, [largest] * 3, [-np.inf, -np.inf, 1e-30]):
        p = distribution(make_sampler(3, [0, 1, 2, 0, 1, 2], **everything), np.array(logits, np.float32))
        assert sum(p.values()) == pytest.approx(1)
