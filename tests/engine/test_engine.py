"""The engine: each sequence gets what it would get alone, whatever happens to the others."""

from __future__ import annotations

import dataclasses
import gc
import subprocess
import sys
import threading
import time

import pytest

from tests.engine.driving import MODEL, PROMPT, Make, answer, finish, sampling
from tests.engine.models import CONFIG, expected_logits, random_model, rounding_bound
from tropilla.engine.engine import Engine
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.scheduler import Span
from tropilla.engine.sequence import LiveSequence
from tropilla.errors import RequestError


def test_greedy_takes_the_most_likely_token(make: Make) -> None:
    """Against the reference, teacher-forced with the answer."""
    drawn = answer(make(), PROMPT, sampling(temperature=0.0))
    tokens = PROMPT + drawn
    expected = expected_logits(MODEL, tokens)
    largest_error = 4 * rounding_bound(MODEL, tokens, expected)  # of one logit, four deviations out
    for place, token in enumerate(drawn, len(PROMPT) - 1):
        assert expected[place].max() - expected[place, token] <= 2 * largest_error


def test_same_seed_same_tokens_alone_and_in_a_batch_of_16(make: Make) -> None:
    cases = [(PROMPT[i : i + 50], sampling(temperature=1.5, seed=i, max_tokens=20 + i)) for i in range(16)]
    alone = [answer(make(), prompt, how) for prompt, how in cases]
    engine = make(prefill_chunk=300, context_length=2048)
    sequences = [engine.submit(prompt, how) for prompt, how in cases]
    events = [event for _ in range(8) for event in engine.step()]
    assert engine.stats.n_running == 16
    while engine.has_work:
        events += engine.step()
    for sequence, expected in zip(sequences, alone, strict=True):
        assert [event.token_id for event in events if event.sequence_id == sequence.id] == expected
    assert len({tuple(tokens) for tokens in alone}) == 16


@pytest.mark.parametrize(
    "option", [{"prefill_chunk": 1}, {"prefill_chunk": 33}, {"max_batch": 1}, {"threads": 1}]
)
def test_options_change_no_result(make: Make, option: dict[str, int]) -> None:
    how = sampling(temperature=1.0, seed=3)
    assert answer(make(**option), PROMPT, how) == answer(make(), PROMPT, how)


def test_a_submit_may_come_while_an_idle_step_looks_around(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once came between the look at an empty queue and the check that nothing was left waiting there."""
    engine = make()
    core = engine._live_core
    schedule = core.scheduler.schedule

    def schedule_then_submit() -> list[Span]:
        spans = schedule()
        monkeypatch.undo()
        engine.submit(PROMPT, sampling(3))
        return spans

    monkeypatch.setattr(core.scheduler, "schedule", schedule_then_submit)
    assert engine.step() == []
    assert len([event for _ in range(4) for event in engine.step()]) == 3


def test_streams_of_several_threads_keep_pace(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever computed the steps once kept the lock, and the others got their tokens in heaps."""
    engine = make(max_batch=4)
    advance = engine._live_core.advance

    def advance_slowly() -> None:
        time.sleep(0.01)
        advance()

    monkeypatch.setattr(engine._live_core, "advance", advance_slowly)
    behind: list[int] = []

    def read(sequence: LiveSequence) -> None:
        for _ in engine.stream(sequence):
            behind.append(len(sequence.events))

    readers = [threading.Thread(target=read, args=(engine.submit(PROMPT, sampling(30)),)) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(behind) == 4 * 30
    assert sum(behind) / len(behind) < 0.5, behind


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_stream_given_up_before_its_first_event_cancels_its_sequence(make: Make, how: str) -> None:
    engine = make()
    sequence = engine.submit(PROMPT, sampling())
    events = engine.stream(sequence)
    if how == "close":
        events.close()
    del events
    gc.collect()
    assert sequence.finish_reason == "cancelled"
    assert not engine.has_work


def test_a_stop_token_ends_the_answer(make: Make) -> None:
    drawn = answer(make(), PROMPT, sampling(temperature=0.0))
    stop = drawn[4]
    for how in (sampling(temperature=0.0, end_ids=[stop]), sampling(temperature=0.0, stop_token_ids=[stop])):
        engine = make()
        [events] = finish(engine, engine.submit(PROMPT, how))
        assert [event.token_id for event in events] == drawn[: drawn.index(stop) + 1]
        assert [event.finish_reason for event in events] == [None] * drawn.index(stop) + ["stop"]


def test_ignored_end_of_text_does_not_end_the_answer(make: Make) -> None:
    drawn = answer(make(), PROMPT, sampling(temperature=0.0))
    how = sampling(temperature=0.0, end_ids=[CONFIG.vocab_size - 1], ignore_eos=True)
    assert len(answer(make(), PROMPT, how)) == len(drawn)


@pytest.mark.parametrize("max_tokens", [1, 2, 20])
def test_max_tokens_ends_the_answer(make: Make, max_tokens: int) -> None:
    engine = make()
    [events] = finish(engine, engine.submit(PROMPT, sampling(max_tokens)))
    assert [event.finish_reason for event in events] == [None] * (max_tokens - 1) + ["length"]


@pytest.mark.parametrize("max_tokens", [None, 1000])
def test_a_full_context_ends_the_answer(make: Make, max_tokens: int | None) -> None:
    engine = make(context_length=110)
    [events] = finish(engine, engine.submit(PROMPT, sampling(max_tokens)))
    assert len(events) == 10
    assert events[-1].finish_reason == "length"


def test_the_longest_prompt_leaves_room_for_one_token(make: Make) -> None:
    engine = make(context_length=100)
    assert len(answer(engine, PROMPT[:99], sampling())) == 1
    with pytest.raises(
        RequestError, match="the prompt has 100 tokens, but at most 99 fit the context of 100"
    ):
        engine.submit(PROMPT, sampling())


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "empty"), ([101], "token id 101 is outside"), ([5, -1], "token id -1 is outside")],
)
def test_refused_prompts(make: Make, prompt: list[int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        make().submit(prompt, sampling())


def test_logprobs_are_of_the_raw_model(make: Make) -> None:
    how = sampling(temperature=0.3, seed=1, logprobs=3)
    engine = make()
    [events] = finish(engine, engine.submit(PROMPT, how))
    tokens = PROMPT + [event.token_id for event in events if event.token_id is not None]
    expected = engine.score(tokens, first=len(PROMPT))
    assert [event.logprob for event in events] == pytest.approx(expected, abs=1e-5)  # two float32 sums
    for event in events:
        assert [logprob for _, logprob in event.top] == sorted((p for _, p in event.top), reverse=True)
        assert len(event.top) == 3


@pytest.mark.parametrize(
    ("n_prompt", "n_reused"), [(31, 0), (32, 0), (33, 32), (64, 32), (65, 64), (100, 96)]
)
def test_a_prefix_is_read_once(make: Make, n_prompt: int, n_reused: int) -> None:
    """All full blocks but for the last token, which has to be read for its logits."""
    engine, how = make(), sampling(temperature=1.0, seed=8)
    first = engine.submit(PROMPT[:n_prompt], how)
    expected = [event.token_id for event in engine.stream(first)]
    again = engine.submit(PROMPT[:n_prompt], how)
    assert [event.token_id for event in engine.stream(again)] == expected
    assert (first.n_reused, again.n_reused) == (0, n_reused)
    assert engine.stats.work.reused_tokens == n_reused


def test_an_answer_is_reused_by_the_next_turn(make: Make) -> None:
    engine = make()
    drawn = answer(engine, PROMPT[:40], sampling(max_tokens=60))
    turn = engine.submit(PROMPT[:40] + drawn + PROMPT[:10], sampling())
    list(engine.stream(turn))
    assert turn.n_reused == 96  # of the 99 whose keys were computed, the full blocks


def test_prefix_is_shared_while_in_use(make: Make) -> None:
    engine = make()
    first = engine.submit(PROMPT, sampling(max_tokens=50))
    engine.step()
    second = engine.submit(PROMPT, sampling(max_tokens=50))
    engine.step()
    assert first.blocks[:3] == second.blocks[:3]
    assert engine.stats.kv_blocks_held == len(first.blocks) + 1


def test_results_survive_a_full_cache(make: Make) -> None:
    """Each answer comes to need all four blocks. Whoever has to give way is read again later."""
    cases = [(PROMPT[i : i + 20], sampling(temperature=1.0, seed=i, max_tokens=90)) for i in range(4)]
    alone = [answer(make(), prompt, how) for prompt, how in cases]
    engine = make(context_length=128)
    assert engine.stats.kv_blocks == 4
    together = finish(engine, *(engine.submit(prompt, how) for prompt, how in cases))
    assert [[event.token_id for event in events] for events in together] == alone
    assert engine.stats.n_preempted > 0
    assert engine.stats.kv_blocks_held == 0


def test_first_come_first_served(make: Make) -> None:
    engine = make(max_batch=2)
    sequences = [engine.submit(PROMPT[i:], sampling(max_tokens=3)) for i in range(5)]
    finish(engine, *sequences)
    starts = [sequence.started_s for sequence in sequences]
    assert starts == sorted(starts, key=lambda start: start or 0.0)


def test_answers_go_on_while_a_long_prompt_is_read(make: Make) -> None:
    engine = make(prefill_chunk=10)
    talking = engine.submit(PROMPT[:5], sampling(max_tokens=50))
    engine.step()
    engine.submit(PROMPT, sampling())
    for _ in range(10):
        assert engine.step()[0].sequence_id == talking.id


def test_cancel_while_waiting_and_while_running(make: Make) -> None:
    engine = make(max_batch=1)
    running, waiting = (engine.submit(PROMPT[i:], sampling(max_tokens=None)) for i in range(2))
    engine.step()
    for sequence in (running, waiting):
        engine.cancel(sequence)
        assert sequence.finish_reason == "cancelled"
        assert list(engine.stream(sequence))[-1].finish_reason == "cancelled"
    assert not engine.has_work
    assert engine.stats.kv_blocks_held == 0


def test_cancel_all_ends_what_runs_and_what_waits(make: Make) -> None:
    engine = make(max_batch=1)
    sequences = [engine.submit(PROMPT[i:], sampling(max_tokens=None)) for i in range(2)]
    engine.step()
    engine.cancel_all()
    assert [sequence.finish_reason for sequence in sequences] == ["cancelled", "cancelled"]
    assert not engine.has_work
    engine.close()
    engine.cancel_all()  # nothing left to cancel


def test_closing_the_stream_cancels(make: Make) -> None:
    engine = make()
    sequence = engine.submit(PROMPT, sampling())
    events = engine.stream(sequence)
    next(events)
    events.close()
    assert sequence.finish_reason == "cancelled"
    assert not engine.has_work


def test_cancel_spares_the_others(make: Make) -> None:
    how = sampling(temperature=1.0, seed=4)
    expected = answer(make(), PROMPT, how)
    engine = make(prefill_chunk=16)
    kept, dropped = engine.submit(PROMPT, how), engine.submit(PROMPT[1:], how)
    events = engine.step()
    engine.cancel(dropped)
    events += [event for sequence_events in finish(engine, kept, dropped) for event in sequence_events]
    assert [event.token_id for event in events if event.sequence_id == kept.id] == expected
    assert [event.finish_reason for event in events if event.sequence_id == dropped.id] == ["cancelled"]


def test_a_failing_sampler_fails_its_sequence_alone(make: Make) -> None:
    engine = make()
    everything = list(range(CONFIG.vocab_size))
    good, bad = engine.submit(PROMPT, sampling()), engine.submit(PROMPT, sampling(banned_tokens=everything))
    events = finish(engine, good, bad)
    assert len(events[0]) == 20
    [event] = events[1]
    assert event.finish_reason == "error"
    assert isinstance(event.error, RequestError)
    with pytest.raises(RequestError):
        answer(engine, PROMPT, sampling(banned_tokens=everything))


def test_threads_stream_side_by_side(make: Make) -> None:
    cases = [(PROMPT[i:], sampling(temperature=1.0, seed=i)) for i in range(4)]
    expected = [answer(make(), prompt, how) for prompt, how in cases]
    engine = make()
    got: dict[int, list[int]] = {}
    threads = [
        threading.Thread(target=lambda i=i: got.update({i: answer(engine, *cases[i])})) for i in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[i] for i in range(4)] == expected


def test_a_closed_engine_says_so() -> None:
    engine = Engine(MODEL.weights, EngineOptions(threads=1))
    sequence = engine.submit(PROMPT, sampling())
    engine.close()
    assert sequence.finish_reason == "cancelled"
    for use in (engine.step, lambda: engine.submit(PROMPT, sampling())):
        with pytest.raises(RequestError, match="the engine is closed"):
            use()
    engine.close()


def test_stats_count_the_work(make: Make) -> None:
    engine = make(max_batch=3, prefill_chunk=60)
    assert engine.stats.work.prefill_tokens_per_s == engine.stats.work.decode_tokens_per_s == 0
    answer(engine, PROMPT, sampling(max_tokens=11))
    stats = engine.stats
    assert (stats.work.prefill_tokens, stats.work.decode_tokens) == (100, 10)
    assert stats.work.prefill_s > 0
    assert stats.work.decode_s > 0
    assert stats.kv_blocks_cached == 3
    assert stats.memory.kv_bytes == stats.kv_blocks * 32 * CONFIG.kv_bytes_per_token()
    assert make(kv_type="f32").stats.memory.kv_bytes == 2 * make().stats.memory.kv_bytes
    assert stats.threads == 2
    assert make(max_batch=30).stats.memory.scratch_bytes > stats.memory.scratch_bytes


def test_the_token_path_needs_no_numpy() -> None:
    """NumPy costs 180 ms and 25 MB at start-up."""
    code = "import sys, tropilla.engine.engine; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_sliding_window_and_reuse_agree(make: Make) -> None:
    model = random_model(dataclasses.replace(CONFIG, sliding_window=40), seed=5)
    how = sampling(temperature=1.0, seed=6, max_tokens=60)
    engine = make(model)
    assert answer(engine, PROMPT, how) == answer(engine, PROMPT, how) == answer(make(model), PROMPT, how)
