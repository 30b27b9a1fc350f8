"""Sampling checks every range and contradiction; each option changes what is drawn."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import numpy as np
import pytest

from tests.engine.sampling.harness import random_rows
from tropilla import _native
from tropilla.engine.sampling import CHAIN, Sampling, themes
from tropilla.errors import OptionError
from tropilla.options import from_mapping, limits_of

# For each number its smallest and largest value, and values just outside.
RANGES: dict[str, tuple[list[float], list[float]]] = {
    "max_tokens": ([1], [0, -1]),
    "seed": ([0, 2**64 - 1], [-1, 2**64]),
    "temperature": ([0, 100], [-0.1, 101, math.inf]),
    "dynamic_temperature_range": ([0, 0.8], [-0.1, math.inf]),
    "dynamic_temperature_exponent": ([0, 2], [-0.1, math.inf]),
    "smoothing_factor": ([0, 1], [-0.1, math.inf]),
    "smoothing_curve": ([1, 10], [0.9, 10.1]),
    "top_k": ([-1, 0, 1], [-2]),
    "top_p": ([1e-9, 1], [0, 1.01, -1]),
    "min_p": ([0, 1], [-0.1, 1.1]),
    "typical_p": ([1e-9, 1], [0, 1.1]),
    "top_n_sigma": ([-1, 0, 3], [-1.1, math.inf]),
    "top_a": ([0, 1], [-0.1, 1.1]),
    "tail_free": ([0, 1], [-0.1, 1.1]),
    "epsilon_cutoff": ([0, 0.999], [-0.1, 1]),
    "eta_cutoff": ([0, 0.999], [-0.1, 1]),
    "xtc_probability": ([0, 1], [-0.1, 1.1]),
    "xtc_threshold": ([1e-9, 1], [0, 1.1]),
    "repetition_penalty": ([0.01, 100], [0, -1, math.inf]),
    "repetition_window": ([-1, 0, 64], [-2]),
    "repetition_slope": ([0, 1], [-0.1, 1.1]),
    "repetition_decay": ([0, 100], [-1]),
    "frequency_penalty": ([-2, 2], [-2.1, 2.1]),
    "presence_penalty": ([-2, 2], [-2.1, 2.1]),
    "encoder_repetition_penalty": ([0.01, 100], [0, math.inf]),
    "no_repeat_ngram": ([0, 1, 20], [-1]),
    "dry_multiplier": ([0, 5], [-0.1, math.inf]),
    "dry_base": ([1, 4], [0.9, math.inf]),
    "dry_allowed_length": ([1, 20], [0]),
    "dry_range": ([-1, 0, 64], [-2]),
    "mirostat": ([0, 1, 2], [-1, 3]),
    "mirostat_tau": ([0.1, 10], [0, math.inf]),
    "mirostat_eta": ([0, 1], [-0.1, 1.1]),
    "mirostat_m": ([2, 100], [1]),
    "adaptive_target": ([-1, 0, 1], [-1.1, 1.1]),
    "adaptive_decay": ([0, 0.99], [-0.1, 1]),
    "skew": ([-10, 10], [-11, 11]),
    "min_tokens": ([0, 100], [-1]),
    "logprobs": ([0, 20], [-1]),
}


@pytest.mark.parametrize("name", RANGES)
def test_each_number_has_its_range(name: str) -> None:
    good, bad = RANGES[name]
    for value in good:
        assert getattr(Sampling(**{name: value}), name) == value  # type: ignore[arg-type]  # any option
    refused: list[Any] = [*bad, math.nan, "x"]
    for value in refused:
        with pytest.raises(OptionError, match=f"^{name} must be"):
            Sampling(**{name: value})


def test_every_number_has_a_range_here() -> None:
    numbers = {
        field.name for field in dataclasses.fields(Sampling) if field.type in ("int", "float", "int | None")
    }
    assert numbers == set(RANGES)


def test_every_option_says_what_it_does() -> None:
    assert set(limits_of(Sampling)) == {field.name for field in dataclasses.fields(Sampling)}
    assert all(limits.help for limits in limits_of(Sampling).values())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stop": "###"}, "stop must be a list of texts, got '###'"),
        ({"stop": [""]}, r"stop must be a list of texts, got \[''\]"),
        ({"banned_tokens": [1.5]}, r"banned_tokens must be a list of token ids, got \[1.5\]"),
        ({"stop_token_ids": [-1]}, r"stop_token_ids must be a list of token ids, got \[-1\]"),
        ({"logit_bias": [1]}, "logit_bias must map token ids to biases"),
        ({"logit_bias": {"the": 1}}, "got the id 'the'"),
        ({"logit_bias": {5: True}}, "logit_bias of 5 must be a finite number or false, got True"),
        ({"logit_bias": {5: math.nan}}, "logit_bias of 5 must be a finite number or false, got nan"),
        ({"samplers": ["top_q"]}, "unknown sampler 'top_q'; did you mean 'top_"),
        ({"samplers": ["grammar"]}, "unknown sampler 'grammar'; known are repetition, frequency_presence"),
        ({"samplers": ["top_k"], "top_p": 0.5}, "top_p is set, but samplers leaves out 'top_p'"),
        ({"mirostat": 2, "top_k": 7}, "mirostat replaces 'top_k'; leave top_k at its default"),
        ({"mirostat": 1, "skew": 0.5}, "mirostat draws in its own way; leave skew at its default"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens is 9, more than max_tokens 8"),
        ({"post_sampling_probs": True}, "set logprobs too"),
    ],
)
def test_what_cannot_be_done_is_refused(options: dict[str, Any], words: str) -> None:
    """Rule SA-2: a known option works or is an error, never dropped."""
    with pytest.raises(OptionError, match=words):
        Sampling(**options)


def test_an_unknown_option_is_refused_with_a_suggestion() -> None:
    with pytest.raises(OptionError, match="did you mean 'temperature'"):
        from_mapping(Sampling, {"temprature": 1.0}, where="request")


def test_what_is_off_anyway_contradicts_nothing() -> None:
    Sampling(samplers=("temperature",), top_k=0, top_p=1.0, min_p=0.0)
    Sampling(mirostat=2, top_k=-1, repetition_penalty=1.0, temperature=0.5)


def test_lists_as_json_has_them_are_taken() -> None:
    sampling = from_mapping(
        Sampling, {"stop": ["a"], "banned_tokens": [3], "logit_bias": {"5": False, "6": 1}}, where="request"
    )
    assert sampling.stop == ("a",)
    params = sampling.to_native(10, end_ids=[])
    assert params.logit_bias == [(5, -math.inf), (6, 1.0)]


@pytest.mark.parametrize(
    "options", [{"banned_tokens": [10]}, {"logit_bias": {10: 1}}, {"allowed_token_ids": [2, 11]}]
)
def test_a_token_the_model_does_not_have_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"1[01] is not among the model's 10 token ids"):
        Sampling(**options).to_native(10, end_ids=[])


def test_a_count_beyond_any_sequence_is_as_good_as_endless() -> None:
    params = Sampling(top_k=10**30, dry_range=10**30).to_native(10, end_ids=[])
    assert params.top_k == params.dry_range == 2**31 - 1


def test_the_chain_is_the_native_one() -> None:
    assert list(CHAIN) == _native.sampler_names()
    assert Sampling().to_native(10, end_ids=[]).samplers == _native.sampler_names()


def test_a_random_seed_is_recorded() -> None:
    seeded = Sampling().seeded()
    assert seeded.seed is not None
    assert seeded.seeded() is seeded
    assert seeded.to_native(10, end_ids=[]).seed == seeded.seed
    assert Sampling().to_native(10, end_ids=[]).seed != Sampling().to_native(10, end_ids=[]).seed


def test_every_option_reaches_the_sampler() -> None:
    """What C++ does not know of is read by the callers: the engine, or whoever has the text."""
    native = {name for name, _ in inspect.getmembers(_native.SamplerParams) if not name.startswith("_")}
    outside = {"max_tokens", "stop", "banned_strings"}
    assert {field.name for field in dataclasses.fields(Sampling)} - native == outside
    assert native - {field.name for field in dataclasses.fields(Sampling)} == {"end_ids"}


def test_neutral_parameters_are_what_c_plus_plus_starts_with() -> None:
    neutral = _native.SamplerParams()
    for switches in CHAIN.values():
        for name, values in switches.items():
            assert getattr(neutral, name) in values


V = 40
ROWS = random_rows(12, V, seed=21)
PROMPT = [4, 9, 4, 9, 4, 30, 9]
REPLY = [9, 4, 9, 31]

# Each option with a value that must change the distribution, beside what it needs to matter at all.
CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "seed": (2, {"temperature": 3.0}),
    "samplers": (("temperature",), {}),
    "temperature": (1.7, {}),
    "dynamic_temperature_range": (0.5, {}),
    "dynamic_temperature_exponent": (3.0, {"dynamic_temperature_range": 0.5}),
    "smoothing_factor": (0.3, {}),
    "smoothing_curve": (2.0, {"smoothing_factor": 0.3}),
    "top_k": (5, {"min_p": 0.0, "top_p": 1.0}),
    "top_p": (0.6, {}),
    "min_p": (0.4, {}),
    "typical_p": (0.5, {}),
    "top_n_sigma": (1.0, {}),
    "top_a": (0.5, {}),
    "tail_free": (0.5, {}),
    "epsilon_cutoff": (0.1, {}),
    "eta_cutoff": (0.3, {}),
    "xtc_probability": (1.0, {}),
    "xtc_threshold": (0.05, {"xtc_probability": 1.0}),
    "repetition_penalty": (1.5, {}),
    "repetition_window": (2, {"repetition_penalty": 1.5}),
    "repetition_slope": (0.2, {"repetition_penalty": 1.5}),
    "repetition_decay": (8, {"repetition_penalty": 1.5, "repetition_window": 1}),
    "frequency_penalty": (0.5, {}),
    "presence_penalty": (0.5, {}),
    "penalize_prompt": (False, {"frequency_penalty": 0.5}),
    "encoder_repetition_penalty": (2.0, {}),
    "no_repeat_ngram": (1, {}),
    "dry_multiplier": (1.0, {"dry_allowed_length": 1}),
    "dry_base": (3.0, {"dry_multiplier": 1.0, "dry_allowed_length": 1}),
    "dry_allowed_length": (3, {"dry_multiplier": 1.0}),
    "dry_range": (3, {"dry_multiplier": 1.0, "dry_allowed_length": 1}),
    "mirostat": (2, {"mirostat_tau": 1.0}),
    "mirostat_tau": (0.5, {"mirostat": 2}),
    "mirostat_eta": (0.9, {"mirostat": 2}),
    "mirostat_m": (3, {"mirostat": 1, "mirostat_tau": 1.0}),
    "adaptive_target": (0.1, {}),
    "adaptive_decay": (0.1, {"adaptive_target": 0.1}),
    "skew": (1.0, {}),
    "logit_bias": ({4: 3.0}, {}),
    "banned_tokens": (tuple(range(0, V, 2)), {}),
    "allowed_token_ids": ((1, 2, 3), {}),
    "ignore_eos": (True, {}),
    "min_tokens": (50, {}),
    "stop_token_ids": (tuple(range(0, V, 2)), {"min_tokens": 50}),
    "logprobs": (2, {}),
    "post_sampling_probs": (True, {"logprobs": 2}),
}


def behaviour(sampling: Sampling) -> list[object]:
    """Return all that a sampler lets one see over a dozen tokens."""
    params = sampling.to_native(V, end_ids=range(1, V, 3), dry_breakers=[[30]])
    sampler = _native.Sampler(params, V, PROMPT)
    seen: list[object] = []
    for token, row in zip([*REPLY, None, None, None, None, None, None, None, None], ROWS, strict=True):
        row = row + np.isin(np.arange(V), PROMPT).astype(np.float32)  # so that the penalties have work
        draw = sampler.sample(row)
        seen.append((sampler.probabilities(row), draw.token, draw.logprob, draw.top))
        sampler.accept(draw.token if token is None else token)
    return seen


@pytest.mark.parametrize("name", CHANGES)
def test_changing_an_option_changes_behaviour(name: str) -> None:
    value, context = CHANGES[name]
    before = Sampling(**({"seed": 1} | context))
    after = dataclasses.replace(before, **{name: value})
    assert behaviour(before) == behaviour(before)
    assert behaviour(after) != behaviour(before)


def test_dry_breakers_change_behaviour() -> None:
    sampling = Sampling(seed=1, dry_multiplier=1.0, dry_allowed_length=1)
    without = _native.Sampler(sampling.to_native(V, end_ids=[]), V, PROMPT)
    with_them = _native.Sampler(sampling.to_native(V, end_ids=[], dry_breakers=[[4], [9]]), V, PROMPT)
    row = ROWS[0] + np.isin(np.arange(V), PROMPT).astype(np.float32) * 4
    assert without.probabilities(row) != with_them.probabilities(row)


def test_every_option_of_the_sampler_is_changed_above() -> None:
    outside = {"max_tokens", "stop", "banned_strings", "dry_breakers"}
    assert set(CHANGES) == {field.name for field in dataclasses.fields(Sampling)} - outside


def test_every_option_stands_under_one_heading() -> None:
    assert [name for names in themes().values() for name in names] == list(limits_of(Sampling))
    assert themes()["against repetition"][0] == "repetition_penalty"
    assert all(themes())
