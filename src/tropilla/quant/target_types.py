"""Which type each tensor gets in the file that is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from tropilla.errors import OptionError, UnsupportedError
from tropilla.formats.tensor_types import BLOCKS, TensorType
from tropilla.options import suggestion

FLOAT_TYPES = (TensorType.F32, TensorType.F16, TensorType.BF16)
# The types that rounding to nearest can write, and the number by which general.file_type calls a file of
# each (llama.h, enum llama_ftype).
FILE_TYPES: Mapping[TensorType, int] = {
    TensorType.F32: 0,
    TensorType.F16: 1,
    TensorType.Q4_0: 2,
    TensorType.Q4_1: 3,
    TensorType.Q8_0: 7,
    TensorType.Q5_0: 8,
    TensorType.Q5_1: 9,
    TensorType.BF16: 32,
}


def type_by_name(name: str) -> TensorType:
    """Return the type that a user names; raises an error with the choices for others."""
    choices = ", ".join(kind.name for kind in FILE_TYPES)
    known = {kind.name.lower(): kind for kind in TensorType}
    found = known.get(name.lower())
    if found is not None and found in FILE_TYPES:
        return found
    if found is not None:
        raise UnsupportedError(f"Tropilla reads {found.name} but does not write it; choose one of {choices}")
    hint = suggestion(name.upper(), [kind.name for kind in FILE_TYPES])
    raise OptionError(f"unknown type {name!r}{hint}; choose one of {choices}")


def target_type(shape: tuple[int, ...], own: TensorType, wanted: TensorType | None) -> TensorType:
    """Return the type to write a tensor in; wanted None keeps its own.

    Vectors stay F32, as engines expect. Rows that are no whole number of blocks fall back to F16.
    """
    if len(shape) < 2:
        return TensorType.F32
    if wanted is None:
        return TensorType.F32 if own is TensorType.F64 else own
    return TensorType.F16 if shape[-1] % BLOCKS[wanted].columns else wanted


def float_type(own: TensorType, wanted: TensorType | None) -> TensorType:
    """Return the type for a target that holds only floats: exact unless the user wants another."""
    if wanted is not None:
        return wanted
    return own if own in FLOAT_TYPES else TensorType.F32


def prevailing(types: Iterable[tuple[TensorType, int]]) -> TensorType:
    """Return the type that most weights have; types: pairs of a tensor's type and number of weights."""
    totals: Counter[TensorType] = Counter()
    for tensor_type, n_weights in types:
        totals[tensor_type] += n_weights
    return totals.most_common(1)[0][0]
