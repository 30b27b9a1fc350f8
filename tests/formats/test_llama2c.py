"""llama2.c files: the published stories260K, and small ones written here by the layout of its export.py."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tropilla.errors import FormatError
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.tokenizer_source import Llama2cVocabulary

HEADER = {
    "dim": 8, "ffn_dim": 12, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "vocab_size": 10,
    "context_length": 6,
}  # fmt: skip


def v0_bytes(header: dict[str, int], tensors: list[NDArray[np.float32]]) -> bytes:
    return struct.pack("<7i", *header.values()) + b"".join(t.tobytes() for t in tensors)


def arrays(*, tied: bool) -> dict[str, NDArray[np.float32]]:
    """Random weights in file order; a stack has the layers first, as legacy_export writes them."""
    shapes = {
        "tok_embeddings": (10, 8), "attention_norm": (2, 8), "wq": (2, 8, 8), "wk": (2, 4, 8),
        "wv": (2, 4, 8), "wo": (2, 8, 8), "ffn_norm": (2, 8), "w1": (2, 12, 8), "w2": (2, 8, 12),
        "w3": (2, 12, 8), "norm": (8,), "freqs_cos": (6, 2), "freqs_sin": (6, 2),
    }  # fmt: skip
    if not tied:
        shapes["output"] = (10, 8)
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("tied", [True, False])
def test_each_tensor_is_found(tmp_path: Path, tied: bool) -> None:
    written = arrays(tied=tied)
    header = HEADER | {"vocab_size": 10 if tied else -10}
    (tmp_path / "m.bin").write_bytes(v0_bytes(header, list(written.values())))
    with open_checkpoint(tmp_path / "m.bin") as model:
        assert model.format == "llama2.c"
        assert model.tokenizer is None
        assert model.hyperparameters["vocab_size"] == 10
        assert model.hyperparameters["tied_embeddings"] is tied
        assert model.hyperparameters["norm_eps"] == 1e-5
        got = {name: model.tensors[name].to_float32() for name in model.tensors}
    expected = {"token_embd.weight": written["tok_embeddings"], "output_norm.weight": written["norm"]}
    if not tied:
        expected["output.weight"] = written["output"]
    ours = {
        "attention_norm": "attn_norm", "wq": "attn_q", "wk": "attn_k", "wv": "attn_v", "wo": "attn_output",
        "ffn_norm": "ffn_norm", "w1": "ffn_gate", "w2": "ffn_down", "w3": "ffn_up",
    }  # fmt: skip
    for theirs, name in ours.items():
        expected |= {f"blk.{layer}.{name}.weight": written[theirs][layer] for layer in (0, 1)}
    assert got.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(got[name], tensor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dim": 0}, "dim is 0, expected a whole number from 1"),
        ({"n_layers": -1}, "n_layers is -1"),
        ({"n_layers": 3}, "its llama2.c header announces"),
        ({"n_heads": 3}, "8 dimensions cannot be shared by 3 heads"),
        ({"n_heads": 8}, "8 dimensions cannot be shared by 8 heads"),
        ({"n_kv_heads": 3}, "n_kv_heads|2 heads cannot share 3 keys"),
        ({"vocab_size": -(2**31)}, "vocab_size"),
        ({"context_length": 2**31 - 1}, "context_length"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, change: dict[str, int], message: str) -> None:
    (tmp_path / "m.bin").write_bytes(v0_bytes(HEADER | change, list(arrays(tied=True).values())))
    with pytest.raises(FormatError, match=message):
        open_checkpoint(tmp_path / "m.bin")


@pytest.mark.parametrize("change", [-1, 1, -2000])
def test_the_size_must_match_to_the_byte(tmp_path: Path, change: int) -> None:
    whole = v0_bytes(HEADER, list(arrays(tied=True).values())) + b"\0"
    (tmp_path / "m.bin").write_bytes(whole[: len(whole) - 1 + change])
    with pytest.raises(FormatError, match="announces"):
        open_checkpoint(tmp_path / "m.bin")


def test_too_short_for_a_header(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(bytes(27))
    with pytest.raises(FormatError, match="too few"):
        open_checkpoint(tmp_path / "m.bin")


def test_stories260k(real_data: Path) -> None:
    path = real_data / "weights/stories260K/stories260K.bin"
    with open_checkpoint(path) as model:
        # The folder's README states these numbers.
        stated = {
            "dim": 64, "n_layers": 5, "n_heads": 8, "n_kv_heads": 4, "ffn_dim": 172, "vocab_size": 512,
            "context_length": 512,
        }  # fmt: skip
        assert {name: model.hyperparameters[name] for name in stated} == stated
        assert model.hyperparameters["tied_embeddings"] is True
        assert model.tokenizer == Llama2cVocabulary(path=path.with_name("tok512.bin"), vocab_size=512)
        norm = model.tensors["output_norm.weight"].to_float32()
        # A trained norm is positive and near one; bytes read at a wrong offset are not.
        assert 0.1 < norm.min() < norm.max() < 20
