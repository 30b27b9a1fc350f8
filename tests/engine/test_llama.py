"""The compiled model refuses what does not fit, and can be interrupted."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.engine.models import CONFIG, Model, make_executor, random_model, read, sequence_of
from tropilla import _native
from tropilla.engine.executor import CPUExecutor, native_shape
from tropilla.engine.scheduler import next_span
from tropilla.errors import CapacityError, UnsupportedError
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.model.weights import ModelWeights

MODEL = random_model(others={"ffn_up": "Q8_0"})


def new_llama(
    model: Model = MODEL,
    kv_type: _native.KVType = _native.KVType.F16,
    /,
    *,
    max_tokens: int = 8,
    max_logit_rows: int = 2,
    n_kv_blocks: int = 4,
    n_threads: int = 1,
) -> _native.Llama:
    return _native.Llama(
        native_shape(model.weights),
        max_tokens=max_tokens,
        max_logit_rows=max_logit_rows,
        n_kv_blocks=n_kv_blocks,
        kv_type=kv_type,
        n_threads=n_threads,
        isa="",
    )


def loaded_llama() -> _native.Llama:
    llama = new_llama()
    for name in llama.missing_tensors():
        tensor = MODEL.weights.tensors[name]
        rows, cols = (1, *tensor.shape)[-2:]
        llama.load([(name, tensor.type, rows, cols, tensor.data)])
    return llama


@pytest.mark.parametrize(
    ("name", "type_id", "rows", "cols", "n_bytes", "message"),
    [
        ("blk.0.attn_q.weight", 0, 64, 64, 64 * 64 * 4 - 1, "got 16383 bytes, expected 16384"),
        ("blk.0.attn_q.weight", 0, 64, 64, 64 * 64 * 4 + 1, "got 16385 bytes, expected 16384"),
        ("blk.0.attn_q.weight", 0, 64, 64, 0, "got 0 bytes, expected 16384"),
        ("blk.0.attn_q.weight", 8, 64, 64, 64 * 64 * 4, "got 16384 bytes, expected 4352"),
        ("blk.0.attn_q.weight", 14, 64, 64, 64 * 52, "no multiple of its block of 256"),
        ("blk.0.attn_q.weight", 16, 64, 64, 64 * 64, "tensor type 16 is not a weight type"),
        ("blk.0.attn_q.weight", -1, 64, 64, 64 * 64, "tensor type -1 is not a weight type"),
        ("blk.0.attn_q.weight", 1 << 30, 64, 64, 64 * 64, "is not a weight type"),
        ("blk.0.attn_q.weight", 0, 63, 64, 63 * 64 * 4, r"has shape \(63, 64\), expected \(64, 64\)"),
        ("blk.0.attn_q.weight", 0, 1 << 62, 4, 16, r"expected \(64, 64\)"),
        ("blk.0.attn_q.weight", 0, -64, -64, 64 * 64 * 4, r"expected \(64, 64\)"),
        ("blk.0.attn_norm.weight", 0, 1, 64, 255, "got 255 bytes, expected 256"),
        ("blk.2.attn_q.weight", 0, 64, 64, 64 * 64 * 4, "the model has no tensor blk.2.attn_q.weight"),
    ],
)
def test_refuses_tensors(name: str, type_id: int, rows: int, cols: int, n_bytes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new_llama().load([(name, type_id, rows, cols, bytes(n_bytes))])


@pytest.mark.parametrize("size", ["max_tokens", "max_logit_rows", "n_kv_blocks"])
@pytest.mark.parametrize("n", [1 << 40, 1 << 51, 1 << 58, (1 << 63) - 1])
def test_sizes_beyond_any_memory_do_not_wrap_around(size: str, n: int) -> None:
    """A product that wraps around 2**64 would set aside little and then be written past its end."""
    with pytest.raises(MemoryError):
        new_llama(**{size: n})


@pytest.mark.parametrize("kv_type", [_native.KVType.Q8_0, _native.KVType.Q4_0])
def test_quantized_keys_of_heads_that_are_no_multiple_of_a_group(kv_type: _native.KVType) -> None:
    """The last group would be written past the end of its block."""
    assert CONFIG.head_dim % _native.KV_GROUP
    with pytest.raises(ValueError, match="heads of a multiple of 32"):
        new_llama(MODEL, kv_type)


def test_threads_that_cannot_be_started_are_an_error_and_not_the_end_of_the_process() -> None:
    resource = pytest.importorskip("resource")
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux counts the stacks of threads against this limit")
    code = (
        "import resource\n"
        "from tests.engine.test_llama import new_llama\n"
        "new_llama(n_threads=2)\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (6 << 30, {resource.RLIM_INFINITY}))\n"
        "try:\n"
        "    new_llama(n_threads=5000)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout.startswith("only "), (ran.returncode, ran.stderr[-300:])


def test_refuses_to_draw_without_a_sampler() -> None:
    nobody: Any = None
    with pytest.raises(ValueError, match="no sampler"):
        new_llama().draw([(nobody, [])])


def test_refuses_a_tensor_twice() -> None:
    llama = loaded_llama()
    with pytest.raises(ValueError, match=r"output\.weight is loaded already"):
        llama.load([("output.weight", 0, 101, 64, bytes(101 * 64 * 4))])


def test_refuses_to_run_before_all_is_loaded() -> None:
    with pytest.raises(ValueError, match="still to be loaded"):
        new_llama().step([0], [(1, 0, [0])], [0])


@pytest.mark.parametrize(
    ("token_ids", "sequences", "rows", "message"),
    [
        ([], [], [], "no tokens"),
        ([1] * 9, [(9, 0, [0])], [0], "max_tokens"),
        ([101], [(1, 0, [0])], [0], "vocabulary"),
        ([-1], [(1, 0, [0])], [0], "vocabulary"),
        ([1], [(2, 0, [0])], [0], "differ in number"),
        ([1, 1], [(1, 0, [0])], [0], "differ in number"),
        ([1], [(0, 0, [0]), (1, 0, [0])], [0], "do not follow"),
        ([1], [(1, -1, [0])], [0], "do not follow"),
        ([1], [(1, 0, [])], [0], "too few KV blocks"),
        ([1], [(1, 32, [0])], [0], "too few KV blocks"),
        ([1], [(1, 1 << 62, [0])], [0], "too few KV blocks"),
        ([1], [(1, 0, [4])], [0], "does not exist"),
        ([1], [(1, 0, [-1])], [0], "does not exist"),
        ([1], [(1, 0, [0])], [1], "outside the last step"),
        ([1], [(1, 0, [0])], [-1], "outside the last step"),
        ([1], [(1, 0, [0])], [0, 0, 0], "max_logit_rows"),
    ],
)
def test_refuses_batches(
    token_ids: list[int], sequences: Sequence[tuple[int, int, list[int]]], rows: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        loaded_llama().step(token_ids, sequences, rows)


@pytest.mark.parametrize("threads", [0, -1])
def test_refuses_no_threads(threads: int) -> None:
    with pytest.raises(ValueError, match="threads must be at least 1"):
        make_executor(MODEL, threads=threads)


def test_unknown_instruction_set() -> None:
    with pytest.raises(
        UnsupportedError, match="kernels named 'i8086' do not run on this machine; choose one of"
    ):
        make_executor(MODEL, isa="i8086")


def test_tensor_type_without_kernels() -> None:
    tensors = dict(MODEL.weights.tensors)
    tensors["output.weight"] = StoredTensor(
        "output.weight", TensorType.IQ2_XXS, (101, 64), memoryview(bytes(2222))
    )
    weights = ModelWeights(CONFIG, tensors)
    with pytest.raises(UnsupportedError, match=r"output\.weight of type IQ2_XXS"):
        make_executor(Model(weights, {}))


def test_cache_beyond_all_memory() -> None:
    with pytest.raises(CapacityError, match="more than this machine gives"):
        CPUExecutor(MODEL.weights, max_tokens=8, max_logit_rows=8, n_kv_blocks=1 << 36, n_threads=1)


def test_logprobs_are_those_of_the_logits() -> None:
    """Against log-softmax in NumPy; rows beyond one batch of logits too."""
    llama, token_ids = loaded_llama(), [5, 6, 7, 8, 9]
    targets, expected = [11, 100, 0, 64, 3], []
    for last in range(5):
        llama.step(token_ids[: last + 1], [(last + 1, 0, [0])], [last])
        logits = llama.logits(0).astype(np.float64)
        expected.append(logits[targets[last]] - np.log(np.exp(logits).sum()))
    llama.step(token_ids, [(5, 0, [0])], [])
    assert llama.logprobs(range(5), targets) == pytest.approx(expected, rel=1e-6)  # float32 results


@pytest.fixture(scope="module")
def slow_executor() -> CPUExecutor:
    """Return a model whose step of 256 tokens takes long enough to be interrupted."""
    config = dataclasses.replace(CONFIG, dim=256, head_dim=64, ffn_dim=512, n_layers=6)
    return make_executor(random_model(config), threads=1, isa="scalar")


def timed_step(executor: CPUExecutor) -> tuple[bool, float]:
    start_s = time.monotonic()
    done = executor.step([next_span(sequence_of([1] * 256), 256)], [])
    return done, time.monotonic() - start_s


def test_cancel_reaches_into_a_step(slow_executor: CPUExecutor) -> None:
    done, whole_s = timed_step(slow_executor)
    assert done
    timer = threading.Timer(whole_s / 10, slow_executor.cancel)
    timer.start()
    done, cut_s = timed_step(slow_executor)
    timer.join()
    assert not done
    assert cut_s < 0.7 * whole_s
    assert timed_step(slow_executor)[0], "the next step must run"


def test_other_threads_run_during_a_step(slow_executor: CPUExecutor) -> None:
    ticks = 0
    stepping = threading.Event()
    stepping.set()

    def tick() -> None:
        nonlocal ticks
        while stepping.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    _, step_s = timed_step(slow_executor)
    stepping.clear()
    thread.join()
    assert ticks > step_s / 0.001 / 20, "the step kept the other thread from running"


def test_interrupted_step_can_be_redone() -> None:
    whole = make_executor(MODEL)
    expected = read(whole, [(sequence_of([3, 4, 5]), 3)])[0]
    executor, sequence = make_executor(MODEL), sequence_of([3, 4, 5])
    executor.cancel()
    assert not executor.step([next_span(sequence, 3)], [2])
    assert np.array_equal(read(executor, [(sequence, 3)])[0], expected)
