"""Read safetensors files.

    u64 header length, JSON header, data
    header: {"__metadata__": {string: string}, NAME: {"dtype", "shape", "data_offsets": [begin, end]}}

Nothing in the file is believed: the header's size and shape are checked, and the tensors must cover the
data exactly, without gaps or overlaps. Source: the format's description in the safetensors project.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, NoReturn

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.mapped import MappedFile, release_view
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType

LENGTH_BYTES = 8
METADATA_KEY = "__metadata__"
# A model of 50 000 tensors has a header of 6 MB. The limit bounds what its JSON can take in memory.
MAX_HEADER_BYTES = 8 << 20
MAX_DIMS = 8

DTYPES = {
    "F64": TensorType.F64,
    "F32": TensorType.F32,
    "F16": TensorType.F16,
    "BF16": TensorType.BF16,
    "I64": TensorType.I64,
    "I32": TensorType.I32,
    "I16": TensorType.I16,
    "I8": TensorType.I8,
}
_UNREAD_DTYPES = {
    "BOOL", "U8", "U16", "U32", "U64", "C64",
    "F4", "F6_E2M3", "F6_E3M2", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
}  # fmt: skip


class SafetensorsFile:
    """Open a safetensors file; its tensors are slices of the mapped file.

    metadata is the file's own table of strings; tensors maps names to StoredTensor in the order of
    their data. After close() their data can no longer be used; memory that NumPy arrays still look at
    stays mapped until they are gone.
    Raises FormatError on damage, UnsupportedError on dtypes that Tropilla does not read.
    """

    metadata: Mapping[str, str]
    tensors: Mapping[str, StoredTensor]

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._tensors: dict[str, StoredTensor] = {}
        self._file = MappedFile(path)
        self.size_bytes = self._file.size_bytes
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        header = _read_header(self._file)
        self.metadata = MappingProxyType(_check_metadata(self.path, header.table.pop(METADATA_KEY, {})))
        entries = [_check_entry(self.path, name, entry) for name, entry in header.table.items()]
        entries.sort(key=lambda entry: (entry.begin, entry.end))
        _check_coverage(self.path, entries, self.size_bytes - header.end)
        for entry in entries:
            self._tensors[entry.name] = self._slice(entry, header.end)
        self.tensors = MappingProxyType(self._tensors)

    def _slice(self, entry: _Entry, data_start: int) -> StoredTensor:
        start = data_start + entry.begin
        data = self._file.view[start : data_start + entry.end]
        return StoredTensor(entry.name, entry.type, entry.shape, data, start)

    def close(self) -> None:
        """Give the mapped file back."""
        for tensor in self._tensors.values():
            release_view(tensor.data)
        self._file.close()

    def __enter__(self) -> SafetensorsFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Header(NamedTuple):
    table: dict[str, object]
    end: int


class _Entry(NamedTuple):
    name: str
    type: TensorType
    shape: tuple[int, ...]
    begin: int
    end: int


def _read_header(file: MappedFile) -> _Header:
    if file.size_bytes < LENGTH_BYTES:
        raise FormatError(file.path, f"has {file.size_bytes} bytes, too few for a safetensors file")
    length = int.from_bytes(file.view[:LENGTH_BYTES], "little")
    end = LENGTH_BYTES + length
    if length > MAX_HEADER_BYTES:
        raise FormatError(
            file.path,
            f"announces a header of {length} bytes, at most {MAX_HEADER_BYTES} are allowed;"
            " it is no safetensors file or damaged",
            0,
        )
    if end > file.size_bytes:
        raise FormatError(
            file.path, f"announces a header of {length} bytes but has only {file.size_bytes} in all", 0
        )
    return _Header(_parse_header(file.path, bytes(file.view[LENGTH_BYTES:end])), end)


def _parse_header(path: Path, encoded: bytes) -> dict[str, object]:
    if not encoded.startswith(b"{"):
        raise FormatError(path, f"the header begins with {encoded[:1]!r}, expected '{{'", LENGTH_BYTES)
    try:
        table = json.loads(
            encoded, object_pairs_hook=_unique_keys, parse_float=_refuse, parse_constant=_refuse
        )
    except (ValueError, RecursionError) as error:  # bad UTF-8 and bad JSON are both ValueErrors
        raise FormatError(path, f"the header is not valid: {error}", LENGTH_BYTES) from error
    assert isinstance(table, dict)
    return table


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"the key {key!r} appears twice")
        key.encode()  # raises on half a surrogate pair, which JSON can spell but no file can hold
        table[key] = value
    return table


def _refuse(number: str) -> NoReturn:
    raise ValueError(f"{number} is not a whole number")


def _check_metadata(path: Path, metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(_is_text(value) for value in metadata.values()):
        raise FormatError(path, f"{METADATA_KEY} is not a table of strings", LENGTH_BYTES)
    return metadata


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _check_entry(path: Path, name: str, entry: object) -> _Entry:
    def fail(message: str) -> NoReturn:
        raise FormatError(path, f"tensor {name!r} {message}; the file is damaged", LENGTH_BYTES)

    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        fail("is not described by dtype, shape and data_offsets")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_sizes(shape) or len(shape) > MAX_DIMS:
        fail(f"has a shape that is not a list of at most {MAX_DIMS} whole numbers")
    if not _are_sizes(offsets) or len(offsets) != 2:
        fail("has data_offsets that are not two whole numbers")
    tensor_type = _read_dtype(path, name, entry["dtype"])
    begin, end = offsets
    size = prod(shape) * BLOCKS[tensor_type].bytes
    if end - begin != size:
        fail(f"of shape {tuple(shape)} and {tensor_type.name} takes {size} bytes, not {end - begin}")
    return _Entry(name, tensor_type, tuple(shape), begin, end)


def _are_sizes(numbers: object) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in numbers)


def _read_dtype(path: Path, name: str, dtype: object) -> TensorType:
    if isinstance(dtype, str) and dtype in DTYPES:
        return DTYPES[dtype]
    if isinstance(dtype, str) and dtype in _UNREAD_DTYPES:
        raise UnsupportedError(
            f"{path}: tensor {name!r} is of dtype {dtype}, which Tropilla does not read;"
            f" it reads {', '.join(DTYPES)}"
        )
    raise FormatError(
        path, f"tensor {name!r} has an unknown dtype; the file is newer or damaged", LENGTH_BYTES
    )


def _check_coverage(path: Path, entries: list[_Entry], data_bytes: int) -> None:
    """Check that entries, sorted by place, follow one another from the first byte of the data to the last."""
    covered = 0
    for entry in entries:
        if entry.begin != covered:
            kind = "overlaps the one before" if entry.begin < covered else "leaves a gap before it"
            raise FormatError(
                path, f"tensor {entry.name!r} begins at byte {entry.begin} of the data and {kind}"
            )
        covered = entry.end
    if covered != data_bytes:
        raise FormatError(
            path,
            f"the tensors take {covered} bytes but the file holds {data_bytes}; it is cut off or damaged",
        )
