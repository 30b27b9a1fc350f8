"""A draft model changes nothing but the number of steps, however good or bad it is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.driving import MODEL, PROMPT, Make, finish, sampling
from tests.engine.models import CONFIG, random_model
from tests.engine.speculation.test_lossless import CHAINS, SHARED, run, seen
from tropilla.engine.engine import Engine
from tropilla.engine.sequence import TokenEvent
from tropilla.engine.speculation.draft import MOST_DRAFTED, DraftProposer
from tropilla.engine.speculation.step_costs import StepCosts
from tropilla.errors import UnsupportedError

OTHER = random_model(dataclasses.replace(CONFIG, dim=32, n_layers=1, head_dim=8, ffn_dim=32), seed=8)


class FreeCosts(StepCosts):
    """Let a draft cost nothing and a step the same whatever its size: all that can be drafted is."""

    known = True

    def seconds(self, n_tokens: int) -> float:  # noqa: ARG002
        return self.each

    def __init__(self, each: float = 1.0) -> None:
        super().__init__()
        self.each = each


class Proportional(FreeCosts):
    """Let every token cost the same."""

    def seconds(self, n_tokens: int) -> float:
        return self.each * n_tokens


def draft_freely(engine: Engine) -> Engine:
    speculator = engine._live_core.speculator
    assert speculator is not None
    assert isinstance(speculator._proposer, DraftProposer)
    speculator._costs = FreeCosts()
    speculator._proposer._costs = FreeCosts(0.0)
    return engine


def n_steps(engine: Engine) -> int:
    n = 0
    while engine.has_work:
        engine.step()
        n += 1
    return n


@pytest.mark.parametrize("chain", CHAINS)
@given(seed=st.integers(0, 2**32), max_tokens=st.integers(1, 40))
@settings(SHARED, max_examples=5)
@pytest.mark.parametrize("draft", [MODEL, OTHER], ids=["itself", "another"])
def test_every_sampler_draws_the_same(make: Make, chain: str, draft: Any, seed: int, max_tokens: int) -> None:
    cases = [(PROMPT[:50], sampling(max_tokens, seed=seed, logprobs=2, **CHAINS[chain]))]
    assert run(draft_freely(make(draft=draft)), *cases) == run(make(speculation="off"), *cases)


@pytest.mark.parametrize("chain", ["greedy", "plain", "penalties", "mirostat 2"])
def test_a_model_drafting_for_itself_is_always_right(make: Make, chain: str) -> None:
    """The same random numbers, the same state of the sampler: not one token is rejected."""
    engine = draft_freely(make(draft=MODEL))
    engine.submit(PROMPT, sampling(120, seed=3, **CHAINS[chain]))
    assert n_steps(engine) <= 2 + 120 / MOST_DRAFTED
    work = engine.stats.work
    assert work.accepted_tokens == work.proposed_tokens > 100
    assert work.decode_tokens == 119


def test_a_long_prompt_is_read_in_pieces(make: Make) -> None:
    """While the small model reads, the large one goes on by itself."""
    engine = draft_freely(make(draft=MODEL, prefill_chunk=40))
    how = sampling(60, temperature=1.0)
    assert run(engine, (PROMPT, how)) == run(make(speculation="off"), (PROMPT, how))
    work = engine.stats.work
    assert work.accepted_tokens == work.proposed_tokens > 40


@given(seed=st.integers(0, 2**32))
@settings(SHARED, max_examples=8)
@pytest.mark.parametrize("draft", [MODEL, OTHER], ids=["itself", "another"])
def test_many_together_and_some_of_them_preempted(make: Make, draft: Any, seed: int) -> None:
    cases = [
        (PROMPT[i : i + 20], sampling(temperature=1.0, seed=seed + i, max_tokens=90, logprobs=0))
        for i in range(8)
    ]
    plain = run(make(speculation="off", context_length=1024), *cases)
    engine = draft_freely(make(draft=draft, context_length=512, prefill_chunk=32))
    assert run(engine, *cases) == plain
    speculator = engine._live_core.speculator
    assert speculator is not None
    assert isinstance(speculator._proposer, DraftProposer)
    blocks = speculator._proposer._scheduler.blocks
    assert blocks.n_free == blocks.n_blocks
    assert not speculator._proposer._scheduler.running


@given(seed=st.integers(0, 2**32), data=st.data())
@settings(SHARED, max_examples=15)
@pytest.mark.parametrize("draft", [MODEL, OTHER], ids=["itself", "another"])
def test_rewound_again_and_again(make: Make, draft: Any, seed: int, data: st.DataObject) -> None:
    how = sampling(temperature=1.0, seed=seed, max_tokens=60, logprobs=0, mirostat=2)
    plain = run(make(speculation="off"), (PROMPT, how))
    engine = draft_freely(make(draft=draft))
    sequence = engine.submit(PROMPT, how)
    events: list[TokenEvent] = []
    for _ in range(3):
        for _ in range(data.draw(st.integers(0, 4))):
            events += engine.step()
        least = 1 if sequence.finish_reason else 0  # an ended one that loses nothing draws beyond its end
        n_tokens = data.draw(st.integers(least, len(events)))
        engine.rewind(sequence, n_tokens)
        del events[len(events) - n_tokens :]
    assert [seen(events + finish(engine, sequence)[0])] == plain
    work = engine.stats.work
    assert draft is OTHER or work.accepted_tokens == work.proposed_tokens


def test_a_shorter_context_of_the_draft_ends_drafting_not_the_answer(make: Make) -> None:
    short = random_model(dataclasses.replace(CONFIG, context_length=120), seed=5)
    how = sampling(100, temperature=1.0)
    engine = draft_freely(make(draft=short))
    assert run(engine, (PROMPT, how)) == run(make(speculation="off"), (PROMPT, how))
    assert 10 < engine.stats.work.proposed_tokens <= 20


@pytest.mark.parametrize(("draft_s", "most"), [(1.0, 0), (0.001, 30)])
def test_a_draft_that_does_not_pay_is_tried_rarely(make: Make, draft_s: float, most: int) -> None:
    """One that costs as much as the large model never; a cheap one that is always wrong now and then."""
    engine = make(draft=OTHER, context_length=1024)
    speculator = engine._live_core.speculator
    assert speculator is not None
    assert isinstance(speculator._proposer, DraftProposer)
    speculator._costs = Proportional(1.0)
    speculator._proposer._costs = Proportional(draft_s)
    engine.submit(PROMPT, sampling(800, temperature=1.0))
    n_steps(engine)
    n_draft_steps = sum(speculator._proposer._costs._n_seen.values())
    assert (n_draft_steps > 0) == (most > 0)
    assert n_draft_steps <= most


def test_another_vocabulary_is_refused(make: Make) -> None:
    with pytest.raises(UnsupportedError, match="the draft model has 102 tokens and the model 101"):
        make(draft=random_model(dataclasses.replace(CONFIG, vocab_size=102)))
