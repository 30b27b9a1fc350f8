"""Block layouts: sizes against ggml's as the gguf package lists them, and against the engine's own."""

from __future__ import annotations

import gguf
import pytest

from tropilla.formats.tensor_types import BLOCKS, TensorType, foreign_type, tensor_bytes

# The gguf package still counts two float32 per Q8_1 block; ggml's block_q8_1 has two float16.
Q8_1_BYTES = 2 + 2 + 32


@pytest.mark.parametrize("tensor_type", TensorType, ids=lambda t: t.name)
def test_sizes_are_ggmls(tensor_type: TensorType) -> None:
    columns, size_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[tensor_type.name]]
    if tensor_type is TensorType.Q8_1:
        size_bytes = Q8_1_BYTES
    assert (BLOCKS[tensor_type].columns, BLOCKS[tensor_type].bytes) == (columns, size_bytes)


def test_ids_are_ggmls() -> None:
    theirs = {t.name: int(t) for t in gguf.GGMLQuantizationType}
    assert {t.name: int(t) for t in TensorType} == {name: theirs[name] for name in TensorType.__members__}


def test_every_id_of_ggml_is_read_or_named() -> None:
    for theirs in gguf.GGMLQuantizationType:
        assert theirs.name in TensorType.__members__ or theirs.name in (foreign_type(int(theirs)) or "")


@pytest.mark.parametrize(("type_id", "word"), [(4, "Q4_2"), (36, "removed"), (42, "Q2_0"), (137, "ik_llama")])
def test_foreign_ids_are_named(type_id: int, word: str) -> None:
    meaning = foreign_type(type_id)
    assert meaning is not None
    assert word in meaning


@pytest.mark.parametrize("type_id", [43, 132, 159, 201, 234, 334, 400, 2**32 - 1])
def test_ids_of_nobody_have_no_meaning(type_id: int) -> None:
    assert foreign_type(type_id) is None


def test_bytes_of_a_tensor() -> None:
    assert tensor_bytes(TensorType.Q4_0, (3, 64)) == 3 * 2 * 18
    assert tensor_bytes(TensorType.F16, (5,)) == 10
    with pytest.raises(ValueError, match="rows of 33 weights are not a whole number of Q4_0 blocks of 32"):
        tensor_bytes(TensorType.Q4_0, (32, 33))
