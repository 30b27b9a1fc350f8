"""Tensors on their way from a checkpoint into a file: one at a time, so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from tropilla.errors import UnsupportedError
from tropilla.events import Event, Progress
from tropilla.formats.stored import PlannedTensor
from tropilla.formats.tensor_types import TensorType, tensor_bytes
from tropilla.formats.tensors import LazyTensor
from tropilla.quant.encode import Encoding, encoder_pool


@dataclass(frozen=True, slots=True)
class Output:
    """Say under which name and in which type a tensor is written."""

    name: str
    type: TensorType
    tensor: LazyTensor

    @property
    def planned(self) -> PlannedTensor:
        """Return the announcement that writers ask for."""
        return PlannedTensor(self.name, self.type, self.tensor.shape)


class Writer(Protocol):
    """What takes tensors: the writers of GGUF, safetensors and torch archives."""

    def write(self, name: str, data: memoryview) -> None:
        """Write the encoded weights of the next announced tensor, which must have this name."""


def stream(writer: Writer, outputs: Sequence[Output], what: str) -> Iterator[Event]:
    """Read, encode and write tensor by tensor, saying after each how far the work has come.

    While one tensor is written, the next is being encoded.
    """
    total = sum(tensor_bytes(output.type, output.tensor.shape) for output in outputs)
    done = 0
    yield Progress(what=what, done=0, total=total, unit="bytes")
    with encoder_pool() as pool:
        for output, encoding in _one_ahead(outputs, pool):
            try:
                encoded = encoding.result()
            except UnsupportedError as error:
                raise UnsupportedError(f"{output.name}: {error}") from error
            writer.write(output.name, encoded)
            encoding.tensor.release()
            done += encoded.nbytes
            yield Progress(what=what, done=done, total=total, unit="bytes")


def _one_ahead(outputs: Sequence[Output], pool: Executor) -> Iterator[tuple[Output, Encoding]]:
    """Yield each output with its encoding once that of the next has been started."""
    waiting: tuple[Output, Encoding] | None = None
    for output in outputs:
        started = output, Encoding(output.tensor.read(), output.type, pool)
        if waiting is not None:
            yield waiting
        waiting = started
    if waiting is not None:
        yield waiting
