"""What a benchmark runs, by short names such as pp512 and tg128@4096, and what each asks of a machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tropilla.errors import OptionError
from tropilla.formats.tensor_types import BLOCKS, TensorType, tensor_bytes
from tropilla.formats.tensors import LazyTensor
from tropilla.hub.limits import Limits
from tropilla.model.weights import ModelWeights

_NAME = re.compile(
    r"(?:pp(?P<prompt>\d{1,9})|tg(?P<answer>\d{1,9})(?:x(?P<n>\d{1,9}))?(?:@(?P<depth>\d{1,9})(?P<k>k)?)?)"
)
_MOST_TOKENS = 1_000_000
EMBEDDING, OUTPUT = "token_embd.weight", "output.weight"


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One thing to measure: n_tokens read of a prompt, or drawn in each of n_sequences after depth tokens."""

    name: str
    reads: bool  # a prompt; otherwise tokens are drawn
    n_tokens: int
    n_sequences: int = 1
    depth: int = 0

    @property
    def describe(self) -> str:
        """Say it in words."""
        if self.reads:
            return f"read a prompt of {self.n_tokens} tokens"
        words = f"draw {self.n_tokens} tokens"
        if self.n_sequences > 1:
            words += f" in each of {self.n_sequences} sequences at once"
        return f"{words} after {self.depth}" if self.depth else words

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens each sequence reads before it answers; at least one."""
        return self.n_tokens if self.reads else max(1, self.depth)

    @property
    def length(self) -> int:
        """Return how many tokens a sequence comes to hold; the first drawn one is not timed."""
        return self.prompt_tokens + 1 + (0 if self.reads else self.n_tokens)

    @property
    def timed_tokens(self) -> int:
        """Return the tokens that a speed counts, all sequences together."""
        return self.n_tokens * self.n_sequences


def parse_workload(name: str) -> Workload:
    """Read a name: pp512 reads 512 tokens; tg128 draws 128, tg128@4k after 4096, tg64x8 in 8 sequences.

    Raises OptionError saying what names mean.
    """
    found = _NAME.fullmatch(name.strip().lower())
    if found is None:
        raise OptionError(
            f"unknown workload {name!r}; write pp512 (read a prompt of 512 tokens), tg128 (draw 128 tokens), "
            "tg128@4k (after 4096 tokens) or tg64x8 (in 8 sequences at once)"
        )
    depth = int(found["depth"] or 0) * (1024 if found["k"] else 1)
    workload = Workload(
        name=found[0],
        reads=found["prompt"] is not None,
        n_tokens=int(found["prompt"] or found["answer"]),
        n_sequences=int(found["n"] or 1),
        depth=depth,
    )
    for what, value in (("tokens", workload.n_tokens), ("sequences", workload.n_sequences)):
        if not 1 <= value <= _MOST_TOKENS:
            raise OptionError(f"workload {name!r}: {what} must be in [1, {_MOST_TOKENS}], got {value}")
    return workload


class Step(NamedTuple):
    """What one pass over all weights costs: bytes read, and operations for each token in it.

    The output matrix stands apart: only tokens that are drawn after need it.
    """

    layer_bytes: int
    layer_operations: int
    output_bytes: int
    output_operations: int
    has_floats: bool  # float weights are not multiplied as int8


def step_of(weights: ModelWeights, layouts: Mapping[str, LazyTensor]) -> Step:
    """Add up a model's matrices as its file stores them."""
    output = EMBEDDING if weights.config.tied_embeddings else OUTPUT
    matrices = {name: tensor for name, tensor in layouts.items() if len(tensor.shape) == 2}
    layers = [tensor for name, tensor in matrices.items() if name not in (EMBEDDING, OUTPUT)]
    return Step(
        layer_bytes=_bytes(layers),
        layer_operations=2 * sum(tensor.n_weights for tensor in layers),
        output_bytes=_bytes([matrices[output]]),
        output_operations=2 * matrices[output].n_weights,
        has_floats=any(_is_float(tensor.type) for tensor in layers),
    )


def _bytes(tensors: Iterable[LazyTensor]) -> int:
    return sum(tensor_bytes(tensor.type, tensor.shape) for tensor in tensors)


def _is_float(kind: TensorType) -> bool:
    return BLOCKS[kind].columns == 1


class Bound(NamedTuple):
    """The least time that a workload can take on a machine, and what sets it."""

    seconds: float
    by: str  # "memory" or "arithmetic"


def least_time(
    workload: Workload, step: Step, limits: Limits, *, kv_token_bytes: float, chunk: int
) -> Bound | None:
    """Return the roofline's time; None where arithmetic decides but its peak is not known.

    Weights alone are counted, and for drawing the keys and values read; both only need reading once a
    step, whatever the number of sequences. kv_token_bytes: what a token's keys and values take; chunk: how
    many tokens of a prompt one step reads.
    """
    n_tokens = workload.timed_tokens
    if workload.reads:
        n_steps = -(-workload.n_tokens // chunk)
        n_bytes = n_steps * step.layer_bytes + step.output_bytes
        operations = n_tokens * step.layer_operations + step.output_operations
    else:
        held = workload.depth + workload.n_tokens / 2  # on average
        kv_bytes = workload.n_sequences * held * kv_token_bytes
        n_bytes = int(workload.n_tokens * (step.layer_bytes + step.output_bytes + kv_bytes))
        operations = n_tokens * (step.layer_operations + step.output_operations)
    memory = Bound(n_bytes / limits.bandwidth, "memory")
    if step.has_floats or not limits.int8_peak:
        return None if n_tokens > 4 * workload.n_sequences and workload.reads else memory
    return max(memory, Bound(operations / limits.int8_peak, "arithmetic"))
