"""A token's logits do not depend, to the last bit, on how its step was put together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.engine.models import CONFIG, Model, make_executor, random_model, read, read_in_chunks, sequence_of
from tropilla import _native

RNG = np.random.default_rng(11)
TOKENS = [int(i) for i in RNG.integers(0, CONFIG.vocab_size, 75)]
LONG = [int(i) for i in RNG.integers(0, CONFIG.vocab_size, 1100)]


@pytest.fixture(scope="module", params=["F32", "F16", "Q4_1", "Q6_K"])
def model(request: pytest.FixtureRequest) -> Model:
    config = dataclasses.replace(CONFIG, dim=256, head_dim=64, ffn_dim=256)
    return random_model(config, request.param)


@pytest.fixture(scope="module", params=_native.isa_names())
def isa(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("chunk", [1, 2, 7, 16, 31, 32, 33, 64])
def test_prefill_in_chunks_and_decode(model: Model, isa: str, chunk: int) -> None:
    whole = read_in_chunks(make_executor(model, isa=isa), sequence_of(TOKENS), len(TOKENS))
    chunked = read_in_chunks(make_executor(model, isa=isa), sequence_of(TOKENS), chunk)
    assert np.array_equal(whole, chunked)


@pytest.mark.parametrize("kv_type", ["f32", "q8_0", "q4_0"])
def test_other_types_of_keys_and_values(isa: str, kv_type: str) -> None:
    model = random_model(dataclasses.replace(CONFIG, head_dim=64))
    whole = read_in_chunks(make_executor(model, isa=isa, kv_type=kv_type), sequence_of(TOKENS), len(TOKENS))
    for chunk in (1, 7, 33):
        executor = make_executor(model, isa=isa, kv_type=kv_type)
        assert np.array_equal(whole, read_in_chunks(executor, sequence_of(TOKENS), chunk))


@pytest.mark.parametrize("n_others", [1, 3, 15])
def test_beside_other_sequences(model: Model, isa: str, n_others: int) -> None:
    """Every place in the batch, with neighbours that read prompts and neighbours that decode."""
    alone = read_in_chunks(make_executor(model, isa=isa), sequence_of(TOKENS[:20]), 1)
    executor = make_executor(model, isa=isa)
    ours = sequence_of(TOKENS[:20])
    others = [sequence_of(TOKENS[i:], 4 * (i + 1)) for i in range(n_others)]
    together = []
    for step in range(20):
        parts = [(other, 1 + (step * i) % 4) for i, other in enumerate(others)]
        place = step % (n_others + 1)
        parts.insert(place, (ours, 1))
        together.append(read(executor, parts)[place])
    assert np.array_equal(alone, np.concatenate(together))


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_number_of_threads(isa: str, threads: int) -> None:
    """Over 1024 keys: the more threads are idle, the more a long context's spans are computed apart."""
    model = random_model(dataclasses.replace(CONFIG, n_layers=1))
    expected = read_in_chunks(make_executor(model, threads=2, isa=isa), sequence_of(LONG), 256)
    executor, sequence = make_executor(model, n_tokens=273, threads=threads, isa=isa), sequence_of(LONG)
    prompt = [read(executor, [(sequence, 273)])[0] for _ in range(4)]
    answer = read_in_chunks(executor, sequence, 1)
    assert np.array_equal(expected, np.concatenate([*prompt, answer]))
