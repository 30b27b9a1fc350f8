"""Write the archive that torch.load reads: a zip of raw numbers and a small pickle that names them.

The pickle is put together from the few steps that a dictionary of tensors needs; step codes:
pickletools in the standard library, protocol 2.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import accumulate
from math import prod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tropilla.formats.atomic import new_file
from tropilla.formats.stored import PlannedTensor
from tropilla.formats.tensor_types import TensorType, tensor_bytes

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STORAGES = {
    TensorType.F32: b"FloatStorage",
    TensorType.F16: b"HalfStorage",
    TensorType.BF16: b"BFloat16Storage",
}
_ROOT = "archive/"


class TorchWriter:
    """Write a `.pth` file whose tensors are announced first and then written in that order.

    Use it in a `with` block: the file appears under its name when the block ends well and not at all
    if it raises. The types must be F32, F16 or BF16.
    """

    def __init__(self, path: Path, tensors: Sequence[PlannedTensor]) -> None:
        self._path = path
        self._tensors = tensors
        self._waiting = iter(enumerate(tensors))
        self._files = ExitStack()
        self._archive: zipfile.ZipFile | None = None

    def write(self, name: str, data: ReadableBuffer) -> None:
        """Write the numbers of the next announced tensor, which must have this name."""
        assert self._archive is not None, "write() belongs in the with block"
        key, planned = next(self._waiting, (0, None))
        view = memoryview(data).cast("B")
        if planned is None or planned.name != name:
            raise ValueError(f"the next tensor is {planned and planned.name!r}, not {name!r}")
        if view.nbytes != tensor_bytes(planned.type, planned.shape):
            raise ValueError(f"tensor {name!r} of {planned.shape} does not take {view.nbytes} bytes")
        with self._archive.open(zipfile.ZipInfo(f"{_ROOT}data/{key}"), "w", force_zip64=True) as member:
            member.write(view)

    def __enter__(self) -> TorchWriter:
        file = self._files.enter_context(new_file(self._path))
        self._archive = self._files.enter_context(zipfile.ZipFile(file, "w", zipfile.ZIP_STORED))
        members = {"data.pkl": _index(self._tensors), "byteorder": b"little", "version": b"3\n"}
        for name, content in members.items():
            self._archive.writestr(zipfile.ZipInfo(_ROOT + name), content)
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
                raise ValueError(f"tensor {missing[1].name!r} was announced but not written")


def _index(tensors: Sequence[PlannedTensor]) -> bytes:
    """Return the pickle of a dictionary from names to tensors, each in a storage of its own."""
    items = (_text(tensor.name) + _tensor(key, tensor) for key, tensor in enumerate(tensors))
    return b"\x80\x02}(" + b"".join(items) + b"u."


def _tensor(key: int, tensor: PlannedTensor) -> bytes:
    strides = list(accumulate(tensor.shape[:0:-1], int.__mul__, initial=1))[::-1]
    storage = b"(" + _text("storage") + b"ctorch\n" + _STORAGES[tensor.type] + b"\n"
    storage += _text(str(key)) + _text("cpu") + _number(prod(tensor.shape)) + b"tQ"
    empty_hooks = b"ccollections\nOrderedDict\n)R"
    arguments = storage + _number(0) + _tuple(tensor.shape) + _tuple(strides) + b"\x89" + empty_hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def _tuple(numbers: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(_number, numbers)) + b"t"


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _number(number: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", number)
