"""Llama 3's rotary scaling: a rule in Hugging Face's and Meta's files, a tensor of factors in GGUF's."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from tropilla.errors import UnsupportedError
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.tensors import LazyTensor, as_stored
from tropilla.model.config import LlamaConfig, rope_table

ROPE_FACTORS = "rope_freqs.weight"
# Every released Llama 3.x model has these beside its own factor.
_RELEASED = {"original_context_length": 8192, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def rope_factors(checkpoint: Checkpoint) -> LazyTensor | None:
    """Return the tensor of factors for a checkpoint that states the rule; None if it needs none."""
    scaling = checkpoint.hyperparameters.get("rope_scaling")
    if not isinstance(scaling, dict) or scaling["kind"] != "llama3":
        return None
    factors = _factors(checkpoint.hyperparameters)
    data = memoryview(struct.pack(f"<{len(factors)}f", *factors))
    return as_stored(ROPE_FACTORS, StoredTensor(ROPE_FACTORS, TensorType.F32, (len(factors),), data))


def rope_rule(checkpoint: Checkpoint) -> dict[str, object] | None:
    """Return the checkpoint's rope scaling as a rule, found again from the factors if it is a GGUF file.

    Raises UnsupportedError for factors that no released model has.
    """
    scaling = checkpoint.hyperparameters.get("rope_scaling")
    if ROPE_FACTORS not in checkpoint.tensors:
        return dict(scaling) if isinstance(scaling, dict) else None
    factors = [float(factor) for factor in checkpoint.tensors[ROPE_FACTORS].data.cast("B").cast("f")]
    rule: dict[str, object] = {"kind": "llama3", "factor": max(factors), **_RELEASED}
    expected = _factors({**checkpoint.hyperparameters, "rope_scaling": rule})
    rounding = 1e-5  # the factors are float32, and programs compute them in float32 or float64
    if any(abs(a - b) > rounding * b for a, b in zip(factors, expected, strict=True)):
        raise UnsupportedError(f"{checkpoint.path}: {ROPE_FACTORS} follows no rule of a released model")
    return rule


def _factors(hyperparameters: Mapping[str, object]) -> list[float]:
    def speeds(scaling: object) -> tuple[float, ...]:
        values = {**hyperparameters, "rope_scaling": scaling}
        return rope_table(LlamaConfig.from_hyperparameters(values, path="")).inv_freq

    scaled = speeds(hyperparameters["rope_scaling"])
    return [plain / slow for plain, slow in zip(speeds(None), scaled, strict=True)]
