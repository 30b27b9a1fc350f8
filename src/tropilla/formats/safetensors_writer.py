"""Write safetensors files, one tensor after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, BinaryIO

from tropilla.errors import UnsupportedError
from tropilla.formats.atomic import new_file
from tropilla.formats.safetensors import DTYPES, LENGTH_BYTES, METADATA_KEY
from tropilla.formats.stored import PlannedTensor, check_planned
from tropilla.formats.tensor_types import tensor_bytes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ALIGNMENT = 8
_NAMES = {tensor_type: name for name, tensor_type in DTYPES.items()}


class SafetensorsWriter:
    """Write a safetensors file whose tensors are announced first and then written in that order.

    Use it in a `with` block: the file appears under its name when the block ends well and not at all
    if it raises. Raises UnsupportedError for types that safetensors cannot hold.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        tensors: Sequence[PlannedTensor],
        metadata: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.path = Path(path)
        self._header = _encode_header(tensors, metadata)
        self._waiting = iter(tensors)
        self._files = ExitStack()
        self._file: BinaryIO | None = None

    def write(self, name: str, data: ReadableBuffer) -> None:
        """Write the bytes of the next announced tensor, which must have this name."""
        assert self._file is not None, "write() belongs in the with block"
        planned = next(self._waiting, None)
        check_planned(planned, name, memoryview(data).nbytes)
        self._file.write(data)

    def __enter__(self) -> SafetensorsWriter:
        self._file = self._files.enter_context(new_file(self.path))
        self._file.write(self._header)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            missing = next(self._waiting, None)
            if missing is not None:
                raise ValueError(f"tensor {missing.name!r} was announced but not written")


def _encode_header(tensors: Sequence[PlannedTensor], metadata: Mapping[str, str]) -> bytes:
    table: dict[str, object] = {METADATA_KEY: dict(metadata)} if metadata else {}
    for name, entry in _encode_entries(tensors):
        if name in table or name == METADATA_KEY:
            raise ValueError(f"tensor {name!r} is announced twice or has a reserved name")
        table[name] = entry
    encoded = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    encoded += b" " * (-len(encoded) % _ALIGNMENT)
    return len(encoded).to_bytes(LENGTH_BYTES, "little") + encoded


def _encode_entries(tensors: Sequence[PlannedTensor]) -> Iterator[tuple[str, dict[str, object]]]:
    begin = 0
    for tensor in tensors:
        if tensor.type not in _NAMES:
            raise UnsupportedError(
                f"safetensors cannot hold {tensor.type.name} tensors such as {tensor.name!r};"
                " dequantise them to F32, F16 or BF16"
            )
        end = begin + tensor_bytes(tensor.type, tensor.shape)
        yield (
            tensor.name,
            {
                "dtype": _NAMES[tensor.type],
                "shape": list(tensor.shape),
                "data_offsets": [begin, end],
            },
        )
        begin = end
