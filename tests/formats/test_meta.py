"""Meta's folders: the shape of the released ones; torch writes them, fairscale's rules are the oracle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tokenizer_source import SentencePieceModel, TiktokenRanks

PARAMS = {"dim": 16, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "norm_eps": 1e-5, "vocab_size": -1}
SHAPES = {
    "tok_embeddings.weight": (20, 16),
    "layers.0.attention_norm.weight": (16,),
    "layers.0.attention.wq.weight": (16, 16),
    "layers.0.attention.wk.weight": (8, 16),
    "layers.0.attention.wv.weight": (8, 16),
    "layers.0.attention.wo.weight": (16, 16),
    "layers.0.ffn_norm.weight": (16,),
    "layers.0.feed_forward.w1.weight": (24, 16),
    "layers.0.feed_forward.w2.weight": (16, 24),
    "layers.0.feed_forward.w3.weight": (24, 16),
    "norm.weight": (16,),
    "output.weight": (20, 16),
}
OURS = {
    "tok_embeddings.weight": "token_embd.weight",
    "layers.0.attention_norm.weight": "blk.0.attn_norm.weight",
    "layers.0.attention.wq.weight": "blk.0.attn_q.weight",
    "layers.0.attention.wk.weight": "blk.0.attn_k.weight",
    "layers.0.attention.wv.weight": "blk.0.attn_v.weight",
    "layers.0.attention.wo.weight": "blk.0.attn_output.weight",
    "layers.0.ffn_norm.weight": "blk.0.ffn_norm.weight",
    "layers.0.feed_forward.w1.weight": "blk.0.ffn_gate.weight",
    "layers.0.feed_forward.w2.weight": "blk.0.ffn_down.weight",
    "layers.0.feed_forward.w3.weight": "blk.0.ffn_up.weight",
    "norm.weight": "output_norm.weight",
    "output.weight": "output.weight",
}
# fairscale: ColumnParallelLinear cuts dimension 0, RowParallelLinear 1, ParallelEmbedding 1; norms are whole.
CUT = {"wo": 1, "w2": 1, "tok_embeddings": 1, "wq": 0, "wk": 0, "wv": 0, "w1": 0, "w3": 0, "output": 0}
Weights = dict[str, torch.Tensor]


def random_weights() -> Weights:
    torch.manual_seed(0)
    weights = {name: torch.randn(shape).half() for name, shape in SHAPES.items()}
    return weights | {"rope.freqs": torch.ones(2)}


def write(folder: Path, weights: Weights, *, parts: int = 1, vocabulary_cut: int = 1, **params: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps(PARAMS | params))
    for part in range(parts):
        shard = {}
        for name, tensor in weights.items():
            cut = {**CUT, "tok_embeddings": vocabulary_cut}.get(name.split(".")[-2])
            shard[name] = tensor if cut is None else tensor.chunk(parts, cut)[part].clone()
        torch.save(shard, folder / f"consolidated.{part:02}.pth")
    return folder


@pytest.mark.parametrize(("parts", "vocabulary_cut"), [(1, 1), (2, 1), (2, 0), (4, 1), (4, 0)])
def test_parts_are_joined(tmp_path: Path, parts: int, vocabulary_cut: int) -> None:
    weights = random_weights()
    path = write(tmp_path / "m", weights, parts=parts, vocabulary_cut=vocabulary_cut)
    with open_checkpoint(path) as model:
        assert model.format == "Meta"
        assert set(model.tensors) == set(OURS.values())
        for theirs, ours in OURS.items():
            assert model.tensors[ours].type is TensorType.F16
            np.testing.assert_array_equal(model.tensors[ours].to_float32(), weights[theirs].float().numpy())
        expected = {
            "dim": 16, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "head_dim": 4, "ffn_dim": 24,
            "vocab_size": 20, "tied_embeddings": False, "norm_eps": 1e-5, "rope_theta": 10000.0,
        }  # fmt: skip
        assert {name: model.hyperparameters[name] for name in expected} == expected


@pytest.mark.parametrize("name", ["tiny_fair_checkpoint.pt", "tiny_llama2_checkpoint.pt"])
def test_real_checkpoints(real_data: Path, tmp_path: Path, name: str) -> None:
    """Hold both namings, Meta's and torchtune's, against torch.load."""
    shutil.copy(real_data / "weights/meta-pth-tiny" / name, tmp_path)
    stored = torch.load(tmp_path / name, weights_only=True)
    stored = stored.get("model", stored)
    embedding = stored["tok_embeddings.weight"]
    params = {"dim": embedding.shape[1], "n_layers": 2, "n_heads": 4, "norm_eps": 1e-6}
    n_kv_heads = 4
    if "layers.0.attn.k_proj.weight" in stored:
        head_dim = stored["layers.0.attn.q_proj.weight"].shape[0] // 4
        n_kv_heads = stored["layers.0.attn.k_proj.weight"].shape[0] // head_dim
    (tmp_path / "params.json").write_text(json.dumps(params | {"n_kv_heads": n_kv_heads}))
    with open_checkpoint(tmp_path) as model:
        assert len(model.tensors) == len(stored)
        torchtune = {
            "blk.1.attn_q.weight": "layers.1.attn.q_proj.weight",
            "blk.1.ffn_down.weight": "layers.1.mlp.w2.weight",
            "blk.0.attn_norm.weight": "layers.0.sa_norm.scale",
        }
        meta = {
            "blk.1.attn_q.weight": "layers.1.attention.wq.weight",
            "blk.1.ffn_down.weight": "layers.1.feed_forward.w2.weight",
            "blk.0.attn_norm.weight": "layers.0.attention_norm.weight",
        }
        for ours, theirs in (torchtune if "norm.scale" in stored else meta).items():
            np.testing.assert_array_equal(model.tensors[ours].to_float32(), stored[theirs].numpy())


def test_a_weight_file_by_its_name(tmp_path: Path) -> None:
    weights = random_weights()
    write(tmp_path / "m", weights, parts=2)
    with open_checkpoint(tmp_path / "m" / "consolidated.00.pth") as model:
        assert model.tensors["output.weight"].shape == (20, 16)


@pytest.mark.parametrize(
    ("params", "expected"),
    [  # what each generation of Meta's files looks like, and the context it was trained with
        ({"norm_eps": 1e-6}, 2048),
        ({"norm_eps": 1e-5}, 4096),
        ({"rope_theta": 500000.0}, 8192),
        ({"rope_theta": 500000.0, "use_scaled_rope": True}, 131072),
        ({"max_seq_len": 777}, 777),
    ],
)
def test_context_length(tmp_path: Path, params: dict[str, Any], expected: int) -> None:
    with open_checkpoint(write(tmp_path / "m", random_weights(), **params)) as model:
        assert model.hyperparameters["context_length"] == expected


def test_llama_3_1_scaling(tmp_path: Path) -> None:
    with open_checkpoint(write(tmp_path / "m", random_weights(), use_scaled_rope=True)) as model:
        # The constants of apply_scaling in Meta's llama-models.
        assert model.hyperparameters["rope_scaling"] == {
            "kind": "llama3", "factor": 8.0, "original_context_length": 8192,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        }  # fmt: skip


def test_tokenizers(tmp_path: Path, real_data: Path) -> None:
    path = write(tmp_path / "m", random_weights())
    shutil.copy(real_data / "tokenizers/llama-spm/tokenizer.model", path)
    with open_checkpoint(path) as model:
        assert model.tokenizer == SentencePieceModel(path=path / "tokenizer.model")
    (path / "tokenizer.model").chmod(0o644)
    shutil.copy(real_data / "tokenizers/llama3/tokenizer.model", path)
    with open_checkpoint(path) as model:
        assert model.tokenizer == TiktokenRanks(path=path / "tokenizer.model")


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dim": None}, "does not say dim"),
        ({"n_heads": 0}, "n_heads is 0"),
        ({"n_heads": 3}, "16 dimensions cannot be shared by 3 heads"),
        ({"n_layers": 1.5}, r"n_layers is 1\.5"),
        ({"norm_eps": "small"}, "norm_eps is 'small'"),
        ({"use_scaled_rope": 1}, "expected true or false"),
    ],
)
def test_untrusted_params(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        open_checkpoint(write(tmp_path / "m", random_weights(), **params))


def test_parts_of_different_models(tmp_path: Path) -> None:
    path = write(tmp_path / "m", random_weights(), parts=2)
    other = {name: tensor[:1] for name, tensor in random_weights().items()}
    torch.save(other, path / "consolidated.01.pth")
    with pytest.raises(FormatError, match="differs in shape or type"):
        open_checkpoint(path)
    torch.save({"norm.weight": torch.zeros(16)}, path / "consolidated.01.pth")
    with pytest.raises(FormatError, match="not parts of one model"):
        open_checkpoint(path)


def test_what_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="mixtures of experts"):
        open_checkpoint(write(tmp_path / "a", random_weights(), moe={"num_experts": 8}))
    with pytest.raises(UnsupportedError, match=r"'layers\.0\.lora\.weight'"):
        open_checkpoint(write(tmp_path / "b", random_weights() | {"layers.0.lora.weight": torch.zeros(1)}))


def test_missing_files(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps(PARAMS))
    with pytest.raises(FormatError, match=r"no consolidated\.\*\.pth"):
        open_checkpoint(tmp_path)
    torch.save(random_weights(), tmp_path / "a.pth")
    torch.save(random_weights(), tmp_path / "b.pth")
    with pytest.raises(FormatError, match=r"holds 2 files \*\.pth"):
        open_checkpoint(tmp_path)
    (tmp_path / "params.json").unlink()
    with pytest.raises(FormatError, match=r"params\.json"):
        open_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"dim": NaN}', "[" * 100_000, '{"dim": ' + "9" * 5000 + "}"]
)
def test_damaged_params(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "m", random_weights())
    (path / "params.json").write_text(text)
    with pytest.raises(FormatError, match=r"params\.json"):
        open_checkpoint(path)
