"""Reckoned sizes against the sizes of files that were really published."""

from __future__ import annotations

import pytest

from tropilla.hub.catalogue import Shape, catalogue
from tropilla.hub.model_size import MIXES, gets_more_bits, model_size

SHAPES = {model.name: model.shape for model in catalogue().models}
GIB = 1 << 30

# (model, type) -> bytes. Llama-3-8B: llama.cpp's perplexity README; LLaMA-1-7B: its quantize help.
PRINTED = {
    ("llama-3-8b", "F16"): 14.97 * GIB,
    ("llama-3-8b", "Q8_0"): 7.96 * GIB,
    ("llama-3-8b", "Q6_K"): 6.14 * GIB,
    ("llama-3-8b", "Q5_K_M"): 5.33 * GIB,
    ("llama-3-8b", "Q5_1"): 5.65 * GIB,
    ("llama-3-8b", "Q5_0"): 5.21 * GIB,
    ("llama-3-8b", "Q4_K_M"): 4.58 * GIB,
    ("llama-3-8b", "Q4_1"): 4.78 * GIB,
    ("llama-3-8b", "Q4_0"): 4.34 * GIB,
    ("llama-7b", "Q4_0"): 3.56 * GIB,
    ("llama-7b", "Q4_1"): 3.90 * GIB,
    ("llama-7b", "Q4_K_M"): 3.80 * GIB,
    ("llama-7b", "Q5_K_M"): 4.45 * GIB,
    ("llama-7b", "Q6_K"): 5.15 * GIB,
    ("llama-7b", "Q8_0"): 6.70 * GIB,
}
FILES = {
    ("smollm2", "Q4_1"): 98_362_432,
    ("smollm2-360m", "Q4_K_M"): 270_590_880,
    ("qwen2.5-32b", "Q4_K_M"): 19_851_336_576,
    ("qwen3-4b", "Q4_K_M"): 2_497_280_256,
    ("qwen3-8b", "Q8_0"): 8_709_518_112,
    ("qwen3-14b", "Q4_K_M"): 9_001_752_960,
    ("llama-3.3-70b", "Q4_K_M"): 42_520_398_816,
}


@pytest.mark.parametrize(("name", "mix"), FILES)
def test_a_published_file_s_size_is_reckoned_within_half_a_percent(name: str, mix: str) -> None:
    """Half a percent: the tokenizer's bytes are a guess, and 2 % of the smallest file."""
    assert model_size(SHAPES[name], mix, 0).file_bytes == pytest.approx(FILES[name, mix], rel=0.005)


@pytest.mark.parametrize(("name", "mix"), PRINTED)
def test_a_printed_size_is_reckoned_within_its_digits(name: str, mix: str) -> None:
    """1.5 %: the tables print hundredths of a GiB, and were made by several versions of the quantizer."""
    assert model_size(SHAPES[name], mix, 0).file_bytes == pytest.approx(PRINTED[name, mix], rel=0.015)


def test_half_of_the_layers_get_more_bits() -> None:
    """Hand calculation for 32 layers: 0-3 and 28-31, and every third from 6 to 27."""
    chosen = [layer for layer in range(32) if gets_more_bits(layer, 32)]
    assert chosen == [0, 1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 27, 28, 29, 30, 31]


def test_keys_and_values_take_two_f16_vectors_a_layer_and_token() -> None:
    """LLaMA 7B, 2048 tokens: 2 * 2 bytes * 32 layers * 32 heads * 128 * 2048 = 1 GiB."""
    assert model_size(SHAPES["llama-7b"], "F16", 2048).kv_bytes == GIB


def test_a_token_reads_all_weights_but_the_untied_embedding() -> None:
    shape = SHAPES["llama-7b"]
    size = model_size(shape, "F16", 0)
    embedding = 2 * shape.vocab_size * shape.dim
    assert size.read_bytes == pytest.approx(2 * shape.n_parameters - embedding, rel=1e-3)
    tied = Shape(
        dim=64, n_layers=1, n_heads=1, n_kv_heads=1, head_dim=64, ffn_dim=64,
        vocab_size=10, context_length=8, tied_embeddings=True,
    )  # fmt: skip
    assert model_size(tied, "F16", 0).read_bytes == 2 * (10 * 64 + 7 * 64 * 64) + 4 * 3 * 64


def test_fewer_bits_are_never_larger() -> None:
    sizes = [model_size(SHAPES["llama-7b"], mix, 0).file_bytes for mix in MIXES]
    assert sizes[0] == max(sizes)
    assert sizes[-1] == min(sizes)
