"""Scores and embeddings, against the reference's logits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.engine.driving import MODEL, PROMPT, Make, answer, sampling
from tests.engine.models import (
    CONFIG,
    Array,
    Model,
    distance,
    expected_logits,
    random_model,
    rounding_bound,
)
from tropilla.errors import RequestError
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.model.weights import ModelWeights


def log_softmax(logits: Array) -> Array:
    largest = logits.max(axis=-1, keepdims=True)
    result: Array = logits - largest - np.log(np.exp(logits - largest).sum(axis=-1, keepdims=True))
    return result


def test_scores_are_the_references(make: Make) -> None:
    """A log-probability moves by at most twice as much as the logits do."""
    expected = expected_logits(MODEL, PROMPT)
    largest_error = 4 * rounding_bound(MODEL, PROMPT, expected)  # of one logit, four deviations out
    logprobs = log_softmax(expected)[np.arange(99), PROMPT[1:]]
    assert np.abs(np.array(make().score(PROMPT)) - logprobs).max() <= 2 * largest_error


@pytest.mark.parametrize("first", [1, 2, 33, 64, 65, 99])
def test_scores_from_a_place_on(make: Make, first: int) -> None:
    """The last part of the whole list, to the bit, be the context cached or not."""
    engine = make(prefill_chunk=7)
    whole = make().score(PROMPT)
    assert engine.score(PROMPT, first=first) == whole[first - 1 :]
    assert engine.score(PROMPT, first=first) == whole[first - 1 :]
    assert engine.stats.work.reused_tokens == (first - 1) // 32 * 32


@pytest.mark.parametrize(("token_ids", "first"), [([1], 1), ([1, 2], 0), ([1, 2], 2), ([1, 2], -1)])
def test_nothing_to_score(make: Make, token_ids: list[int], first: int) -> None:
    with pytest.raises(RequestError, match="cannot score"):
        make().score(token_ids, first=first)


def test_a_whole_context_can_be_scored(make: Make) -> None:
    assert len(make(context_length=100).score(PROMPT)) == 99
    with pytest.raises(RequestError, match="at most 99 fit"):
        make(context_length=99).score(PROMPT)


def test_scoring_beside_an_answer(make: Make) -> None:
    how = sampling(temperature=1.0, seed=2)
    expected, engine = answer(make(), PROMPT, how), make(prefill_chunk=16)
    sequence = engine.submit(PROMPT, how)
    events = engine.stream(sequence)
    drawn = [next(events).token_id]
    assert engine.score(PROMPT[::-1]) == make().score(PROMPT[::-1])
    assert drawn + [event.token_id for event in events] == expected


def transparent_model() -> Model:
    """Return a model whose logits are its hidden states: the output matrix is the identity."""
    config = dataclasses.replace(CONFIG, vocab_size=CONFIG.dim)
    model = random_model(config)
    identity = np.eye(config.dim)
    data = memoryview(identity.astype(np.float32).tobytes())
    output = StoredTensor("output.weight", TensorType.F32, (config.dim, config.dim), data)
    weights = ModelWeights(config, {**model.weights.tensors, "output.weight": output})
    return Model(weights, {**model.tensors, "output.weight": identity})


@pytest.mark.parametrize("chunk", [7, 256])
def test_embeddings(make: Make, chunk: int) -> None:
    model = transparent_model()
    tokens = [token % model.config.vocab_size for token in PROMPT]
    hidden = expected_logits(model, tokens)
    bound = rounding_bound(model, tokens, hidden)
    engine = make(model, prefill_chunk=chunk)
    assert distance(np.array(engine.embed(tokens)), hidden.mean(axis=0)) <= bound
    assert distance(np.array(engine.embed(tokens, "last")), hidden[-1]) <= bound
    assert engine.embed(tokens, "last") == engine.embed(tokens, "last")
