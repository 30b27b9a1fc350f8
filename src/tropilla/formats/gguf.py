"""Read GGUF files, versions 2 and 3, whole or split.

    magic "GGUF", u32 version, u64 n_tensors, u64 n_pairs
    n_pairs   * (string key, u32 kind, value)
    n_tensors * (string name, u32 n_dims, u64 dims[], u32 type, u64 offset)     dims: fastest first
    padding to general.alignment, then the tensors' data, each padded likewise

Nothing in the file is believed: every length and count is compared with the bytes that are left
before it is used, and the tensors must lie one after the other without gaps, as llama.cpp also asks.
Source: gguf.md of the ggml project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.gguf_cursor import HeaderCursor
from tropilla.formats.gguf_values import GGUFArray, Scalar, ValueKind
from tropilla.formats.mapped import MappedFile, release_view
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType, foreign_type, tensor_bytes

MAGIC = b"GGUF"
VERSION = 3
READABLE_VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 20
MAX_NAME_BYTES = 64
MAX_KEY_BYTES = 65_535
MAX_DIMS = 4

# Far beyond any real model; they bound the memory that the objects of a hostile header take.
MAX_PAIRS = 1 << 16
MAX_TENSORS = 1 << 17

# The fewest bytes that a pair and a tensor description can take: they bound the counts by the file.
_LEAST_PAIR_BYTES = 8 + 1 + 4 + 1
_LEAST_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8

_OLD_MAGICS = {b"lmgg": "GGML", b"fmgg": "GGMF", b"tjgg": "GGJT"}
_SPLIT_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def pad(size: int, alignment: int) -> int:
    """Return size rounded up to a multiple of alignment."""
    return -(-size // alignment) * alignment


def split_name(stem: str, number: int, count: int) -> str:
    """Return the file name of one part of a split model; parts are counted from 1."""
    return f"{stem}-{number:05}-of-{count:05}.gguf"


class GGUFFile:
    """Open a GGUF file, with all its parts if it is split; its tensors are slices of the mapped file.

    metadata maps keys to int, float, bool, str or GGUFArray (decoded on access); kinds maps the same
    keys to how the file spells them. tensors maps names to StoredTensor in the file's order.
    After close() the tensors' data and the arrays of the metadata can no longer be used; memory that
    NumPy arrays still look at stays mapped until they are gone.
    Raises FormatError on damage, UnsupportedError on versions and types that Tropilla does not read.
    """

    version: int
    metadata: Mapping[str, Scalar | GGUFArray]
    kinds: Mapping[str, ValueKind]
    tensors: Mapping[str, StoredTensor]

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._parts: list[_Part] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        first = self._add_part(self.path)
        self.version = first.version
        self.metadata = MappingProxyType(first.metadata)
        self.kinds = MappingProxyType(first.kinds)
        tensors = dict(first.tensors)
        for path in self._further_parts():
            part = self._add_part(path)
            for name, tensor in part.tensors.items():
                if name in tensors:
                    raise FormatError(path, f"tensor {name!r} is also in an earlier part")
                tensors[name] = tensor
        self.tensors = MappingProxyType(tensors)
        self._check_tensor_count()

    def _add_part(self, path: Path) -> _Part:
        part = _Part(path)
        self._parts.append(part)
        return part

    def _further_parts(self) -> list[Path]:
        count = self._split_number("split.count")
        if count is None or count <= 1:
            return []
        name = _SPLIT_NAME.fullmatch(self.path.name)
        if name is None or int(name["count"]) != count:
            raise FormatError(
                self.path,
                f"is one of {count} parts, so its name must end in -00001-of-{count:05}.gguf",
            )
        siblings = [
            self.path.with_name(f"{name['stem']}-{i:05}-of-{count:05}.gguf") for i in range(1, count + 1)
        ]
        if int(name["number"]) != 1:
            raise FormatError(self.path, f"is a later part of a split file; open {siblings[0].name}")
        return siblings[1:]

    def _check_tensor_count(self) -> None:
        count = self._split_number("split.tensors.count")
        if count is not None and count != len(self.tensors):
            raise FormatError(
                self.path, f"split.tensors.count is {count} but the parts hold {len(self.tensors)} tensors"
            )

    def _split_number(self, key: str) -> int | None:
        number = self.metadata.get(key)
        if number is not None and type(number) is not int:
            raise FormatError(self.path, f"{key} is {number!r}, expected a whole number")
        return number

    @property
    def size_bytes(self) -> int:
        """Return the size of all parts together."""
        return sum(part.size_bytes for part in self._parts)

    @property
    def paths(self) -> list[Path]:
        """Return the paths of all parts, in order."""
        return [part.path for part in self._parts]

    def close(self) -> None:
        """Give the mapped files back."""
        for part in self._parts:
            part.close()

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _TensorInfo(NamedTuple):
    name: str
    type: TensorType
    shape: tuple[int, ...]
    offset: int
    size_bytes: int


class _Part:
    """One file of a possibly split model."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metadata: dict[str, Scalar | GGUFArray] = {}
        self.kinds: dict[str, ValueKind] = {}
        self.tensors: dict[str, StoredTensor] = {}
        self._file = MappedFile(path)
        self.size_bytes = self._file.size_bytes
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        cursor = HeaderCursor(self.path, self._file.view)
        self.version = _read_version(cursor)
        n_tensors = _read_count(cursor, "tensors", _LEAST_TENSOR_BYTES, MAX_TENSORS)
        n_pairs = _read_count(cursor, "metadata pairs", _LEAST_PAIR_BYTES, MAX_PAIRS)
        for _ in range(n_pairs):
            self._read_pair(cursor)
        alignment = self._alignment()
        infos = [_read_tensor_info(cursor) for _ in range(n_tensors)]
        self._place_tensors(infos, pad(cursor.position, alignment), alignment)

    def _read_pair(self, cursor: HeaderCursor) -> None:
        key = cursor.string("a metadata key", MAX_KEY_BYTES)
        if not key:
            raise cursor.fail("a metadata key is empty; the file is damaged")
        if key in self.metadata:
            raise cursor.fail(f"the metadata key {key!r} appears twice; the file is damaged")
        self.kinds[key] = cursor.kind(key)
        self.metadata[key] = cursor.value(self.kinds[key], key)

    def _alignment(self) -> int:
        alignment = self.metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
        if self.kinds.get(ALIGNMENT_KEY, ValueKind.UINT32) is not ValueKind.UINT32:
            raise FormatError(
                self.path, f"{ALIGNMENT_KEY} is a {self.kinds[ALIGNMENT_KEY].name}, expected UINT32"
            )
        assert isinstance(alignment, int)
        if not 8 <= alignment <= MAX_ALIGNMENT or alignment.bit_count() != 1:
            raise FormatError(
                self.path,
                f"{ALIGNMENT_KEY} is {alignment}, expected a power of two from 8 to {MAX_ALIGNMENT}",
            )
        return alignment

    def _place_tensors(self, infos: list[_TensorInfo], data_start: int, alignment: int) -> None:
        expected = 0
        for info in infos:
            if info.name in self.tensors:
                raise FormatError(self.path, f"tensor {info.name!r} appears twice; the file is damaged")
            if info.offset != expected:
                raise FormatError(
                    self.path,
                    f"tensor {info.name!r} begins at byte {info.offset} of the data, expected {expected}"
                    " right after the one before; the file is damaged",
                )
            self.tensors[info.name] = self._slice(info, data_start + info.offset)
            expected += pad(info.size_bytes, alignment)

    def _slice(self, info: _TensorInfo, start: int) -> StoredTensor:
        end = start + info.size_bytes
        if end > self.size_bytes:
            raise FormatError(
                self.path,
                f"tensor {info.name!r} ends at byte {end} but the file has {self.size_bytes};"
                " it is cut off, get it again",
                start,
            )
        return StoredTensor(info.name, info.type, info.shape, self._file.view[start:end], start)

    def close(self) -> None:
        for tensor in self.tensors.values():
            release_view(tensor.data)
        for value in self.metadata.values():
            if isinstance(value, GGUFArray):
                release_view(value.raw)
        self._file.close()


def _read_version(cursor: HeaderCursor) -> int:
    magic = bytes(cursor.view[: len(MAGIC)])
    if magic in _OLD_MAGICS:
        raise UnsupportedError(
            f"{cursor.path}: is a {_OLD_MAGICS[magic]} file from before August 2023;"
            " convert it to GGUF with a llama.cpp of that autumn, or get the model as GGUF"
        )
    if magic != MAGIC:
        raise cursor.fail(f"is not a GGUF file: it begins with {magic!r}, expected {MAGIC!r}")
    cursor.take(len(MAGIC), "the magic")
    version = cursor.number(ValueKind.UINT32, "the version")
    if version in READABLE_VERSIONS:
        return version
    if int.from_bytes(version.to_bytes(4, "little"), "big") in READABLE_VERSIONS:
        raise UnsupportedError(
            f"{cursor.path}: is a big-endian GGUF file; Tropilla reads little-endian ones, get that variant"
        )
    raise UnsupportedError(
        f"{cursor.path}: is GGUF version {version}; Tropilla reads versions 2 and 3, convert it anew"
    )


def _read_count(cursor: HeaderCursor, what: str, least_bytes: int, at_most: int) -> int:
    count = cursor.number(ValueKind.UINT64, f"the number of {what}")
    if count * least_bytes > cursor.left:
        raise cursor.fail(
            f"the header announces {count} {what}, more than fit in the {cursor.left} bytes that follow;"
            " the file is cut off or damaged"
        )
    if count > at_most:
        raise cursor.fail(f"the header announces {count} {what}, at most {at_most} are allowed")
    return count


def _read_tensor_info(cursor: HeaderCursor) -> _TensorInfo:
    name = cursor.string("a tensor name", MAX_NAME_BYTES)
    if not name:
        raise cursor.fail("a tensor name is empty; the file is damaged")
    n_dims = cursor.number(ValueKind.UINT32, f"the number of dimensions of {name!r}")
    if not 1 <= n_dims <= MAX_DIMS:
        raise cursor.fail(f"tensor {name!r} has {n_dims} dimensions, expected 1 to {MAX_DIMS}")
    dims = [cursor.number(ValueKind.UINT64, f"a dimension of {name!r}") for _ in range(n_dims)]
    shape = tuple(reversed(dims))
    if 0 in shape:
        raise cursor.fail(f"tensor {name!r} has the shape {shape}, expected no dimension of 0")
    tensor_type = _read_type(cursor, name)
    offset = cursor.number(ValueKind.UINT64, f"the offset of {name!r}")
    try:
        return _TensorInfo(name, tensor_type, shape, offset, tensor_bytes(tensor_type, shape))
    except ValueError as error:
        raise cursor.fail(f"tensor {name!r}: {error}") from error


def _read_type(cursor: HeaderCursor, name: str) -> TensorType:
    type_id = cursor.number(ValueKind.UINT32, f"the type of {name!r}")
    try:
        return TensorType(type_id)
    except ValueError:
        meaning = foreign_type(type_id)
    if meaning is None:
        raise cursor.fail(f"tensor {name!r} is of the unknown type {type_id}; the file is newer or damaged")
    raise UnsupportedError(
        f"{cursor.path}: tensor {name!r} is of type {meaning}; get the model in another quantization"
    )
