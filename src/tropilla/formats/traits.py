"""What the tensors themselves say about a model, the same for every file format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tropilla.errors import FormatError
from tropilla.formats.fields import Fields

# No model is near these; a file that claims more is damaged or hostile.
LARGEST: Mapping[str, int] = {
    "dim": 1 << 20,
    "n_layers": 1 << 12,
    "n_heads": 1 << 14,
    "n_kv_heads": 1 << 14,
    "head_dim": 1 << 14,
    "ffn_dim": 1 << 22,
    "vocab_size": 1 << 24,
    "context_length": 1 << 28,
}


def traits(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, object]:
    """Return the hyperparameters that the presence and shape of tensors decide.

    shapes: canonical names. Raises FormatError without a sound token embedding.
    """
    embedding = shapes.get("token_embd.weight")
    if embedding is None:
        raise FormatError(path, "holds no token embedding, so it is no whole model")
    if len(embedding) != 2 or not 0 < embedding[0] <= LARGEST["vocab_size"]:
        raise FormatError(path, f"the token embedding has shape {embedding}, expected (vocabulary, dim)")
    return {
        "vocab_size": embedding[0],
        "tied_embeddings": "output.weight" not in shapes,
        "qkv_bias": "blk.0.attn_q.bias" in shapes,
        "output_bias": "blk.0.attn_output.bias" in shapes,
        "mlp_bias": "blk.0.ffn_up.bias" in shapes,
        "qk_norm": "blk.0.attn_q_norm.weight" in shapes,
    }


def checked_heads(fields: Fields, keys: Mapping[str, str], values: Mapping[str, object]) -> dict[str, object]:
    """Return n_kv_heads and head_dim, each from its own key or by the rule for files without it."""
    dim, n_heads = values["dim"], values["n_heads"]
    assert isinstance(dim, int)
    assert isinstance(n_heads, int)
    n_kv_heads = n_heads
    if keys["n_kv_heads"] in fields:
        n_kv_heads = fields.whole(keys["n_kv_heads"], at_most=n_heads)
    if keys["head_dim"] in fields:
        head_dim = fields.whole(keys["head_dim"], at_most=LARGEST["head_dim"])
    elif dim % n_heads:
        raise FormatError(fields.path, f"{dim} dimensions cannot be shared by {n_heads} heads")
    else:
        head_dim = dim // n_heads
    return {"n_kv_heads": n_kv_heads, "head_dim": head_dim}
