"""Speculation changes no token, no logprob and no ending of any sequence; only the number of steps."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.driving import MODEL, PROMPT, Make, finish, sampling
from tests.engine.models import Model, make_executor, read, sequence_of
from tests.engine.sampling.test_chi_square import ALPHA, p_value
from tests.engine.speculation.forced import Forced, force
from tropilla.engine.engine import Engine
from tropilla.engine.sequence import LiveSequence, TokenEvent, TokenSampling
from tropilla.model.weights import ModelWeights

CHAINS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "plain": {},
    "filters": {"temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.9},
    "penalties": {"repetition_penalty": 1.3, "frequency_penalty": 0.5, "presence_penalty": 0.3},
    "dry": {"dry_multiplier": 2.0, "dry_allowed_length": 1},
    "no_repeat_ngram": {"temperature": 0.0, "no_repeat_ngram": 2},
    "mirostat 1": {"mirostat": 1},
    "mirostat 2": {"mirostat": 2, "mirostat_tau": 3.0},
    "adaptive": {"adaptive_target": 0.2},
    "xtc": {"xtc_probability": 0.5, "xtc_threshold": 0.05},
    "min_tokens": {"min_tokens": 12, "stop_token_ids": list(range(50))},
}

# An engine without sequences is as good as new.
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def seen(events: list[TokenEvent]) -> list[tuple[object, ...]]:
    """Return all that a reader sees of a sequence's events."""
    return [(event.token_id, event.logprob, event.top, event.finish_reason) for event in events]


def run(engine: Engine, *cases: tuple[list[int], TokenSampling]) -> list[list[tuple[object, ...]]]:
    return [seen(events) for events in finish(engine, *(engine.submit(*case) for case in cases))]


def answers_of(
    cases: list[tuple[list[int], TokenSampling]], results: Any
) -> dict[tuple[int, ...], list[int]]:
    return {
        tuple(prompt): [event[0] for event in events]
        for (prompt, _), events in zip(cases, results, strict=True)
    }


@pytest.mark.parametrize("chain", CHAINS)
@given(seed=st.integers(0, 2**32), max_tokens=st.integers(1, 40))
@settings(SHARED, max_examples=12)
def test_every_sampler_draws_the_same(make: Make, chain: str, seed: int, max_tokens: int) -> None:
    cases = [(PROMPT[:50], sampling(max_tokens, seed=seed, logprobs=2, **CHAINS[chain]))]
    plain = run(make(speculation="off"), *cases)
    engine = force(make(), answers_of(cases, plain), seed)
    assert run(engine, *cases) == plain


@given(seed=st.integers(0, 2**32))
@settings(SHARED, max_examples=12)
def test_many_together_and_some_of_them_preempted(make: Make, seed: int) -> None:
    """Eight answers that come to need four blocks each, of which there are sixteen."""
    cases = [
        (PROMPT[i : i + 20], sampling(temperature=1.0, seed=seed + i, max_tokens=90, logprobs=0))
        for i in range(8)
    ]
    plain = run(make(speculation="off", context_length=1024), *cases)
    engine = force(make(context_length=512, prefill_chunk=16), answers_of(cases, plain), seed)
    assert run(engine, *cases) == plain
    stats = engine.stats
    assert stats.n_preempted > 0
    assert stats.work.accepted_tokens > 0
    assert stats.kv_blocks_held == 0


@given(seed=st.integers(0, 2**32), data=st.data())
@settings(SHARED, max_examples=25)
def test_rewound_again_and_again(make: Make, seed: int, data: st.DataObject) -> None:
    how = sampling(temperature=1.0, seed=seed, max_tokens=60, logprobs=0, mirostat=2)
    case = (PROMPT, how)
    plain = run(make(speculation="off"), case)
    engine = force(make(), answers_of([case], plain), seed)
    sequence = engine.submit(*case)
    events: list[TokenEvent] = []
    for _ in range(4):
        for _ in range(data.draw(st.integers(0, 8))):
            events += engine.step()
        least = 1 if sequence.finish_reason else 0  # an ended one that loses nothing draws beyond its end
        n_tokens = data.draw(st.integers(least, len(events)))
        engine.rewind(sequence, n_tokens)
        del events[len(events) - n_tokens :]
    assert [seen(events + finish(engine, sequence)[0])] == plain


@given(seed=st.integers(0, 2**32), n_steps=st.integers(1, 10))
@settings(SHARED, max_examples=12)
def test_a_cancelled_neighbour_leaves_no_trace(make: Make, seed: int, n_steps: int) -> None:
    cases = [(PROMPT[i:], sampling(temperature=1.0, seed=seed + i, max_tokens=40)) for i in range(2)]
    plain = run(make(speculation="off", context_length=512), *cases)
    engine = force(make(context_length=512), answers_of(cases, plain), seed)
    kept, dropped = (engine.submit(*case) for case in cases)
    events: dict[int, list[TokenEvent]] = {kept.id: [], dropped.id: []}
    for _ in range(n_steps):
        for event in engine.step():
            events[event.sequence_id].append(event)
    engine.cancel(dropped)
    while engine.has_work:
        for event in engine.step():
            events[event.sequence_id].append(event)
    assert seen(events[kept.id]) == plain[0]
    drawn = [event for event in events[dropped.id] if event.token_id is not None]
    assert seen(drawn) == plain[1][: len(drawn)]


def test_a_cached_prefix_holds_no_rejected_token(make: Make) -> None:
    """Blocks are named for what was drawn: the next turn finds the keys that plain decoding wrote."""
    how = sampling(temperature=1.0, seed=3, max_tokens=60)
    plain = make(speculation="off")
    [first] = run(plain, (PROMPT[:40], how))
    turn = PROMPT[:40] + [int(str(event[0])) for event in first] + PROMPT[:10]
    engine = force(make(), {}, seed=1)  # random tokens, hardly ever right
    assert run(engine, (PROMPT[:40], how)) == [first]
    after = engine.submit(turn, how)
    assert [seen(list(engine.stream(after)))] == run(plain, (turn, how))
    assert after.n_reused == 96


def test_a_sampler_that_fails_after_accepted_tokens(make: Make) -> None:
    """One token of a damaged model has no number for an embedding: whoever draws it fails at the next.

    Proposed and not drawn it harms nobody, though its keys are in the cache until they are written over.
    """
    how = sampling(temperature=1.0, seed=4, max_tokens=60)
    [events] = run(make(speculation="off"), (PROMPT[:60], how))
    known = [int(str(event[0])) for event in events]
    bad = next(token for token in known[8:] if token not in PROMPT[:60])
    damaged = with_nan_embedding(bad)
    cases = [(PROMPT[:60], sampling(temperature=1.0, seed=seed, max_tokens=60)) for seed in (4, 5, 6)]
    plain = run(make(damaged, speculation="off"), *cases)
    assert plain[0][-1][-1] == "error"
    assert len(plain[0]) == known.index(bad) + 2
    for seed in range(8):
        engine = force(make(damaged), {tuple(PROMPT[:60]): known}, seed)
        assert run(engine, *cases) == plain


def with_nan_embedding(token: int) -> Model:
    """Return the tests' model with one row of its embedding turned into NaN."""
    name = "token_embd.weight"
    rows = MODEL.tensors[name].astype(np.float32)
    rows[token] = np.nan
    stored = dataclasses.replace(MODEL.weights.tensors[name], data=memoryview(rows.tobytes()))
    weights = ModelWeights(MODEL.config, {**MODEL.weights.tensors, name: stored})
    return Model(weights, MODEL.tensors)


def test_right_proposals_save_steps(make: Make) -> None:
    case = (PROMPT, sampling(temperature=1.0, seed=3, max_tokens=100))
    [plain] = run(make(speculation="off"), case)
    engine = force(make(), answers_of([case], [plain]))
    sequence: LiveSequence = engine.submit(*case)
    n_steps = 0
    while engine.has_work:
        engine.step()
        n_steps += 1
    assert sequence.n_generated == 100
    assert n_steps < 50
    work = engine.stats.work
    assert n_steps + work.accepted_tokens == 100
    assert work.decode_tokens == 99


def test_drawn_tokens_follow_the_models_probabilities(make: Make) -> None:
    """The second token of many answers whose first was proposed, against the exact mixture.

    The bank of seeds is this test's own. Nothing but the plain model is in the expectation.
    """
    n = 3000
    executor = make_executor(MODEL)
    context = PROMPT[:5]

    def probabilities(token_ids: list[int]) -> np.ndarray[Any, Any]:
        logits = read(executor, [(sequence_of(token_ids), len(token_ids))])[0][-1].astype(np.float64)
        weights = np.exp(logits - logits.max())
        return np.asarray(weights / weights.sum())

    first = probabilities(context)
    second = sum(p * probabilities([*context, token]) for token, p in enumerate(first))
    engine = force(make(max_batch=32), {tuple(context): [int(first.argmax())]})
    assert isinstance(engine._live_core.speculator, Forced)
    cases = [(context, sampling(3, seed=10**6 + i)) for i in range(n)]
    counts = Counter(int(str(events[1][0])) for events in run(engine, *cases))
    assert p_value(counts, {token: float(p) for token, p in enumerate(second)}) > ALPHA
    assert engine.stats.work.proposed_tokens > n / 2
