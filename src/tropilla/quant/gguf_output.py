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
from tropilla.quant.target_types import prevailing, target_type


def write_gguf(checkpoint: Checkpoint, destination: Path, wanted: TensorType | None) -> Iterator[Event]:
    """Write the file, yielding events; wanted None keeps each matrix's own type.

    Raises OptionError if the destination is no `.gguf` name.
    """
    if destination.suffix != ".gguf":
        raise OptionError(f"{destination}: a GGUF file's name ends in .gguf")
    outputs = [
        Output(name, target_type(tensor.shape, tensor.type, wanted), tensor)
        for name, tensor in gguf_tensors(checkpoint).items()
    ]
    if wanted is not None:
        yield from _notices(outputs, wanted)
    file_type = prevailing((output.type, output.tensor.n_weights) for output in outputs)
    with open_metadata(checkpoint, file_type) as metadata:
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


def _notices(outputs: list[Output], wanted: TensorType) -> Iterator[Event]:
    ragged = [output for output in outputs if len(output.tensor.shape) > 1 and output.type is not wanted]
    if ragged:
        first = ragged[0]
        yield Notice(
            text=f"{len(ragged)} tensors such as {first.name} stay {first.type.name}: their rows of "
            f"{first.tensor.shape[-1]} weights are no whole blocks of {BLOCKS[wanted].columns}"
        )
    twice = [o for o in outputs if _is_quantized(o.tensor.type) and o.type is not o.tensor.type]
    if twice and _is_quantized(wanted):
        yield Notice(
            text=f"{len(twice)} tensors such as {twice[0].name} are {twice[0].tensor.type.name} already; "
            "quantizing the original weights would lose less"
        )


def _is_quantized(tensor_type: TensorType) -> bool:
    return BLOCKS[tensor_type].columns > 1
