"""A model file with random weights and a vocabulary of single bytes, written by our own writer."""

from __future__ import annotations

from pathlib import Path

from tests.engine.models import random_model
from tropilla.formats.gguf_writer import GGUFWriter
from tropilla.formats.stored import PlannedTensor
from tropilla.model.config import LlamaConfig
from tropilla.text.byte_level import spell_bytes

END = "<|im_end|>"
PIECES = ["<|im_start|>", END, *(spell_bytes(bytes((byte,))) for byte in range(256)), "th"]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CONFIG = LlamaConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, head_dim=8, ffn_dim=64,
    vocab_size=len(PIECES), context_length=256,
)  # fmt: skip


def write_tiny_model(path: Path, *, template: str | None = TEMPLATE, type_name: str = "Q4_1") -> Path:
    """Write the model and return its path."""
    tensors = random_model(CONFIG, type_name).weights.tensors
    metadata: dict[str, object] = {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.embedding_length": CONFIG.dim,
        "llama.block_count": CONFIG.n_layers,
        "llama.feed_forward_length": CONFIG.ffn_dim,
        "llama.attention.head_count": CONFIG.n_heads,
        "llama.attention.head_count_kv": CONFIG.n_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": CONFIG.norm_eps,
        "llama.context_length": CONFIG.context_length,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": PIECES,
        "tokenizer.ggml.token_type": [3, 3, *[1] * 257],
        "tokenizer.ggml.merges": ["t h"],
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.add_bos_token": False,
    }
    if template is not None:
        metadata["tokenizer.chat_template"] = template
    plan = [PlannedTensor(name, tensor.type, tensor.shape) for name, tensor in tensors.items()]
    with GGUFWriter(path, metadata, plan) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor.data)
    return path
