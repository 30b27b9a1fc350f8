"""Read the zip archive that torch.save writes: its tensors are mapped, nothing in it is run."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from tropilla.errors import FormatError, UnsupportedError
from tropilla.formats.mapped import MappedFile
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType
from tropilla.formats.torch_pickle import PickledTensor, read_tensors

_TYPES = {
    "FloatStorage": TensorType.F32,
    "HalfStorage": TensorType.F16,
    "BFloat16Storage": TensorType.BF16,
    "DoubleStorage": TensorType.F64,
}
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of name, length of extra field
_LOCAL_SIGNATURE = b"PK\x03\x04"
_ENCRYPTED = 0x1


class TorchArchive:
    """Present a `.pth` or `.pt` file's tensors of type F32, F16, BF16 and F64, memory-mapped.

    Raises FormatError for a damaged archive, UnsupportedError for one in another of torch's layouts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = MappedFile(path)
        try:
            self._members = _members(path, self._file.view)
            pickled = read_tensors(path, bytes(self._member("data.pkl")))
            self._check_byte_order()
            self.tensors: Mapping[str, StoredTensor] = MappingProxyType(
                {
                    name: self._stored(name, tensor)
                    for name, tensor in pickled.items()
                    if tensor.storage.kind in _TYPES
                }
            )
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Unmap the file."""
        self._file.close()

    def _member(self, name: str) -> memoryview:
        if name not in self._members:
            raise FormatError(self.path, f"the archive lacks {name!r}; it is cut off or no checkpoint")
        start, size = self._members[name]
        return self._file.view[start : start + size]

    def _check_byte_order(self) -> None:
        if "byteorder" in self._members and bytes(self._member("byteorder")) != b"little":
            raise UnsupportedError(f"{self.path}: its numbers are big-endian; save it on an ordinary machine")

    def _stored(self, name: str, tensor: PickledTensor) -> StoredTensor:
        tensor_type = _TYPES[tensor.storage.kind]
        item_bytes = BLOCKS[tensor_type].bytes
        storage = self._member("data/" + tensor.storage.key)
        if storage.nbytes < tensor.storage.n_items * item_bytes:
            raise FormatError(
                self.path,
                f"{name} lies in {storage.nbytes} bytes, expected {tensor.storage.n_items * item_bytes}",
            )
        start = tensor.offset * item_bytes
        return StoredTensor(
            name=name,
            type=tensor_type,
            shape=tensor.shape,
            data=storage[start : start + math.prod(tensor.shape) * item_bytes],
            offset=self._members["data/" + tensor.storage.key][0] + start,
        )


def _members(path: Path, view: memoryview) -> dict[str, tuple[int, int]]:
    """Return where each member's bytes lie, by its name below the archive's one folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OSError) as error:
        raise FormatError(
            path, f"is not a zip archive as torch.save writes it since version 1.6, or is cut off ({error})"
        ) from error
    members: dict[str, tuple[int, int]] = {}
    for entry in entries:
        _, _, name = entry.filename.partition("/")
        if name in members:
            raise FormatError(path, f"the archive has two members {name!r}")
        members[name] = _locate(path, view, entry)
    return members


def _locate(path: Path, view: memoryview, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Return a member's place, checked against the file; compressed members are refused."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED:
        raise UnsupportedError(f"{path}: member {entry.filename!r} is compressed or encrypted")
    header = entry.header_offset
    if header < 0 or header + _LOCAL_HEADER.size > len(view):
        raise FormatError(path, f"member {entry.filename!r} begins outside the file", header)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack_from(view, header)
    start = header + _LOCAL_HEADER.size + name_length + extra_length
    if signature != _LOCAL_SIGNATURE or start + entry.file_size > len(view):
        raise FormatError(path, f"member {entry.filename!r} is damaged or leaves the file", header)
    return start, entry.file_size
