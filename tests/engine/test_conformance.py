"""The compiled forward pass equals the reference, for every config switch, weight type and ISA."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.engine.models import (
    CONFIG,
    MISTAKE,
    Array,
    Model,
    distance,
    expected_logits,
    make_executor,
    random_model,
    read,
    read_in_chunks,
    rounding_bound,
    sequence_of,
)
from tests.kernels.blocks import TYPES
from tropilla import _native
from tropilla.model.config import RopeScaling
from tropilla.model.reference import forward

TOKENS = [int(i) for i in np.random.default_rng(7).integers(0, CONFIG.vocab_size, 70)]

SWITCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "all heads": {"n_kv_heads": 4},
    "one kv head": {"n_kv_heads": 1},
    "head_dim": {"head_dim": 24},
    "small heads": {"n_heads": 16, "n_kv_heads": 8, "head_dim": 4},
    "tied": {"tied_embeddings": True},
    "qkv bias": {"qkv_bias": True},
    "output bias": {"output_bias": True},
    "mlp bias": {"mlp_bias": True},
    "qk norm": {"qk_norm": True},
    "window": {"sliding_window": 5},
    "window of a block": {"sliding_window": 32},
    "ragged": {"ffn_dim": 83, "vocab_size": 121, "dim": 60, "head_dim": 14},
    "theta": {"rope_theta": 500000.0},
    "norm_eps": {"norm_eps": 0.1},
    "linear": {"rope_scaling": RopeScaling(kind="linear", factor=2.0)},
    "yarn": {"rope_scaling": RopeScaling(kind="yarn", factor=4.0, original_context_length=32)},
    "llama3": {"rope_scaling": RopeScaling(kind="llama3", factor=8.0, original_context_length=32)},
}


class Case(NamedTuple):
    """A model, tokens for it, the reference's logits and how far off the engine's may be."""

    model: Model
    tokens: list[int]
    expected: Array
    bound: float
    kv_type: str = "f16"


def case_of(model: Model, tokens: list[int], kv_type: str = "f16") -> Case:
    expected = expected_logits(model, tokens, kv_type=kv_type)
    bound = rounding_bound(model, tokens, expected, kv_type)
    assert bound < MISTAKE * expected.std(), "the bound would hide a mistake"
    return Case(model, tokens, expected, bound, kv_type)


def assert_conforms(case: Case, isa: str | None = None) -> None:
    executor = make_executor(case.model, isa=isa, kv_type=case.kv_type)
    got = read_in_chunks(executor, sequence_of(case.tokens), 256)
    assert distance(got, case.expected) <= case.bound


@pytest.mark.parametrize("switch", SWITCHES)
def test_config_switches(switch: str) -> None:
    assert_conforms(case_of(random_model(dataclasses.replace(CONFIG, **SWITCHES[switch])), TOKENS))


@pytest.mark.parametrize("type_name", TYPES)
def test_weight_types(type_name: str) -> None:
    config = dataclasses.replace(CONFIG, dim=256, head_dim=64, ffn_dim=512)
    case = case_of(random_model(config, type_name), TOKENS[:20])
    for isa in _native.isa_names():
        assert_conforms(case, isa)


@pytest.mark.parametrize("isa", _native.isa_names())
def test_a_float32_cache_is_nearer_to_the_exact_logits(isa: str) -> None:
    """What f16 rounds off keys and values is by far the largest difference between F32 models."""
    model = random_model()
    exact = forward(model.config, model.tensors, TOKENS)
    errors = {}
    for kv_type in ("f16", "f32"):
        executor = make_executor(model, isa=isa, kv_type=kv_type)
        errors[kv_type] = distance(read_in_chunks(executor, sequence_of(TOKENS), 16), exact)
    # f16 keeps 11 bits and float32 24; a hundredth leaves room for how errors of sums pile up.
    assert errors["f32"] < errors["f16"] / 100


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_quantized_cache(kv_type: str) -> None:
    config = dataclasses.replace(CONFIG, head_dim=64)
    case = case_of(random_model(config), TOKENS, kv_type)
    for isa in _native.isa_names():
        assert_conforms(case, isa)


def test_types_that_share_an_input() -> None:
    """q, k and v of one file may have three types, one of them not quantizing its input."""
    types = {"attn_q": "Q4_K", "attn_k": "F16", "attn_v": "Q6_K", "ffn_up": "Q8_0", "ffn_down": "F32"}
    config = dataclasses.replace(CONFIG, dim=256, head_dim=64, ffn_dim=256)
    assert_conforms(case_of(random_model(config, "Q5_1", others=types), TOKENS[:20]))


def test_long_context() -> None:
    """Over 1024 keys: several spans of the cache, computed apart and merged where threads are idle."""
    config = dataclasses.replace(CONFIG, n_layers=1)
    tokens = [int(i) for i in np.random.default_rng(3).integers(0, CONFIG.vocab_size, 1100)]
    case = case_of(random_model(config), tokens)
    for isa in _native.isa_names():
        assert_conforms(case, isa)


def test_sequences_do_not_see_each_other() -> None:
    cases = [case_of(random_model(), tokens) for tokens in (TOKENS[:40], TOKENS[40:])]
    parts = [(sequence_of(TOKENS[:40]), 40), (sequence_of(TOKENS[40:], 8), 30)]
    for case, got in zip(cases, read(make_executor(cases[0].model), parts), strict=True):
        assert distance(got, case.expected) <= case.bound
