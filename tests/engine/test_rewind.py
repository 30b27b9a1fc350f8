"""Taking tokens back leaves no trace but the ban."""

from __future__ import annotations

import pytest

from tests.engine.driving import PROMPT, Make, answer, finish, sampling
from tropilla.errors import RequestError

HOW = sampling(temperature=1.0, seed=9, max_tokens=40, logprobs=0)


@pytest.mark.parametrize("n_kept", [0, 1, 12, 13, 28, 29, 39])
@pytest.mark.parametrize("n_tokens", [1, 40])
def test_a_rewound_answer_comes_out_the_same(make: Make, n_kept: int, n_tokens: int) -> None:
    """After 100 + 29 tokens a block of 32 has just been filled with 128 computed ones."""
    expected = make()
    whole = finish(expected, expected.submit(PROMPT, HOW))[0]
    engine = make(speculation="off")  # one token a step
    sequence = engine.submit(PROMPT, HOW)
    events = [engine.step()[0] for _ in range(min(n_kept + n_tokens, 40))]
    engine.rewind(sequence, len(events) - n_kept)
    events = events[:n_kept] + finish(engine, sequence)[0]
    assert [(e.token_id, e.logprob, e.finish_reason) for e in events] == [
        (e.token_id, e.logprob, e.finish_reason) for e in whole
    ]


def test_banned_tokens_are_not_drawn_at_that_place(make: Make) -> None:
    greedy = sampling(temperature=0.0)
    first = answer(make(), PROMPT, greedy)
    engine = make()
    sequence = engine.submit(PROMPT, greedy)
    drawn: list[int] = []
    for event in engine.stream(sequence):
        assert event.token_id is not None
        drawn.append(event.token_id)
        if drawn == first[:8]:  # as if a banned string of three tokens had just been completed
            engine.rewind(sequence, 3, ban=[first[5]])
            del drawn[5:]
    assert drawn[:5] == first[:5]
    assert drawn[5] != first[5]
    assert len(drawn) == 20
    # Alone after the same tokens, the same ban gives the same rest.
    other = make()
    rest = other.submit(
        PROMPT + first[:5], sampling(temperature=0.0, max_tokens=15, banned_tokens=[first[5]])
    )
    assert next(iter(other.stream(rest))).token_id == drawn[5]


def test_an_ended_answer_runs_again(make: Make) -> None:
    engine = make()
    sequence = engine.submit(PROMPT, HOW)
    before = [event.token_id for event in finish(engine, sequence)[0]]
    assert sequence.finish_reason == "length"
    engine.rewind(sequence, 2)
    assert sequence.finish_reason is None
    assert [event.token_id for event in finish(engine, sequence)[0]] == before[-2:]


def test_tokens_that_nobody_read_are_taken_back_too(make: Make) -> None:
    """Another reader's steps had drawn further tokens for this sequence."""
    engine = make()
    expected = answer(make(), PROMPT, HOW)
    ours, other = engine.submit(PROMPT, HOW), engine.submit(PROMPT[1:], sampling(max_tokens=10))
    events = engine.stream(ours)
    drawn = [next(events).token_id for _ in range(5)]
    list(engine.stream(other))
    assert len(ours.events) > 0
    engine.rewind(ours, 2)
    assert drawn[:3] + [event.token_id for event in events] == expected


def test_equal_answers_part_undisturbed(make: Make) -> None:
    """Two equal sequences share full blocks; one is rewound across a block's edge, the other goes on."""
    expected = answer(make(), PROMPT, HOW)
    engine = make(context_length=512, speculation="off")  # one token a step
    both = [engine.submit(PROMPT, HOW) for _ in range(2)]
    steps = [engine.step() for _ in range(30)]
    engine.rewind(both[0], 5)
    rest = [[event.token_id for event in events] for events in finish(engine, *both)]
    assert [events[0].token_id for events in steps[:25]] + rest[0] == expected
    assert [events[1].token_id for events in steps] + rest[1] == expected


@pytest.mark.parametrize("n_tokens", [-1, 2])
def test_no_more_than_was_drawn(make: Make, n_tokens: int) -> None:
    engine = make()
    sequence = engine.submit(PROMPT, HOW)
    engine.step()
    with pytest.raises(RequestError, match="cannot take back"):
        engine.rewind(sequence, n_tokens)
