"""What a model file or folder holds, read from its header alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path

from tropilla.formats.checkpoint import open_checkpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """A model at a glance; `type` is the one that most of its weights have."""

    format: str
    type: str
    n_parameters: int
    context_length: int | None
    licence: str | None


def read_contents(path: Path) -> Contents:
    """Describe the model at path.

    Raises FormatError or UnsupportedError for what Tropilla cannot open.
    """
    with open_checkpoint(path) as checkpoint:
        weights: Counter[str] = Counter()
        for tensor in checkpoint.tensors.values():
            weights[tensor.type.name] += prod(tensor.shape)
        context, licence = (
            checkpoint.hyperparameters.get("context_length"),
            checkpoint.metadata.get("license"),
        )
        return Contents(
            format=checkpoint.format,
            type=weights.most_common(1)[0][0] if weights else "none",
            n_parameters=weights.total(),
            context_length=context if isinstance(context, int) else None,
            licence=licence if isinstance(licence, str) else None,
        )
