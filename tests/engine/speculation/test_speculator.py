"""With its own proposals: text that repeats itself takes fewer steps; endings stay where they are."""

from __future__ import annotations

import pytest

from tests.engine.driving import PROMPT, Make, answer, finish, sampling
from tropilla.engine.engine import Engine
from tropilla.engine.sequence import TokenSampling
from tropilla.engine.speculation.speculator import MOST_PROPOSED
from tropilla.engine.speculation.step_costs import StepCosts

# Two tokens allowed: whatever is drawn soon stood there before.
REPEATING = sampling(temperature=0.0, max_tokens=150, allowed_token_ids=[3, 5])


def n_steps(engine: Engine, prompt: list[int], how: TokenSampling) -> int:
    engine.submit(prompt, how)
    n = 0
    while engine.has_work:
        engine.step()
        n += 1
    return n


@pytest.fixture
def free_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let further tokens of a step cost nothing, so that no test depends on a clock."""
    monkeypatch.setattr(StepCosts, "seconds", lambda *_: 1.0)


@pytest.mark.usefixtures("free_tokens")
def test_repeating_text_takes_fewer_steps(make: Make) -> None:
    engine = make()
    assert n_steps(make(speculation="off"), PROMPT, REPEATING) == 150
    assert n_steps(engine, PROMPT, REPEATING) < 75
    work = engine.stats.work
    assert work.decode_tokens == 149
    assert 75 < work.accepted_tokens <= work.proposed_tokens


def test_dear_tokens_are_not_proposed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepCosts, "seconds", lambda _, n_tokens: float(n_tokens))
    engine = make()
    assert n_steps(engine, PROMPT, REPEATING) == 150
    assert engine.stats.work.proposed_tokens == 0


@pytest.mark.usefixtures("free_tokens")
@pytest.mark.parametrize("max_tokens", [1, 2, 3, 30, 150])
def test_the_answer_and_its_end_are_the_same(make: Make, max_tokens: int) -> None:
    plain = answer(make(speculation="off"), PROMPT, REPEATING)
    how = sampling(temperature=0.0, max_tokens=max_tokens, allowed_token_ids=[3, 5])
    assert answer(make(), PROMPT, how) == plain[:max_tokens]
    full = make(context_length=len(PROMPT) + max_tokens)
    assert answer(full, PROMPT, REPEATING) == plain[:max_tokens]


@pytest.mark.usefixtures("free_tokens")
def test_a_stop_token_that_stood_there_before_ends_the_answer(make: Make) -> None:
    """It is in the prompt, as the marks between turns are, and would be proposed."""
    plain = answer(make(speculation="off"), PROMPT, REPEATING)
    stop = max(set(plain), key=lambda token: plain.index(token))
    how = sampling(temperature=0.0, max_tokens=150, allowed_token_ids=[3, 5], end_ids=[stop])
    prompt = [*PROMPT, *plain, *PROMPT]
    [events] = finish(
        plain_engine := make(context_length=512, speculation="off"), plain_engine.submit(prompt, how)
    )
    [others] = finish(engine := make(context_length=512), engine.submit(prompt, how))
    assert [e.token_id for e in others] == [e.token_id for e in events]
    assert others[-1].finish_reason == events[-1].finish_reason


@pytest.mark.usefixtures("free_tokens")
def test_a_batch_shares_the_rows(make: Make) -> None:
    """Every sequence alone could fill them."""
    engine = make(max_batch=8, context_length=2048)
    cases = [(PROMPT[i:], REPEATING) for i in range(8)]
    expected = [answer(make(speculation="off"), *case) for case in cases]
    sequences = [engine.submit(*case) for case in cases]
    before = 0
    drawn: dict[int, list[int | None]] = {sequence.id: [] for sequence in sequences}
    while engine.has_work:
        for event in engine.step():
            drawn[event.sequence_id].append(event.token_id)
        proposed = engine.stats.work.proposed_tokens
        assert proposed - before <= MOST_PROPOSED
        before = proposed
    assert list(drawn.values()) == expected
    assert before > 100


def test_off_proposes_nothing_and_holds_fewer_logits(make: Make) -> None:
    off, on = make(speculation="off"), make()
    answer(off, PROMPT, REPEATING)
    assert off.stats.work.proposed_tokens == 0
    assert off.stats.memory.scratch_bytes < on.stats.memory.scratch_bytes
