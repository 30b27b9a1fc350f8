"""Flash attention over KV blocks against a float64 softmax.

A score is a sum of head_dim products of exact keys: |error| <= gamma(head_dim + 1) * sum |q k|. A
relative error e of every weight exp(score - maximum) moves a weighted mean by at most
2 e * sum(p |v|) / sum(p); e is the largest score error, 4 u for exp, the rounding of score - maximum
(u times its size) and, for each of the n keys, one addition and at most one rescaling with its own
exp (6 u).
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

from tests.kernels.kv_rows import (
    BLOCK,
    KV_TYPES,
    MAX_BLOCKS,
    QUANTIZED,
    UNPACKED_BLOCKS,
    Rows,
    random_rows,
    width_of,
)
from tests.kernels.runner import Array, Canaried, Runner, unaligned

UNIT = 2.0**-24


class Case(NamedTuple):
    """Query rows and one KV head's keys and values, with what each row sees."""

    q: Array  # (Q, Dh) float32
    k: Rows  # (S, Dh)
    v: Rows  # (S, Dh)
    first: Array  # (Q,) int32
    last: Array  # (Q,) int32


class State(NamedTuple):
    """What rows have gathered so far."""

    acc: Canaried  # (Q, width)
    row_max: Canaried
    row_sum: Canaried

    def result(self, head_dim: int) -> Array:
        return self.acc.array[:, :head_dim] / self.row_sum.array[:, None]


def random_case(
    n_queries: int, n_keys: int, head_dim: int, seed: int = 0, spread: float = 1.0, kv_type: str = "F16"
) -> Case:
    """Causal: row i is the i-th last position, with at least one key."""
    rng = np.random.default_rng(seed)
    q = rng.standard_normal((n_queries, head_dim)) * head_dim**-0.5 * spread
    k, v = (random_rows(kv_type, n_keys, head_dim, rng) for _ in range(2))
    last = np.maximum(1, n_keys - np.arange(n_queries)[::-1])
    return Case(q.astype(np.float32), k, v, np.zeros(n_queries, np.int32), last.astype(np.int32))


def new_state(case: Case) -> State:
    n, head_dim = case.q.shape
    state = State(*(Canaried(shape, np.float32) for shape in [(n, width_of(head_dim)), (n,), (n,)]))
    state.acc.array[...] = 0
    state.row_max.array[...] = -np.inf
    state.row_sum.array[...] = 0
    return state


def attend(runner: Runner, case: Case, state: State) -> None:
    blocks = [case.k.key_blocks(), case.v.value_blocks()]
    scratch = Canaried((2, UNPACKED_BLOCKS, BLOCK, width_of(case.q.shape[1])), np.float32)
    scratch.array[...] = np.nan
    arrays = [case.q, *blocks, case.first, case.last]
    outputs = [scratch, *state]
    runner(
        "attend",
        [*case.q.shape, KV_TYPES.index(case.k.kv_type), len(blocks[0])],
        [*(unaligned(array) for array in arrays), *(room.array for room in outputs)],
    )
    for room in outputs:
        room.check()


def attended(runner: Runner, case: Case, n_blocks: int = MAX_BLOCKS) -> State:
    """Attend all keys, some blocks in each call."""
    state = new_state(case)
    size = n_blocks * BLOCK
    for start in range(0, len(case.k.codes), size):
        keys = slice(start, start + size)
        first = np.clip(case.first - start, 0, size).astype(np.int32)
        last = np.clip(case.last - start, 0, size).astype(np.int32)
        attend(runner, Case(case.q, case.k.part(keys), case.v.part(keys), first, last), state)
    return state


def assert_is_softmax(state: State, case: Case) -> None:
    head_dim = case.q.shape[1]
    out = state.result(head_dim)
    k, v = case.k.values(), case.v.values()
    for i, (first, last) in enumerate(zip(case.first, case.last, strict=True)):
        scores = k[first:last] @ case.q[i]
        p = np.exp(scores - scores.max())
        expected = p @ v[first:last] / p.sum()
        n = head_dim + 1
        score_error = n * UNIT * (np.abs(k[first:last]) @ np.abs(case.q[i])).max()
        e = score_error + (4 + np.ptp(scores) + 6 * (last - first)) * UNIT
        bound = 2 * e * (p @ np.abs(v[first:last])) / p.sum() + 3 * UNIT * np.abs(expected)
        assert (np.abs(out[i] - expected) <= bound).all(), f"row {i}"


@pytest.mark.parametrize("head_dim", [2, 8, 20, 64, 80, 128])
@pytest.mark.parametrize("n_keys", [1, 2, 31, 32, 33, 70, 200])
def test_is_softmax(runner: Runner, n_keys: int, head_dim: int) -> None:
    for n_queries in (1, 2, 3, 7, 8, 9, 17):
        case = random_case(n_queries, n_keys, head_dim, seed=n_queries)
        assert_is_softmax(attended(runner, case), case)


@pytest.mark.parametrize(
    ("kv_type", "head_dim"), [("F32", 20), ("F32", 64), *product(QUANTIZED, [32, 64, 96])]
)
@pytest.mark.parametrize("n_queries", [1, 3, 6, 9])
def test_other_types(runner: Runner, kv_type: str, head_dim: int, n_queries: int) -> None:
    """A code times its f16 scale has at most 19 bits: keys and values in float32 are exact."""
    case = random_case(n_queries, 170, head_dim, kv_type=kv_type)
    assert_is_softmax(attended(runner, case, 1), case)
    assert_is_softmax(attended(runner, case), case)


@pytest.mark.parametrize("n_blocks", [1, 2, 5, 16])
@pytest.mark.parametrize("n_queries", [1, 9])
def test_calls_one_after_another_are_one_attention(runner: Runner, n_queries: int, n_blocks: int) -> None:
    case = random_case(n_queries, 600, 64, spread=4.0)
    assert_is_softmax(attended(runner, case, n_blocks), case)


def test_windows_hide_what_is_before_them(runner: Runner) -> None:
    case = random_case(12, 190, 32)
    case = case._replace(first=np.maximum(case.last - 20, 0).astype(np.int32))
    assert_is_softmax(attended(runner, case), case)


def test_a_row_that_sees_nothing_keeps_its_state(runner: Runner) -> None:
    """Neither an untouched row nor one with a history may turn into NaN."""
    case = random_case(10, 40, 16)
    state = attended(runner, case)
    before = [room.array.copy() for room in state]
    blind = case._replace(first=case.last.copy())
    attend(runner, blind, state)
    for room, array in zip(state, before, strict=True):
        np.testing.assert_array_equal(room.array, array)
    fresh = new_state(case)
    attend(runner, blind, fresh)
    assert (fresh.acc.array == 0).all()
    assert (fresh.row_max.array == -np.inf).all()
    assert (fresh.row_sum.array == 0).all()


def test_hidden_keys_and_values_may_be_anything(runner: Runner) -> None:
    """Each value but row 4's own is NaN for it: those before its window, and the future."""
    case = random_case(9, 80, 20)
    case = case._replace(first=np.maximum(case.last - 40, 0).astype(np.int32))
    expected = attended(runner, case).result(20)[4]
    for rows in (case.k, case.v):
        rows.spoil(slice(0, case.first[4]))
        rows.spoil(slice(case.last[4], None))
    state = attended(runner, case)
    np.testing.assert_array_equal(state.result(20)[4], expected)
    assert np.isnan(state.result(20)[5]).all(), "what a row sees must not be lost"


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("key", [0, 3, 30])
def test_a_visible_nan_stays_visible(runner: Runner, key: int, kv_type: str) -> None:
    """In the first chunk or a later block: a broken model must not look like a working one."""
    case = random_case(2, 64, 32, kv_type=kv_type)
    case.k.spoil(slice(key, key + 1))
    assert np.isnan(attended(runner, case, 1).row_sum.array).all()


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_a_nan_that_is_all_a_row_sees_stays_visible(runner: Runner, kv_type: str) -> None:
    """Of the first row's vectors of scores all but one are hidden: their maximum must not pass for no key."""
    case = random_case(2, 64, 32, kv_type=kv_type)._replace(last=np.array([1, 64], np.int32))
    case.k.spoil(slice(0, 1))
    state = attended(runner, case)
    assert np.isnan(state.row_sum.array).all()
    assert np.isnan(state.acc.array[:, :32]).all()


def test_far_apart_scores_do_not_overflow(runner: Runner) -> None:
    case = random_case(3, 64, 64, spread=200.0)
    assert_is_softmax(attended(runner, case, 1), case)


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("window", [50, 200])  # the longer than a kernel keeps scores for
def test_a_row_does_not_depend_on_its_companions(runner: Runner, window: int, kv_type: str) -> None:
    """Bit for bit: the same text comes out of a prefill, a decode and any batch."""
    case = random_case(17, 200, 64, kv_type=kv_type)
    case = case._replace(first=np.maximum(case.last - window, 0).astype(np.int32))
    together = attended(runner, case)
    for i in range(17):
        alone = Case(case.q[i : i + 1], case.k, case.v, case.first[i : i + 1], case.last[i : i + 1])
        state = attended(runner, alone)
        for one, all_rows in zip(state, together, strict=True):
            np.testing.assert_array_equal(one.array[0], all_rows.array[i])
