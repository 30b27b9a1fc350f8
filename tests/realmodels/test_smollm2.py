"""The default model against transformers: the same logits in F32, nearly the same perplexity as shipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engine.models import read_in_chunks, sequence_of
from tests.realmodels.oracle import log_probabilities, transformers_model
from tropilla.engine.engine import Engine
from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.executor import CPUExecutor
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.model.weights import ModelWeights, load_weights
from tropilla.text.tokenizer import Tokenizer, load_tokenizer

Array = NDArray[Any]

TEXT = "The llama is a domesticated South American camelid, widely used as a meat and pack animal by"
WINDOW = 512
N_WINDOWS = 100


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
        source.as_f32(), max_tokens=64, max_batch=64, n_kv_blocks=8, n_threads=2, kv_type="f32"
    )
    ours = read_in_chunks(executor, sequence_of(token_ids), 64)
    # Feature row F02: both compute in float32 and differ only in the order of their sums.
    assert np.abs(ours - expected).max() <= 1e-3


@pytest.mark.slow
def test_perplexity_as_shipped_is_within_half_a_percent(source: Source, real_data: Path) -> None:
    """WikiText-2 test, windows of 512 tokens, of which the second half counts; both on the same tokens."""
    text = (real_data / "bench" / "perplexity" / "wiki.test.raw").read_text("utf-8")
    token_ids = source.tokenizer.encode(text[: N_WINDOWS * WINDOW * 6], add_bos=False)
    windows = [token_ids[i * WINDOW : (i + 1) * WINDOW] for i in range(N_WINDOWS)]
    assert len(windows[-1]) == WINDOW
    expected = [log_probabilities(source.oracle, window)[WINDOW // 2 :] for window in windows]
    with Engine(source.weights, EngineOptions(context_length=WINDOW)) as engine:
        ours = [engine.score(window, first=WINDOW // 2 + 1) for window in windows]
    reference = float(np.exp(-np.mean(np.concatenate(expected))))
    assert np.exp(-np.mean(np.concatenate(ours))) == pytest.approx(reference, rel=0.005)
