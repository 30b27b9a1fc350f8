"""What every sampler promises: reproducibility, masks, errors, logprobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tropilla import _native
from tropilla.errors import RequestError, TropillaError

V = 11
Logits = NDArray[np.float32]


def make_sampler(prompt: Sequence[int] = (), vocab_size: int = V, **options: Any) -> _native.Sampler:
    params = _native.SamplerParams()
    for name, value in options.items():
        setattr(params, name, value)
    return _native.Sampler(params, vocab_size, prompt)


def random_logits(n: int, *, vocab_size: int = V, seed: int = 0) -> Logits:
    return np.random.default_rng(seed).normal(0, 2, (n, vocab_size)).astype(np.float32)


def generate(sampler: _native.Sampler, rows: Logits) -> list[int]:
    tokens = []
    for row in rows:
        tokens.append(sampler.sample(row).token)
        sampler.accept(tokens[-1])
    return tokens


def test_zero_temperature_takes_the_best_token_and_the_lower_id_of_two() -> None:
    logits = np.array([0, 3, 1, 3, 2], np.float32)
    assert make_sampler(vocab_size=5, temperature=0).sample(logits).token == 1


def test_neutral_sampler_draws_from_the_softmax() -> None:
    logits = random_logits(1)[0]
    weights = np.exp(logits.astype(np.float64))
    ids, probabilities = zip(*make_sampler().probabilities(logits), strict=True)
    assert ids == tuple(range(V))
    np.testing.assert_allclose(probabilities, weights / weights.sum(), rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_damaged_logit_is_an_error_that_names_its_token(bad: float) -> None:
    logits = random_logits(1)[0]
    logits[7] = bad
    with pytest.raises(TropillaError, match="token 7"):
        make_sampler().sample(logits)


def test_nothing_left_to_draw_is_the_requests_fault() -> None:
    with pytest.raises(RequestError, match="no token to draw"):
        make_sampler(banned_tokens=list(range(V))).sample(random_logits(1)[0])


def test_logprobs_are_the_raw_models_whatever_the_chain_does() -> None:
    logits = random_logits(1)[0]
    expected = logits - np.log(np.exp(logits.astype(np.float64)).sum())
    draw = make_sampler(temperature=0, logprobs=3).sample(logits)
    order = np.argsort(-logits)[:3]
    assert [token for token, _ in draw.top] == order.tolist()
    # float32 logits near 5 carry 2**-22 each; the sum is in double
    np.testing.assert_allclose([logprob for _, logprob in draw.top], expected[order], atol=2**-20)
    assert draw.logprob == draw.top[0][1]
    assert make_sampler().sample(logits).logprob is None


def test_same_seed_same_tokens_and_other_seed_other_tokens() -> None:
    rows = random_logits(64)
    assert generate(make_sampler(seed=5), rows) == generate(make_sampler(seed=5), rows)
    assert generate(make_sampler(seed=5), rows) != generate(make_sampler(seed=6), rows)


def test_a_rewound_sequence_draws_the_same_again() -> None:
    rows = random_logits(20)
    sampler = make_sampler(seed=9)
    first = generate(sampler, rows)
    sampler.rewind(12)
    assert generate(sampler, rows[8:]) == first[8:]
