"""Call kernels by name on arrays: natively, or in an emulator of another CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tropilla import _native

Array = NDArray[Any]


class Runner(Protocol):
    """One instruction set's kernels."""

    isa: str

    def __call__(self, kernel: str, numbers: Sequence[float], arrays: Sequence[Array]) -> None:
        """Call `kernel`; what it writes is in `arrays` afterwards, and in the arrays they are views of."""


class NativeRunner:
    """Kernels of an instruction set that this CPU has."""

    def __init__(self, isa: str) -> None:
        self.isa = isa

    def __call__(self, kernel: str, numbers: Sequence[float], arrays: Sequence[Array]) -> None:
        _native.call_kernel(self.isa, kernel, list(numbers), list(arrays))


class Canaried:
    """An output array, unaligned and with a margin of marked bytes on both sides."""

    MARGIN = 68  # a whole vector and one float: the array itself is then unaligned
    MARK = 0xA5

    def __init__(self, shape: tuple[int, ...], dtype: type) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.bytes = np.full(size + 2 * self.MARGIN, self.MARK, np.uint8)
        self.array: Array = self.bytes[self.MARGIN : self.MARGIN + size].view(dtype).reshape(shape)

    def check(self) -> None:
        """Fail if anything wrote beside the array."""
        assert (self.bytes[: self.MARGIN] == self.MARK).all(), "written before the array"
        assert (self.bytes[-self.MARGIN :] == self.MARK).all(), "written behind the array"


def unaligned(array: Array) -> Array:
    """Return a copy whose address is a multiple of its item size and of no vector's."""
    room = Canaried(array.shape, array.dtype.type)
    room.array[...] = array
    return room.array
