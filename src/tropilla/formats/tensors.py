"""A model's tensors under Tropilla's names, their bytes read or rearranged only when asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tropilla.errors import FormatError
from tropilla.formats.rotary_rows import interleave_rows, is_rotated, split_rows
from tropilla.formats.stored import StoredTensor

if TYPE_CHECKING:
    from tropilla.formats.tensor_types import TensorType


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """Know a tensor's type and shape now and get at its bytes later.

    shape: row-major. `read` returns the rows one after the other, row-major, in the type's layout.
    """

    type: TensorType
    shape: tuple[int, ...]
    read: Callable[[], StoredTensor]

    @property
    def n_weights(self) -> int:
        """Return the number of weights."""
        return math.prod(self.shape)


class Tensors(Mapping[str, StoredTensor]):
    """Map Tropilla's tensor names to tensors; `layouts` gives types and shapes without reading."""

    def __init__(self, layouts: Mapping[str, LazyTensor]) -> None:
        self.layouts = layouts

    def __getitem__(self, name: str) -> StoredTensor:
        return self.layouts[name].read()

    def __contains__(self, name: object) -> bool:
        return name in self.layouts  # the inherited test would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.layouts)

    def __len__(self) -> int:
        return len(self.layouts)


def as_stored(name: str, tensor: StoredTensor) -> LazyTensor:
    """Give a tensor that needs no rearranging its name; its bytes stay where they are."""
    renamed = replace(tensor, name=name)
    return LazyTensor(tensor.type, tensor.shape, lambda: renamed)


def from_half_split(path: Path, name: str, tensor: StoredTensor, head_dim: int) -> LazyTensor:
    """Give a tensor of a half-split source its name; rotated rows are interleaved when read.

    Raises FormatError, naming path, for a rotated tensor whose rows are no whole heads.
    """
    if not is_rotated(name):
        return as_stored(name, tensor)
    if head_dim % 2 or len(tensor.shape) not in (1, 2) or not tensor.shape[0] or tensor.shape[0] % head_dim:
        raise FormatError(path, f"{name} has shape {tensor.shape}, expected whole heads of {head_dim} rows")
    row_bytes = tensor.data.nbytes // tensor.shape[0]

    def read() -> StoredTensor:
        data = interleave_rows(tensor.data, head_dim=head_dim, row_bytes=row_bytes)
        return StoredTensor(name=name, type=tensor.type, shape=tensor.shape, data=data)

    return LazyTensor(tensor.type, tensor.shape, read)


def to_half_split(name: str, tensor: LazyTensor, head_dim: int) -> LazyTensor:
    """Turn a tensor back to the half-split order for a target that keeps it; others stay as they are."""
    if not is_rotated(name):
        return tensor

    def read() -> StoredTensor:
        stored = tensor.read()
        row_bytes = stored.data.nbytes // stored.shape[0]
        return replace(stored, data=split_rows(stored.data, head_dim=head_dim, row_bytes=row_bytes), offset=0)

    return LazyTensor(tensor.type, tensor.shape, read)
