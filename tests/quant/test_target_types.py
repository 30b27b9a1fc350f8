"""Which type each matrix gets. The mixes are llama.cpp's: llama-quantize --dry-run named the layers below."""

from __future__ import annotations

import pytest

from tropilla.formats.tensor_types import BLOCKS, TensorType
from tropilla.quant.target_types import (
    FILE_TYPES,
    Matrices,
    Mix,
    fitting_type,
    intended_type,
    type_by_name,
)

# Of SmolLM2-135M with its 30 layers, and of the TinyLlama shape with 22.
MORE_BITS = {
    30: [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 26, 27, 28, 29],
    22: [0, 1, 4, 7, 10, 13, 16, 19, 20, 21],
}
LONG_BLOCKS = [kind for kind in FILE_TYPES if BLOCKS[kind].columns == 256]


@pytest.mark.parametrize(("mix", "most"), [("Q4_K_M", "Q4_K"), ("q5_k_m", "Q5_K")])
@pytest.mark.parametrize("n_layers", MORE_BITS)
@pytest.mark.parametrize("matrix", ["attn_v", "ffn_down"])
def test_some_layers_get_more(mix: str, most: str, n_layers: int, matrix: str) -> None:
    wanted = type_by_name(mix)
    types = [
        intended_type(f"blk.{layer}.{matrix}.weight", wanted, Matrices(n_layers, tied_embeddings=True)).name
        for layer in range(n_layers)
    ]
    assert types == ["Q6_K" if layer in MORE_BITS[n_layers] else most for layer in range(n_layers)]


@pytest.mark.parametrize(
    ("name", "tied", "kind"),
    [
        ("output.weight", False, "Q6_K"),
        ("token_embd.weight", False, "Q4_K"),
        ("token_embd.weight", True, "Q6_K"),
        ("blk.0.attn_q.weight", True, "Q4_K"),
        ("blk.0.ffn_up.weight", True, "Q4_K"),
        ("blk.0.attn_output.weight", True, "Q4_K"),
    ],
)
def test_the_output_gets_more_and_others_do_not(name: str, tied: bool, kind: str) -> None:
    assert intended_type(name, type_by_name("Q4_K_M"), Matrices(22, tied)).name == kind


def test_a_type_is_meant_for_all_matrices() -> None:
    for kind in FILE_TYPES:
        assert intended_type("output.weight", kind, Matrices(22, tied_embeddings=False)) is kind


@pytest.mark.parametrize("kind", LONG_BLOCKS, ids=lambda t: t.name)
def test_rows_of_half_blocks_get_shorter_blocks(kind: TensorType) -> None:
    assert fitting_type(kind, 512) is kind
    shorter = fitting_type(kind, 576)
    assert BLOCKS[shorter].columns == 32
    assert BLOCKS[shorter].bits_per_weight >= BLOCKS[kind].bits_per_weight
    assert fitting_type(kind, 40) is TensorType.F16


@pytest.mark.parametrize("name", ["Q4_K_M", "q5_k_m"])
def test_mixes_have_names(name: str) -> None:
    found = type_by_name(name)
    assert isinstance(found, Mix)
    assert found.name == name.upper()
