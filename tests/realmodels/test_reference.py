"""Real trained models: the engine's logits equal the reference's on every instruction set.

The bound is that of the tiny models: tests/engine/models.py derives it. SmolLM2 is compared with its
weights dequantised to F32: through 30 layers of int8 inputs, codes that round the other way add up to a
fifth of what its logits vary by, and a bound that allows for this would hide mistakes. What int8 inputs
do to it as shipped is measured by its perplexity (test_smollm2.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.engine.models import (
    MISTAKE,
    Array,
    Model,
    distance,
    expected_logits,
    make_executor,
    read_in_chunks,
    rounding_bound,
    sequence_of,
)
from tropilla._native import isa_names
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.model.weights import load_weights
from tropilla.text.tokenizer import load_tokenizer


class Case:
    """A model from a file, tokens for it, the reference's logits and how far off the engine's may be."""

    def __init__(self, path: Path, text: str) -> None:
        with open_checkpoint(path) as checkpoint:
            assert checkpoint.tokenizer is not None
            self.token_ids = load_tokenizer(checkpoint.tokenizer).encode(text)
            weights = load_weights(checkpoint)
            floats = {name: tensor.to_float32() for name, tensor in weights.tensors.items()}
        stored = {
            name: StoredTensor(name, TensorType.F32, array.shape, memoryview(array.tobytes()))
            for name, array in floats.items()
        }
        arrays = {name: array.astype(np.float64) for name, array in floats.items()}
        self.model = Model(replace(weights, tensors=stored), arrays)
        self.expected: Array = expected_logits(self.model, self.token_ids)
        self.bound = rounding_bound(self.model, self.token_ids, self.expected)


@pytest.fixture(scope="module")
def stories(real_data: Path) -> Case:
    return Case(
        real_data / "weights" / "stories260K" / "stories260K.bin", "Once upon a time, there was a girl"
    )


@pytest.fixture(scope="module")
def smollm2(default_model: Path) -> Case:
    return Case(default_model, "The llama is a domesticated South American camelid")


@pytest.mark.parametrize("isa", isa_names())
def test_stories260k(stories: Case, isa: str) -> None:
    assert_conforms(stories, isa)


@pytest.mark.parametrize("isa", isa_names())
def test_smollm2(smollm2: Case, isa: str) -> None:
    assert_conforms(smollm2, isa)


def assert_conforms(case: Case, isa: str) -> None:
    assert case.bound < MISTAKE * case.expected.std(), "the bound would hide a mistake"
    executor = make_executor(case.model, isa=isa, n_tokens=32)
    got = read_in_chunks(executor, sequence_of(case.token_ids), 32)
    assert distance(got, case.expected) <= case.bound
