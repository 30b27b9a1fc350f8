"""Write GGUF version 3 files, whole or split, one tensor after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from tropilla.formats.atomic import new_file
from tropilla.formats.gguf import (
    ALIGNMENT_KEY,
    DEFAULT_ALIGNMENT,
    MAGIC,
    MAX_DIMS,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    VERSION,
    pad,
    split_name,
)
from tropilla.formats.gguf_encoding import encode_number, encode_string, encode_value
from tropilla.formats.gguf_values import ValueKind
from tropilla.formats.stored import PlannedTensor, check_planned
from tropilla.formats.tensor_types import tensor_bytes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MAX_PARTS = 99_999


class _Part(NamedTuple):
    path: Path
    metadata: Mapping[str, object]
    kinds: Mapping[str, ValueKind]
    tensors: Sequence[PlannedTensor]


class GGUFWriter:
    """Write a model whose tensors are announced first and then written in that order.

    Use it in a `with` block: the files appear under their names when the block ends well and not at
    all if it raises. metadata values are int, float, bool, str, GGUFArray or a sequence of one of the
    first four or bytes; kinds says how to store a value, or the items of a sequence, where the
    smallest of UINT32, INT32, UINT64, INT64 for whole numbers and FLOAT32 for others is not meant.
    max_part_bytes splits the model into parts that hold at most that much, named as llama.cpp does.
    Raises ValueError on a plan that no GGUF file can hold, FormatError if the disk refuses.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        metadata: Mapping[str, object],
        tensors: Sequence[PlannedTensor],
        *,
        kinds: Mapping[str, ValueKind] = MappingProxyType({}),
        max_part_bytes: int | None = None,
    ) -> None:
        self._alignment = _alignment(metadata)
        _check_tensors(tensors)
        groups = _split(tensors, max_part_bytes, self._alignment)
        self._parts = list(_parts(Path(path), metadata, kinds, groups))
        self._headers = [_header(part, self._alignment) for part in self._parts]
        self._files = ExitStack()
        self._places: Iterator[tuple[PlannedTensor, BinaryIO]] = iter(())

    @property
    def paths(self) -> list[Path]:
        """Return the paths of the files that are written."""
        return [part.path for part in self._parts]

    def write(self, name: str, data: ReadableBuffer) -> None:
        """Write the encoded weights of the next announced tensor, which must have this name."""
        planned, file = next(self._places, (None, None))
        size_bytes = memoryview(data).nbytes
        check_planned(planned, name, size_bytes)
        assert file is not None
        file.write(data)
        file.write(bytes(pad(size_bytes, self._alignment) - size_bytes))

    def __enter__(self) -> GGUFWriter:
        self._places = self._open_parts()
        return self

    def _open_parts(self) -> Iterator[tuple[PlannedTensor, BinaryIO]]:
        for part, header in zip(self._parts, self._headers, strict=True):
            file = self._files.enter_context(new_file(part.path))
            file.write(header)
            for tensor in part.tensors:
                yield tensor, file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files:  # closes in reverse: the first part, which readers look for, appears last
            missing = next(self._places, None)
            if missing is not None:
                raise ValueError(f"tensor {missing[0].name!r} was announced but not written")


def _alignment(metadata: Mapping[str, object]) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    if type(alignment) is not int or alignment < 8 or alignment.bit_count() != 1:
        raise ValueError(f"{ALIGNMENT_KEY} is {alignment!r}, expected a power of two from 8")
    return alignment


def _check_tensors(tensors: Sequence[PlannedTensor]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if not 0 < len(tensor.name.encode()) <= MAX_NAME_BYTES:
            raise ValueError(f"tensor name {tensor.name!r} must have 1 to {MAX_NAME_BYTES} bytes")
        if tensor.name in seen:
            raise ValueError(f"tensor {tensor.name!r} is announced twice")
        if not 1 <= len(tensor.shape) <= MAX_DIMS or min(tensor.shape) < 1:
            raise ValueError(f"tensor {tensor.name!r} has the shape {tensor.shape}, which GGUF cannot hold")
        seen.add(tensor.name)


def _split(
    tensors: Sequence[PlannedTensor], max_part_bytes: int | None, alignment: int
) -> list[list[PlannedTensor]]:
    """Group tensors in order so that each group takes at most max_part_bytes, or is a single tensor."""
    groups: list[list[PlannedTensor]] = [[]]
    filled = 0
    for tensor in tensors:
        size = pad(tensor_bytes(tensor.type, tensor.shape), alignment)
        if groups[-1] and max_part_bytes is not None and filled + size > max_part_bytes:
            groups.append([])
            filled = 0
        groups[-1].append(tensor)
        filled += size
    return groups


def _parts(
    path: Path,
    metadata: Mapping[str, object],
    kinds: Mapping[str, ValueKind],
    groups: list[list[PlannedTensor]],
) -> Iterator[_Part]:
    own = {key: value for key, value in metadata.items() if not key.startswith("split.")}
    if len(groups) == 1:
        yield _Part(path, own, kinds, groups[0])
        return
    if len(groups) > _MAX_PARTS:
        raise ValueError(f"the model would have {len(groups)} parts; allow larger ones")
    split_kinds = {"split.no": ValueKind.UINT16, "split.count": ValueKind.UINT16}
    split_kinds["split.tensors.count"] = ValueKind.INT32
    n_tensors = sum(len(group) for group in groups)
    for number, group in enumerate(groups):
        split = {"split.no": number, "split.count": len(groups), "split.tensors.count": n_tensors}
        shared = own if number == 0 else {key: own[key] for key in (ALIGNMENT_KEY,) if key in own}
        name = split_name(path.name.removesuffix(".gguf"), number + 1, len(groups))
        yield _Part(path.with_name(name), {**shared, **split}, {**kinds, **split_kinds}, group)


def _header(part: _Part, alignment: int) -> bytes:
    header = bytearray(MAGIC)
    header += encode_number(ValueKind.UINT32, VERSION)
    header += encode_number(ValueKind.UINT64, len(part.tensors))
    header += encode_number(ValueKind.UINT64, len(part.metadata))
    for key, value in part.metadata.items():
        if not 0 < len(key.encode()) <= MAX_KEY_BYTES:
            raise ValueError(f"metadata key {key!r} must have 1 to {MAX_KEY_BYTES} bytes")
        try:
            header += encode_string(key) + encode_value(value, part.kinds.get(key))
        except ValueError as error:
            raise ValueError(f"metadata key {key!r}: {error}") from error
    offset = 0
    for tensor in part.tensors:
        header += _tensor_info(tensor, offset)
        offset += pad(tensor_bytes(tensor.type, tensor.shape), alignment)
    return bytes(header.ljust(pad(len(header), alignment), b"\0"))


def _tensor_info(tensor: PlannedTensor, offset: int) -> bytes:
    return b"".join(
        [
            encode_string(tensor.name),
            encode_number(ValueKind.UINT32, len(tensor.shape)),
            *(encode_number(ValueKind.UINT64, size) for size in reversed(tensor.shape)),
            encode_number(ValueKind.UINT32, tensor.type),
            encode_number(ValueKind.UINT64, offset),
        ]
    )
