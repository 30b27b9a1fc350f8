"""The sound models that fuzzing starts from: small, and together of every type, layout and container."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from tropilla.formats.dequantize import block_dtype
from tropilla.formats.gguf_writer import GGUFWriter
from tropilla.formats.stored import PlannedTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType, tensor_bytes
from tropilla.quant.convert import Target, convert

VOCAB_SIZE = 288


class Shape(NamedTuple):
    """Give the sizes of a model of one layer."""

    dim: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    ffn_dim: int


WIDE = Shape(dim=256, n_heads=2, n_kv_heads=1, head_dim=32, ffn_dim=256)  # rows for blocks of 256
NARROW = Shape(dim=64, n_heads=2, n_kv_heads=1, head_dim=32, ffn_dim=32)  # which llama2.c can hold too


class Seed(NamedTuple):
    """Hold a model as its files' contents; `entry` is the one to open, or "" for the folder."""

    files: Mapping[str, bytes]
    entry: str
    runs: bool = True


def all_seeds(folder: Path) -> list[Seed]:
    """Write the models into an empty folder and take them up again."""
    return [*_gguf_seeds(folder), *_converted_seeds(folder)]


def _gguf_seeds(folder: Path) -> Iterator[Seed]:
    for matrix in (TensorType.F32, TensorType.Q4_0, TensorType.Q4_K, TensorType.Q6_K, TensorType.IQ4_XS):
        write_llama(folder / "m.gguf", matrix, WIDE)
        yield _take(folder, "m.gguf")
    write_llama(folder / "m.gguf", TensorType.Q8_0, NARROW, max_part_bytes=20_000)
    yield _take(folder, min(path.name for path in folder.iterdir()))
    write_every_type(folder / "m.gguf")
    yield _take(folder, "m.gguf", runs=False)
    write_vocabulary(folder / "m.gguf")
    yield _take(folder, "m.gguf", runs=False)


def _converted_seeds(folder: Path) -> Iterator[Seed]:
    """Write one model in the other formats, tokenizer files included."""
    with TemporaryDirectory() as elsewhere:
        source = Path(elsewhere, "m.gguf")
        write_llama(source, TensorType.F32, NARROW)
        targets: tuple[Target, ...] = ("huggingface", "meta")
        for target in targets:
            deque(convert(source, Path(elsewhere, target), to=target), maxlen=0)
            yield _take(Path(elsewhere, target), "")
        deque(convert(source, folder / "m.bin", to="llama2c"), maxlen=0)
        yield _take(folder, "m.bin")


def _take(folder: Path, entry: str, *, runs: bool = True) -> Seed:
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    for name in files:
        (folder / name).unlink()
    return Seed(files, entry, runs)


def plan_llama(matrix: TensorType, shape: Shape) -> list[PlannedTensor]:
    """Return a model's tensors, the matrices of one type where their rows allow it."""
    q_dim, kv_dim = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    shapes = {
        "token_embd.weight": (VOCAB_SIZE, shape.dim),
        "output_norm.weight": (shape.dim,),
        "blk.0.attn_norm.weight": (shape.dim,),
        "blk.0.attn_q.weight": (q_dim, shape.dim),
        "blk.0.attn_k.weight": (kv_dim, shape.dim),
        "blk.0.attn_v.weight": (kv_dim, shape.dim),
        "blk.0.attn_output.weight": (shape.dim, q_dim),
        "blk.0.ffn_norm.weight": (shape.dim,),
        "blk.0.ffn_gate.weight": (shape.ffn_dim, shape.dim),
        "blk.0.ffn_up.weight": (shape.ffn_dim, shape.dim),
        "blk.0.ffn_down.weight": (shape.dim, shape.ffn_dim),
    }
    return [PlannedTensor(name, _type_for(sizes, matrix), sizes) for name, sizes in shapes.items()]


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


def write_llama(path: Path, matrix: TensorType, shape: Shape, max_part_bytes: int | None = None) -> None:
    """Write a model that the engine runs."""
    metadata = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": shape.dim,
        "llama.feed_forward_length": shape.ffn_dim,
        "llama.attention.head_count": shape.n_heads,
        "llama.attention.head_count_kv": shape.n_kv_heads,
        "llama.attention.key_length": shape.head_dim,
        "llama.attention.value_length": shape.head_dim,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": shape.head_dim,
        **vocabulary(),
    }
    plan = plan_llama(matrix, shape)
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
