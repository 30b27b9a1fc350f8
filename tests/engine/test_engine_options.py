"""The engine's options: their limits, their defaults, and what each changes."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import pytest

from tests.engine.driving import Make
from tests.engine.models import CONFIG, random_model
from tropilla.engine.engine_options import DEFAULT_LONGEST_CONTEXT, EngineOptions
from tropilla.errors import CapacityError, OptionError, UnsupportedError


@pytest.mark.parametrize(
    "options",
    [
        {"threads": 0},
        {"threads": 1 << 40},
        {"context_length": 0},
        {"kv_memory_mb": 0},
        {"kv_memory_mb": 1 << 100},
        {"prefill_chunk": 0},
        {"prefill_chunk": 4097},
        {"max_batch": 0},
        {"max_batch": 257},
        {"prefix_cache_mb": 0},
        {"threads": 1.5},
    ],
)
def test_limits(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        EngineOptions(**options)


def test_default_threads_are_the_cores() -> None:
    assert 1 <= EngineOptions().n_threads() <= (os.cpu_count() or 1)
    assert EngineOptions(threads=3).n_threads() == 3


def test_default_context_is_the_models() -> None:
    assert EngineOptions().context_of(CONFIG) == CONFIG.context_length
    huge = dataclasses.replace(CONFIG, context_length=1 << 20)
    assert EngineOptions().context_of(huge) == DEFAULT_LONGEST_CONTEXT
    assert EngineOptions(context_length=1 << 20).context_of(huge) == 1 << 20


def test_context_beyond_the_model() -> None:
    with pytest.raises(OptionError, match="context_length is 2049, but the model was made for 2048"):
        EngineOptions(context_length=2049).context_of(CONFIG)


@pytest.mark.parametrize(("context_length", "n_blocks"), [(1, 1), (32, 1), (33, 2), (2048, 64)])
def test_default_cache_holds_one_context(context_length: int, n_blocks: int) -> None:
    assert EngineOptions(context_length=context_length).n_kv_blocks(CONFIG) == n_blocks


def test_cache_takes_the_memory_given() -> None:
    """256 bytes a token (2 layers, keys and values, 2 heads of 16, 2 bytes): 122 blocks in a MB."""
    assert EngineOptions(context_length=64, kv_memory_mb=1).n_kv_blocks(CONFIG) == 1_000_000 // (32 * 256)


def test_cache_too_small_for_a_context() -> None:
    large = dataclasses.replace(CONFIG, context_length=8192)
    with pytest.raises(
        CapacityError, match="needs 2 MB for keys and values, but kv_memory_mb is 1"
    ) as caught:
        EngineOptions(kv_memory_mb=1).n_kv_blocks(large)
    assert (caught.value.needed, caught.value.available) == (8192 * 256, 1_000_000)


@pytest.mark.parametrize(("kv_type", "token_bytes"), [("f32", 1024), ("q8_0", 272), ("q4_0", 144)])
def test_cache_of_other_types(kv_type: str, token_bytes: int) -> None:
    """2 layers, keys and values, 2 heads of 32: 256 values a token, and 8 f16 scales if quantized."""
    config = dataclasses.replace(CONFIG, head_dim=32)
    options = EngineOptions(context_length=64, kv_memory_mb=1, kv_type=kv_type)
    assert options.n_kv_blocks(config) == 1_000_000 // (32 * token_bytes)


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_heads_that_cannot_be_quantized(make: Make, kv_type: str) -> None:
    with pytest.raises(
        OptionError,
        match=f"kv_type {kv_type} needs heads of a multiple of 32 values, but .* have 16; choose f16",
    ):
        make(kv_type=kv_type)


def test_isa(make: Make) -> None:
    assert make(isa="scalar").stats.isa == "scalar"
    with pytest.raises(
        UnsupportedError, match=r"kernels named 'abacus' do not run .*; choose one of .*scalar"
    ):
        make(isa="abacus")


def test_prefill_chunk_and_max_batch_bound_a_step(make: Make) -> None:
    small, large = make(prefill_chunk=16, max_batch=1), make(prefill_chunk=512, max_batch=32)
    assert small.stats.memory.scratch_bytes < large.stats.memory.scratch_bytes
    assert random_model().config == small.config
