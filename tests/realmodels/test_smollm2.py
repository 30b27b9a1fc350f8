"""The default model against transformers: the same logits in F32, nearly the same perplexity as shipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tropilla
from tests.engine.models import read_in_chunks, sequence_of
from tests.realmodels.oracle import transformers_model
from tests.realmodels.wikitext import WIKITEXT, WINDOW, digest, wikitext_windows
from tropilla.engine.executor import CPUExecutor
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.model.weights import ModelWeights, load_weights
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

Array = NDArray[Any]

TEXT = "The llama is a domesticated South American camelid, widely used as a meat and pack animal by"


class Source:
    """The open default model with its weights dequantised."""

    def __init__(self, weights: ModelWeights, tokenizer: Tokenizer) -> None:
        self.weights = weights
        self.tokenizer = tokenizer
        self.arrays: dict[str, Array] = {name: t.to_float32() for name, t in weights.tensors.items()}
        self.oracle = transformers_model(weights.config, self.arrays)

    def as_f32(self) -> ModelWeights:
        stored = {
            name: StoredTensor(name, TensorType.F32, array.shape, memoryview(array.tobytes()))
            for name, array in self.arrays.items()
        }
        return replace(self.weights, tensors=stored)


@pytest.fixture(scope="module")
def source(default_model: Path) -> Iterator[Source]:
    with open_checkpoint(default_model) as checkpoint:
        assert checkpoint.tokenizer is not None
        yield Source(load_weights(checkpoint), load_tokenizer(checkpoint.tokenizer))


def test_f32_logits_equal_transformers(source: Source) -> None:
    token_ids = source.tokenizer.encode(TEXT)
    import torch

    with torch.no_grad():
        expected = source.oracle(torch.tensor([token_ids])).logits[0].numpy()
    executor = CPUExecutor(
        source.as_f32(), max_tokens=64, max_logit_rows=64, n_kv_blocks=8, n_threads=2, kv_type="f32"
    )
    ours = read_in_chunks(executor, sequence_of(token_ids), 64)
    # Feature row F02: both compute in float32 and differ only in the order of their sums.
    assert np.abs(ours - expected).max() <= 1e-3


@pytest.mark.slow
def test_perplexity_as_shipped_is_within_half_a_percent(default_model: Path, real_data: Path) -> None:
    """WikiText-2 test in windows of 512 tokens, of which the second half counts."""
    golden = json.loads(WIKITEXT.read_text("utf-8"))
    with tropilla.load(default_model, context_length=WINDOW) as model:
        windows = wikitext_windows(model.tokenizer, real_data)
        assert digest(windows) == golden["token_digest"]
        ours = [np.mean(model.engine.score(window, first=WINDOW // 2 + 1)) for window in windows]
    reference = np.exp(-np.mean(golden["mean_logprobs"]))
    assert np.exp(-np.mean(ours)) == pytest.approx(reference, rel=0.005)


@pytest.mark.slow
def test_perplexity_with_8_bit_keys_and_values_is_within_a_thousandth(
    default_model: Path, real_data: Path
) -> None:
    """Against keys and values in f16, on the same windows."""
    perplexities = []
    for kv_type in ("f16", "q8_0"):
        with tropilla.load(default_model, context_length=WINDOW, kv_type=kv_type) as model:
            windows = wikitext_windows(model.tokenizer, real_data)[:25]
            scores = [np.mean(model.engine.score(window, first=WINDOW // 2 + 1)) for window in windows]
        perplexities.append(np.exp(-np.mean(scores)))
    f16, q8_0 = perplexities
    assert q8_0 == pytest.approx(f16, rel=0.001)
