"""Refuse a model that cannot fit this machine's memory before any of it is loaded."""

from __future__ import annotations

from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.executor import BLOCK_TOKENS, kv_block_bytes
from tropilla.errors import CapacityError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.tensor_types import tensor_bytes
from tropilla.hub.disk import human_bytes
from tropilla.model.config import LlamaConfig


def require_memory(
    checkpoint: Checkpoint,
    config: LlamaConfig,
    options: EngineOptions,
    *,
    available_bytes: int,
    draft: tuple[Checkpoint, LlamaConfig] | None = None,
) -> None:
    """Raise CapacityError if weights, keys and values need more than is available; 0 is not known.

    draft: a second model that is loaded with it.

    Systems promise memory that they do not have, and end the process once it is used.
    """
    weights = _weights_bytes(checkpoint)
    block = kv_block_bytes(config, options.kv_type)
    name = checkpoint.name
    if draft is not None:
        name += f" with {draft[0].name}"
        weights += _weights_bytes(draft[0])
        block += kv_block_bytes(draft[1], options.kv_type)
    cache = options.n_kv_blocks(config) * block
    if not 0 < available_bytes < weights + cache:
        return
    tokens = max(0, available_bytes - weights) // block * BLOCK_TOKENS
    raise CapacityError(
        f"{name} needs {human_bytes(weights + cache)} of memory (weights {human_bytes(weights)}, "
        f"keys and values {human_bytes(cache)}), but {human_bytes(available_bytes)} are free; "
        + _next_step(tokens, options),
        needed=weights + cache,
        available=available_bytes,
    )


def _weights_bytes(checkpoint: Checkpoint) -> int:
    return sum(tensor_bytes(t.type, t.shape) for t in checkpoint.tensors.layouts.values())


def _next_step(tokens_that_fit: int, options: EngineOptions) -> str:
    if not tokens_that_fit:
        return "choose a type with fewer bits or a smaller model: tropilla models --fit ranks them"
    step = f"lower context_length to {tokens_that_fit} or less, or close other programs"
    return step if options.kv_memory_mb is None else f"lower kv_memory_mb, or {step}"
