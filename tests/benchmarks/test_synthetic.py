"""Models with random weights: they open, run and have the types that quantizers would give them."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path

import gguf
import numpy as np
import pytest

import tropilla
from benchmarks.synthetic import (
    SHAPES,
    mixture_names,
    plain_vocabulary,
    random_rows,
    type_of,
    write_synthetic,
)
from tests.api.tiny_model import write_tiny_model
from tropilla.engine.sampling import Sampling
from tropilla.formats.dequantize import dequantize
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.tensor_types import TensorType
from tropilla.model.config import tensor_shapes

SMALL = dataclasses.replace(
    SHAPES["1.1B"], dim=256, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=512, vocab_size=600
)


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q4_K_M", "Q5_K", "Q6_K", "Q8_0", "F16", "BF16"])
def test_a_random_model_runs_with_finite_scores(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.gguf"
    assert write_synthetic(path, SMALL, name) == path.stat().st_size
    with tropilla.load(path) as model:
        assert math.isfinite(model.score("ab cd ef", " gh"))
        assert model.complete("ab", Sampling(temperature=0, max_tokens=4))


@pytest.mark.parametrize("kind", [k for k in mixture_names() if k in TensorType.__members__])
def test_weights_vary_by_one_over_the_root_of_the_columns(kind: str) -> None:
    rows = random_rows(TensorType[kind], 256, 1024, np.random.default_rng(1))
    weights = dequantize(TensorType[kind], rows.tobytes(), 256 * 1024)
    # The scales are chosen from 256 blocks, whose own deviation varies by a few per cent.
    assert weights.std() == pytest.approx(1024**-0.5, rel=0.15)
    assert abs(weights.mean()) < 0.02 * weights.std()


def test_a_mixture_has_finer_types_where_quantizers_put_them() -> None:
    # Counts for 22 layers by the rule of llama.cpp's quantizer (llama-quant.cpp, use_more_bits):
    # 2 first, 3 last, and every third of the 17 between, which are 5.
    config = SHAPES["1.1B"]
    shapes = tensor_shapes(config).items()
    kinds = Counter(type_of(name, shape[-1], "Q4_K_M", config) for name, shape in shapes)
    assert kinds[TensorType.Q6_K] == 1 + 2 * (2 + 3 + 5)
    assert type_of("output.weight", 2048, "Q4_0", config) is TensorType.Q6_K
    assert type_of("output.weight", 2048, "Q8_0", config) is TensorType.Q8_0
    assert type_of("token_embd.weight", 2048, "Q4_0", config) is TensorType.Q4_0


def test_a_vocabulary_can_be_taken_from_another_file(tmp_path: Path) -> None:
    other = write_tiny_model(tmp_path / "other.gguf")
    write_synthetic(tmp_path / "model.gguf", SMALL, "Q8_0", vocabulary=other)
    with GGUFFile(tmp_path / "model.gguf") as made, GGUFFile(other) as source:
        for key in ("tokens", "merges", "token_type", "pre"):
            name = f"tokenizer.ggml.{key}"
            assert list(made.metadata[name]) == list(source.metadata[name])  # type: ignore[arg-type]
        assert made.tensors["token_embd.weight"].shape[0] == len(source.metadata["tokenizer.ggml.tokens"])  # type: ignore[arg-type]


def test_the_plain_vocabulary_has_no_piece_twice() -> None:
    vocabulary = plain_vocabulary(32000)
    assert len(set(vocabulary.pieces)) == 32000


def test_another_reader_agrees_on_every_tensor(tmp_path: Path) -> None:
    write_synthetic(tmp_path / "model.gguf", SMALL, "Q4_K_M")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    assert {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors} == tensor_shapes(SMALL)
