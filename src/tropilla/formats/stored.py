"""A tensor as a model file stores it: typed, shaped, still encoded, not copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tropilla.formats.mapped import drop_pages
from tropilla.formats.tensor_types import TensorType

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        from math import prod

        from tropilla.formats.dequantize import dequantize  # NumPy loads only where arrays are wanted

        return dequantize(self.type, self.data, prod(self.shape)).reshape(self.shape)

    def release(self) -> None:
        """Tell the system that this tensor's pages can leave memory until they are used again."""
        drop_pages(self.data, self.offset)
