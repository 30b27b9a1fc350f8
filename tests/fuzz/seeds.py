"""The sound models that fuzzing starts from: small, and together of every type, layout and container."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tropilla.formats.dequantize import block_dtype
from tropilla.formats.gguf_writer import GGUFWriter
from tropilla.formats.safetensors_writer import SafetensorsWriter
from tropilla.formats.stored import PlannedTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType, tensor_bytes

DIM, N_HEADS, N_KV_HEADS, HEAD_DIM, VOCAB_SIZE = 256, 2, 1, 32, 288


class Seed(NamedTuple):
    """Hold a model as its files' contents; `entry` is the one to open, or "" for the folder."""

    files: Mapping[str, bytes]
    entry: str
    runs: bool = True


def all_seeds(folder: Path) -> list[Seed]:
    """Write the models into an empty folder and take them up again."""
    return list(_all_seeds(folder))


def _all_seeds(folder: Path) -> Iterator[Seed]:
    for matrix in (TensorType.F32, TensorType.Q4_0, TensorType.Q4_K, TensorType.Q6_K, TensorType.IQ4_XS):
        write_llama(folder / "m.gguf", matrix, ffn_dim=256)
        yield _take(folder, "m.gguf")
    write_llama(folder / "m.gguf", TensorType.Q8_0, ffn_dim=32, max_part_bytes=60_000)
    yield _take(folder, sorted(path.name for path in folder.iterdir())[0])
    write_every_type(folder / "m.gguf")
    yield _take(folder, "m.gguf", runs=False)
    write_vocabulary(folder / "m.gguf")
    yield _take(folder, "m.gguf", runs=False)
    write_hugging_face(folder)
    yield _take(folder, "")


def _take(folder: Path, entry: str, *, runs: bool = True) -> Seed:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    for name in files:
        (folder / name).unlink()
    return Seed(files, entry, runs)


def plan_llama(matrix: TensorType, ffn_dim: int) -> list[PlannedTensor]:
    """Return the tensors of a model of one layer, its matrices of one type where their rows allow it."""
    q_dim, kv_dim = N_HEADS * HEAD_DIM, N_KV_HEADS * HEAD_DIM
    shapes = {
        "token_embd.weight": (VOCAB_SIZE, DIM),
        "output_norm.weight": (DIM,),
        "blk.0.attn_norm.weight": (DIM,),
        "blk.0.attn_q.weight": (q_dim, DIM),
        "blk.0.attn_k.weight": (kv_dim, DIM),
        "blk.0.attn_v.weight": (kv_dim, DIM),
        "blk.0.attn_output.weight": (DIM, q_dim),
        "blk.0.ffn_norm.weight": (DIM,),
        "blk.0.ffn_gate.weight": (ffn_dim, DIM),
        "blk.0.ffn_up.weight": (ffn_dim, DIM),
        "blk.0.ffn_down.weight": (DIM, ffn_dim),
    }
    return [PlannedTensor(name, _type_for(shape, matrix), shape) for name, shape in shapes.items()]


def _type_for(shape: tuple[int, ...], matrix: TensorType) -> TensorType:
    if len(shape) == 1:
        return TensorType.F32
    return matrix if shape[-1] % BLOCKS[matrix].columns == 0 else TensorType.Q8_0


def encoded(tensor: PlannedTensor) -> bytes:
    """Return random blocks whose float fields are small."""
    rng = np.random.default_rng(tensor.type)
    raw = np.frombuffer(rng.bytes(tensor_bytes(tensor.type, tensor.shape)), np.uint8).copy()
    blocks = raw.view(block_dtype(tensor.type))
    for name in blocks.dtype.names or ():
        if blocks[name].dtype.kind == "f":
            blocks[name] = rng.standard_normal(blocks[name].shape) / 64
    return raw.tobytes()


def vocabulary() -> dict[str, object]:
    """Return the keys of a SentencePiece vocabulary: three controls, every byte, some pieces."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", *"abcdefghijklmnopqrstuvwxyz", "▁a", "▁ñ"]
    pieces = pieces[:VOCAB_SIZE]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.scores": [-float(i) for i in range(len(pieces))],
        "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (len(pieces) - 259),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": True,
    }


def write_llama(path: Path, matrix: TensorType, ffn_dim: int, max_part_bytes: int | None = None) -> None:
    """Write a model that the engine runs."""
    metadata = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": DIM,
        "llama.feed_forward_length": ffn_dim,
        "llama.attention.head_count": N_HEADS,
        "llama.attention.head_count_kv": N_KV_HEADS,
        "llama.attention.key_length": HEAD_DIM,
        "llama.attention.value_length": HEAD_DIM,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": HEAD_DIM,
        **vocabulary(),
    }
    plan = plan_llama(matrix, ffn_dim)
    with GGUFWriter(path, metadata, plan, max_part_bytes=max_part_bytes) as writer:
        for tensor in plan:
            writer.write(tensor.name, encoded(tensor))


def write_every_type(path: Path) -> None:
    """Write one small tensor of every type, with as many dimensions as there can be."""
    plan = [PlannedTensor(t.name, t, (1, 2, 1, 2 * BLOCKS[t].columns)) for t in TensorType]
    with GGUFWriter(path, {"general.alignment": 8}, plan) as writer:
        for tensor in plan:
            writer.write(tensor.name, encoded(tensor))


def write_vocabulary(path: Path) -> None:
    """Write a byte-level BPE vocabulary without a model, and a value of every kind."""
    pieces = [chr(256 + i) if i < 33 else chr(i) for i in range(127)] + ["th", "he", "the", "<|end|>"]
    metadata = {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": pieces,
        "tokenizer.ggml.token_type": [1] * (len(pieces) - 1) + [3],
        "tokenizer.ggml.merges": ["t h", "h e", "th e"],
        "tokenizer.chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
        "k.huge": 2**63,
        "k.deep": -(2**40),
        "k.flags": [True, False],
        "k.floats": [0.5, 1.5],
    }
    with GGUFWriter(path, metadata, []):
        pass


_HUGGING_FACE_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "blk.0.attn_norm.weight": "model.layers.0.input_layernorm.weight",
    "blk.0.attn_q.weight": "model.layers.0.self_attn.q_proj.weight",
    "blk.0.attn_k.weight": "model.layers.0.self_attn.k_proj.weight",
    "blk.0.attn_v.weight": "model.layers.0.self_attn.v_proj.weight",
    "blk.0.attn_output.weight": "model.layers.0.self_attn.o_proj.weight",
    "blk.0.ffn_norm.weight": "model.layers.0.post_attention_layernorm.weight",
    "blk.0.ffn_gate.weight": "model.layers.0.mlp.gate_proj.weight",
    "blk.0.ffn_up.weight": "model.layers.0.mlp.up_proj.weight",
    "blk.0.ffn_down.weight": "model.layers.0.mlp.down_proj.weight",
}


def write_hugging_face(folder: Path) -> None:
    """Write the same model as a Hugging Face folder without a tokenizer."""
    plan = [
        PlannedTensor(_HUGGING_FACE_NAMES[t.name], TensorType.F16, t.shape)
        for t in plan_llama(TensorType.F16, ffn_dim=32)
    ]
    with SafetensorsWriter(folder / "model.safetensors", plan, {"format": "pt"}) as writer:
        for tensor in plan:
            writer.write(tensor.name, encoded(tensor))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": DIM,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": N_HEADS,
        "num_key_value_heads": N_KV_HEADS,
        "head_dim": HEAD_DIM,
        "vocab_size": VOCAB_SIZE,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), "utf-8")
