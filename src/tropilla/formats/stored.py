"""A tensor as a model file stores it: typed, shaped, still encoded, not copied."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from tropilla.formats.mapped import drop_pages
from tropilla.formats.tensor_types import TensorType, tensor_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class PlannedTensor(NamedTuple):
    """Announce a tensor that a writer will be given; shape is row-major."""

    name: str
    type: TensorType
    shape: tuple[int, ...]


def check_planned(planned: PlannedTensor | None, name: str, size_bytes: int) -> None:
    """Raise ValueError unless the next planned tensor has this name and this encoded size."""
    if planned is None or planned.name != name:
        raise ValueError(f"the next tensor is {planned and planned.name!r}, not {name!r}")
    expected = tensor_bytes(planned.type, planned.shape)
    if size_bytes != expected:
        raise ValueError(f"tensor {name!r} takes {expected} bytes, got {size_bytes}")


@dataclass(frozen=True)
class StoredTensor:
    """Hold one tensor's encoded bytes.

    shape is row-major: (rows = outputs, columns = inputs) for a matrix.
    data is usually a slice of the mapped file, offset its place there.
    """

    name: str
    type: TensorType
    shape: tuple[int, ...]
    data: memoryview
    offset: int = 0

    @property
    def size_bytes(self) -> int:
        """Return the encoded size."""
        return self.data.nbytes

    def to_float32(self) -> NDArray[np.float32]:
        """Return the weights dequantised, in a new array of this tensor's shape.

        Raises UnsupportedError for the types that Tropilla does not dequantise.
        """
        from tropilla.formats.dequantize import dequantize  # NumPy loads only where arrays are wanted

        return dequantize(self.type, self.data, prod(self.shape)).reshape(self.shape)

    def release(self) -> None:
        """Tell the system that this tensor's pages can leave memory until they are used again."""
        drop_pages(self.data, self.offset)
