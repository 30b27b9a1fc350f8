"""Names of workloads, and the least time that arithmetic and memory allow them (roofline, by hand)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.tiny_model import CONFIG
from tropilla.api.workloads import Step, Workload, least_time, parse_workload, step_of
from tropilla.errors import OptionError
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.hub.limits import Limits
from tropilla.model.weights import load_weights

STEP = Step(
    layer_bytes=1000, layer_operations=4000, output_bytes=500, output_operations=2000, has_floats=False
)
KV = 128.0  # bytes of a token's keys and values
FAST_MEMORY = Limits(n_threads=1, bandwidth=1e12, int8_peak=1e3)
FAST_ARITHMETIC = Limits(n_threads=1, bandwidth=1e3, int8_peak=1e12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pp512", Workload(name="pp512", reads=True, n_tokens=512)),
        ("TG128", Workload(name="tg128", reads=False, n_tokens=128)),
        ("tg128@4k", Workload(name="tg128@4k", reads=False, n_tokens=128, depth=4096)),
        ("tg8@100", Workload(name="tg8@100", reads=False, n_tokens=8, depth=100)),
        ("tg64x8", Workload(name="tg64x8", reads=False, n_tokens=64, n_sequences=8)),
    ],
)
def test_names_are_read(name: str, expected: Workload) -> None:
    assert parse_workload(name) == expected


@pytest.mark.parametrize(
    "name",
    ["", "pp", "tgg", "pp0", "tg8x0", "pp8@4", "tg1.5", "pp512 tg128", "pp9999999999", "tg" + 5000 * "9"],
)
def test_other_names_are_refused_with_what_to_write(name: str) -> None:
    with pytest.raises(OptionError, match=r"tokens must be|sequences must be|write pp512"):
        parse_workload(name)


def test_lengths_hold_the_prompt_the_first_token_and_the_timed_ones() -> None:
    assert parse_workload("pp512").length == 513
    assert parse_workload("tg128").length == 1 + 1 + 128
    assert parse_workload("tg128@1k").length == 1024 + 1 + 128


def test_reading_a_prompt_multiplies_each_token_and_reads_weights_once_a_step() -> None:
    workload = parse_workload("pp20")
    # 20 tokens through the layers, the last one through the output matrix too.
    bound = least_time(workload, STEP, FAST_MEMORY, kv_token_bytes=KV, chunk=8)
    assert bound == ((20 * 4000 + 2000) / 1e3, "arithmetic")
    # 20 tokens in steps of 8 are three steps.
    bound = least_time(workload, STEP, FAST_ARITHMETIC, kv_token_bytes=KV, chunk=8)
    assert bound == ((3 * 1000 + 500) / 1e3, "memory")


def test_drawing_reads_all_weights_and_the_keys_and_values_so_far() -> None:
    workload = parse_workload("tg4x2@10")
    kv_bytes = 2 * 12 * KV  # 10 to 14 tokens are held in each, 12 on average
    assert least_time(workload, STEP, FAST_ARITHMETIC, kv_token_bytes=KV, chunk=8) == (
        4 * (1500 + kv_bytes) / 1e3,
        "memory",
    )
    assert least_time(workload, STEP, FAST_MEMORY, kv_token_bytes=KV, chunk=8) == (
        8 * 6000 / 1e3,
        "arithmetic",
    )


def test_where_the_arithmetic_peak_is_unknown_reading_has_no_bound() -> None:
    unknown = Limits(n_threads=1, bandwidth=1e3, int8_peak=0)
    assert least_time(parse_workload("pp512"), STEP, unknown, kv_token_bytes=KV, chunk=256) is None
    floats = STEP._replace(has_floats=True)
    assert least_time(parse_workload("pp512"), floats, FAST_MEMORY, kv_token_bytes=KV, chunk=256) is None
    drawing = least_time(parse_workload("tg4"), floats, FAST_ARITHMETIC, kv_token_bytes=KV, chunk=256)
    assert drawing is not None
    assert drawing.by == "memory"


def test_a_step_counts_each_matrix_once_and_the_embedding_only_if_tied(tiny_path: Path) -> None:
    with open_checkpoint(tiny_path) as checkpoint:
        step = step_of(load_weights(checkpoint), checkpoint.tensors.layouts)
    # By hand from the config: q and output 32x32, k and v 16x32, gate, up and down 64x32, in two layers.
    layer_weights = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32)
    output_weights = CONFIG.vocab_size * 32
    assert step.layer_operations == 2 * layer_weights
    assert step.output_operations == 2 * output_weights
    assert step.layer_bytes == layer_weights // 32 * 20  # Q4_1: 20 bytes for 32 weights
    assert step.output_bytes == output_weights // 32 * 20
    assert not step.has_floats
