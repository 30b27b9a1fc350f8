"""Write a checkpoint as a GGUF file, in its own types or quantized."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tropilla.errors import OptionError
from tropilla.events import Event, Notice, Saved
from tropilla.formats.checkpoint import Checkpoint
from tropilla.formats.gguf_writer import GGUFWriter
from tropilla.formats.names import ARCHITECTURES
from tropilla.formats.tensor_types import BLOCKS, TensorType
from tropilla.formats.tensors import LazyTensor, to_half_split
from tropilla.quant.gguf_metadata import open_metadata
from tropilla.quant.llama3_rope import ROPE_FACTORS, rope_factors
from tropilla.quant.outputs import Output, stream
from tropilla.quant.target_types import (
    Matrices,
    Mix,
    Wanted,
    fitting_type,
    intended_type,
    kept_type,
    prevailing,
)


def write_gguf(checkpoint: Checkpoint, destination: Path, wanted: Wanted | None) -> Iterator[Event]:
    """Write the file, yielding events; wanted None keeps each matrix's own type. Vectors are F32.

    Raises OptionError if the destination is no `.gguf` name.
    """
    if destination.suffix != ".gguf":
        raise OptionError(f"{destination}: a GGUF file's name ends in .gguf")
    tensors = gguf_tensors(checkpoint)
    types = _types(checkpoint, tensors, wanted)
    outputs = [Output(name, types[name], tensor) for name, tensor in tensors.items()]
    if wanted is not None:
        yield from _notices(checkpoint, outputs, wanted)
    file_type = prevailing((output.type, output.tensor.n_weights) for output in outputs)
    with open_metadata(checkpoint, file_type) as metadata:
        if isinstance(wanted, Mix):
            metadata.values["general.file_type"] = wanted.file_type
        planned = [output.planned for output in outputs]
        writer = GGUFWriter(destination, metadata.values, planned, kinds=metadata.kinds)
    with writer:
        yield from stream(writer, outputs, "quantizing" if wanted else "converting")
    yield Saved(path=destination, size_bytes=destination.stat().st_size)


def gguf_tensors(checkpoint: Checkpoint) -> dict[str, LazyTensor]:
    """Return the tensors as a GGUF file of the checkpoint's architecture has them."""
    head_dim = checkpoint.hyperparameters["head_dim"]
    assert isinstance(head_dim, int)
    tensors: Mapping[str, LazyTensor] = checkpoint.tensors.layouts
    if ARCHITECTURES[checkpoint.architecture].gguf_is_half_split:
        tensors = {name: to_half_split(name, tensor, head_dim) for name, tensor in tensors.items()}
    factors = rope_factors(checkpoint)
    return {**tensors, **({} if factors is None else {ROPE_FACTORS: factors})}


def _types(
    checkpoint: Checkpoint, tensors: Mapping[str, LazyTensor], wanted: Wanted | None
) -> dict[str, TensorType]:
    """Say how each tensor is written; engines expect vectors in F32."""
    matrices = _matrices(checkpoint)

    def type_of(name: str, tensor: LazyTensor) -> TensorType:
        if len(tensor.shape) < 2:
            return TensorType.F32
        if wanted is None:
            return kept_type(tensor.type)
        return fitting_type(intended_type(name, wanted, matrices), tensor.shape[-1])

    return {name: type_of(name, tensor) for name, tensor in tensors.items()}


def _matrices(checkpoint: Checkpoint) -> Matrices:
    n_layers = checkpoint.hyperparameters["n_layers"]
    assert isinstance(n_layers, int)
    return Matrices(n_layers, tied_embeddings="output.weight" not in checkpoint.tensors)


def _notices(checkpoint: Checkpoint, outputs: list[Output], wanted: Wanted) -> Iterator[Event]:
    yield from _about_replaced(checkpoint, outputs, wanted)
    twice = [o for o in outputs if _is_quantized(o.tensor.type) and o.type is not o.tensor.type]
    if any(_is_quantized(output.type) for output in twice):
        yield Notice(
            text=f"{len(twice)} tensors such as {twice[0].name} are {twice[0].tensor.type.name} already; "
            "quantizing the original weights would lose less"
        )


def _about_replaced(checkpoint: Checkpoint, outputs: list[Output], wanted: Wanted) -> Iterator[Event]:
    """Say of which matrices the rows are no whole blocks, once for each type that would not fit."""
    replaced: dict[TensorType, list[Output]] = {}
    for output in outputs:
        intended = intended_type(output.name, wanted, _matrices(checkpoint))
        if len(output.tensor.shape) > 1 and output.type is not intended:
            replaced.setdefault(intended, []).append(output)
    for intended, group in replaced.items():
        first = group[0]
        verb = "stay" if first.type is TensorType.F16 else "become"
        yield Notice(
            text=f"{len(group)} tensors such as {first.name} {verb} {first.type.name}: their rows of "
            f"{first.tensor.shape[-1]} weights are no whole blocks of {BLOCKS[intended].columns}"
        )


def _is_quantized(tensor_type: TensorType) -> bool:
    return BLOCKS[tensor_type].columns > 1
