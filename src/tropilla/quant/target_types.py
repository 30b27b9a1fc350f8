"""Which type each tensor gets in the file that is written."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tropilla.errors import OptionError, UnsupportedError
from tropilla.formats.tensor_types import BLOCKS, TensorType
from tropilla.options import suggestion

FLOAT_TYPES = (TensorType.F32, TensorType.F16, TensorType.BF16)
# The types that can be written, and the number by which general.file_type calls a file of each (llama.h,
# enum llama_ftype; of the K types that of the mix with the least of anything else).
FILE_TYPES: Mapping[TensorType, int] = {
    TensorType.F32: 0,
    TensorType.F16: 1,
    TensorType.Q4_0: 2,
    TensorType.Q4_1: 3,
    TensorType.Q8_0: 7,
    TensorType.Q5_0: 8,
    TensorType.Q5_1: 9,
    TensorType.Q2_K: 10,
    TensorType.Q3_K: 11,
    TensorType.Q4_K: 14,
    TensorType.Q5_K: 16,
    TensorType.Q6_K: 18,
    TensorType.BF16: 32,
}


class Mix(NamedTuple):
    """Spend more bits where they help most: on the output, and on the matrices that suffer most from few."""

    name: str
    file_type: int
    most: TensorType
    more: TensorType


_MIXES = {
    mix.name: mix
    for mix in (
        Mix("Q4_K_M", 15, most=TensorType.Q4_K, more=TensorType.Q6_K),
        Mix("Q5_K_M", 17, most=TensorType.Q5_K, more=TensorType.Q6_K),
    )
}
Wanted = TensorType | Mix
TYPE_NAMES = (*(kind.name for kind in FILE_TYPES), *_MIXES)

# What takes the place of a type with long blocks in a matrix whose rows they do not fill.
_SUBSTITUTES = {
    TensorType.Q2_K: TensorType.Q4_0,
    TensorType.Q3_K: TensorType.Q4_0,
    TensorType.Q4_K: TensorType.Q5_0,
    TensorType.Q5_K: TensorType.Q5_1,
    TensorType.Q6_K: TensorType.Q8_0,
}


def type_by_name(name: str) -> Wanted:
    """Return the type or mix that a user names; raises an error with the choices for others."""
    choices = ", ".join(TYPE_NAMES)
    if name.upper() in _MIXES:
        return _MIXES[name.upper()]
    known = {kind.name.lower(): kind for kind in TensorType}
    found = known.get(name.lower())
    if found is not None and found in FILE_TYPES:
        return found
    if found is not None:
        raise UnsupportedError(f"Tropilla reads {found.name} but does not write it; choose one of {choices}")
    hint = suggestion(name.upper(), TYPE_NAMES)
    raise OptionError(f"unknown type {name!r}{hint}; choose one of {choices}")


class Matrices(NamedTuple):
    """Know what a mix asks about the model whose matrices it types."""

    n_layers: int
    tied_embeddings: bool


def intended_type(name: str, wanted: Wanted, matrices: Matrices) -> TensorType:
    """Return the type of the matrix called name, if its rows are whole blocks."""
    if isinstance(wanted, TensorType):
        return wanted
    if name == "output.weight" or (name == "token_embd.weight" and matrices.tied_embeddings):
        return TensorType.Q6_K
    layer = re.fullmatch(r"blk\.(\d+)\.(?:attn_v|ffn_down)\.weight", name)
    suffers = layer is not None and _gets_more(int(layer[1]), matrices.n_layers)
    return wanted.more if suffers else wanted.most


def _gets_more(layer: int, n_layers: int) -> bool:
    """Say whether a layer is in the outer eighths or every third between: llama.cpp's mixes have these."""
    eighth = n_layers // 8
    return layer < eighth or layer >= 7 * n_layers // 8 or (layer - eighth) % 3 == 2


def fitting_type(intended: TensorType, columns: int) -> TensorType:
    """Return the type itself, or what replaces it where rows of so many columns are no whole blocks."""
    for choice in (intended, _SUBSTITUTES.get(intended, intended)):
        if columns % BLOCKS[choice].columns == 0:
            return choice
    return TensorType.F16


def kept_type(own: TensorType) -> TensorType:
    """Return the type for a matrix that need not change: its own; nothing computes with F64."""
    return TensorType.F32 if own is TensorType.F64 else own


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
