"""Turn encoded tensors into float32, exactly as ggml does: the definition of every type's values.

Each decoder takes an array of blocks (a structured array with the fields of tensor_types.BLOCKS) and
returns float32 of shape (blocks, columns). Sums and products are rounded in ggml's order, so that the
results are equal bit for bit. Source of the layouts: ggml-quants.c, as described in ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tropilla.errors import UnsupportedError
from tropilla.formats.tensor_types import BLOCKS, TensorType

Blocks = NDArray[np.void]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Weights decoded at a time: the intermediate arrays of a chunk stay in the cache.
_CHUNK_WEIGHTS = 1 << 16

# The 16 levels of IQ4_NL (ggml: kvalues_iq4nl), and twice those of the 4-bit float E2M1.
_NONLINEAR_LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
_E2M1_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)


def block_dtype(tensor_type: TensorType) -> np.dtype[np.void]:
    """Return the structured dtype of one block."""
    fields = BLOCKS[tensor_type].fields.items()
    return np.dtype([(name, np.dtype(code).newbyteorder("<")) for name, code in fields])


def dequantize(tensor_type: TensorType, data: memoryview | bytes | NDArray[Any], n_weights: int) -> Floats:
    """Decode n_weights weights, a whole number of blocks, into a new one-dimensional array.

    Raises UnsupportedError for the types without a decoder; ValueError if data has another size.
    """
    decode = _DECODERS.get(tensor_type)
    if decode is None:
        raise UnsupportedError(
            f"tensors of type {tensor_type.name} cannot be decoded yet; get the model in another quantization"
        )
    layout = BLOCKS[tensor_type]
    raw = np.frombuffer(data, np.uint8)
    if n_weights % layout.columns or raw.nbytes * layout.columns != n_weights * layout.bytes:
        raise ValueError(f"{raw.nbytes} bytes do not encode {n_weights} {tensor_type.name} weights")
    blocks = raw.view(block_dtype(tensor_type))
    return _decode_in_chunks(decode, blocks, layout.columns)


def _decode_in_chunks(decode: Callable[[Blocks], Floats], blocks: Blocks, columns: int) -> Floats:
    weights = np.empty((len(blocks), columns), np.float32)
    step = max(1, _CHUNK_WEIGHTS // columns)
    with np.errstate(all="ignore"):  # a file may hold infinite scales; they give what IEEE says
        for start in range(0, len(blocks), step):
            weights[start : start + step] = decode(blocks[start : start + step])
    return weights.reshape(-1)


def _planes(packed: Bytes, bits: int, group: int) -> Bytes:
    """Unpack fields of `bits` bits: of each run of `group` bytes first all lowest fields, then all next."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    mask = np.uint8((1 << bits) - 1)
    planes = (packed.reshape(len(packed), -1, 1, group) >> shifts) & mask
    return planes.reshape(len(packed), -1)


def _column(field: NDArray[Any]) -> Floats:
    """Return one number per block as a column, to be multiplied with the block's weights."""
    return field.astype(np.float32)[:, None]


def _grouped(values: NDArray[Any], n_groups: int) -> Floats:
    return values.astype(np.float32).reshape(len(values), n_groups, -1)


def _numbers(blocks: Blocks) -> Floats:
    return _column(blocks["x"])


def _bf16(blocks: Blocks) -> Floats:
    return (blocks["x"].astype(np.uint32) << np.uint32(16)).view(np.float32)[:, None]


def _q4_0(blocks: Blocks) -> Floats:
    return _column(blocks["d"]) * (_planes(blocks["qs"], 4, 16).astype(np.float32) - 8)


def _q4_1(blocks: Blocks) -> Floats:
    return _column(blocks["d"]) * _planes(blocks["qs"], 4, 16) + _column(blocks["m"])


def _q5_quants(blocks: Blocks) -> Floats:
    fifth_bits = blocks["qh"][:, None] >> np.arange(32, dtype=np.uint32) & 1
    return (_planes(blocks["qs"], 4, 16) | fifth_bits << 4).astype(np.float32)


def _q5_0(blocks: Blocks) -> Floats:
    return _column(blocks["d"]) * (_q5_quants(blocks) - 16)


def _q5_1(blocks: Blocks) -> Floats:
    return _column(blocks["d"]) * _q5_quants(blocks) + _column(blocks["m"])


def _scaled_int8(blocks: Blocks) -> Floats:
    return _column(blocks["d"]) * blocks["qs"].astype(np.float32)


def _q2_k(blocks: Blocks) -> Floats:
    scale = _column(blocks["d"]) * (blocks["scales"] & 15)
    minimum = _column(blocks["dmin"]) * (blocks["scales"] >> 4)
    quants = _grouped(_planes(blocks["qs"], 2, 32), 16)
    return (scale[..., None] * quants - minimum[..., None]).reshape(-1, 256)


def _q3_k(blocks: Blocks) -> Floats:
    low = _planes(blocks["scales"][:, :8], 4, 8)
    high = _planes(blocks["scales"][:, 8:], 2, 4)
    scale = _column(blocks["d"]) * ((low | high << 4).astype(np.float32) - 32)
    borrow = 4 - 4 * _planes(blocks["hmask"], 1, 32).astype(np.float32)  # the bit says: do NOT subtract 4
    quants = _grouped(_planes(blocks["qs"], 2, 32) - borrow, 16)
    return (scale[..., None] * quants).reshape(-1, 256)


def _six_bit_pairs(scales: Bytes) -> tuple[Bytes, Bytes]:
    """Unpack the 8 scales and 8 minima, six bits each, of a Q4_K or Q5_K block."""
    first, second, rest = scales[:, :4], scales[:, 4:8], scales[:, 8:]
    scale = np.concatenate([first & 63, rest & 15 | first >> 6 << 4], axis=1)
    minimum = np.concatenate([second & 63, rest >> 4 | second >> 6 << 4], axis=1)
    return scale, minimum


def _scaled_groups(blocks: Blocks, quants: NDArray[Any]) -> Floats:
    scale, minimum = _six_bit_pairs(blocks["scales"])
    scale_f = (_column(blocks["d"]) * scale)[..., None]
    minimum_f = (_column(blocks["dmin"]) * minimum)[..., None]
    return (scale_f * _grouped(quants, 8) - minimum_f).reshape(-1, 256)


def _q4_k(blocks: Blocks) -> Floats:
    return _scaled_groups(blocks, _planes(blocks["qs"], 4, 32))


def _q5_k(blocks: Blocks) -> Floats:
    return _scaled_groups(blocks, _planes(blocks["qs"], 4, 32) | _planes(blocks["qh"], 1, 32) << 4)


def _q6_k(blocks: Blocks) -> Floats:
    scale = _column(blocks["d"]) * blocks["scales"].astype(np.float32)
    quants = _planes(blocks["ql"], 4, 64) | _planes(blocks["qh"], 2, 32) << 4
    return (scale[..., None] * (_grouped(quants, 16) - 32)).reshape(-1, 256)


def _trits(packed: Bytes, per_byte: int) -> Bytes:
    """Unpack base-3 digits: a byte is a fraction of 256 whose digits come off the top when it is tripled."""
    shifted = packed[:, None, :] * (3 ** np.arange(per_byte)).astype(np.uint8)[:, None]
    return (shifted.astype(np.uint16) * 3 >> 8).astype(np.uint8).reshape(len(packed), -1)


def _tq1_0(blocks: Blocks) -> Floats:
    runs = [_trits(blocks["qs"][:, :32], 5), _trits(blocks["qs"][:, 32:], 5), _trits(blocks["qh"], 4)]
    return _column(blocks["d"]) * (np.concatenate(runs, axis=1).astype(np.float32) - 1)


def _tq2_0(blocks: Blocks) -> Floats:
    return _column(blocks["d"]) * (_planes(blocks["qs"], 2, 32).astype(np.float32) - 1)


def _iq4_nl(blocks: Blocks) -> Floats:
    return _column(blocks["d"]) * _NONLINEAR_LEVELS[_planes(blocks["qs"], 4, 16)]


def _iq4_xs(blocks: Blocks) -> Floats:
    low = _planes(blocks["scales_l"], 4, 1)
    high = blocks["scales_h"][:, None] >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    scale = _column(blocks["d"]) * ((low | high << 4).astype(np.float32) - 32)
    levels = _grouped(_NONLINEAR_LEVELS[_planes(blocks["qs"], 4, 16)], 8)
    return (scale[..., None] * levels).reshape(-1, 256)


def _mxfp4(blocks: Blocks) -> Floats:
    exponent = blocks["e"].astype(np.int32)[:, None] - 128  # one below the bias: the levels are doubled
    levels: Floats = _E2M1_DOUBLED[_planes(blocks["qs"], 4, 16)]
    return np.ldexp(levels, exponent, dtype=np.float32)


def _ue4m3(codes: Bytes) -> Floats:
    """Decode unsigned 8-bit floats (4 exponent bits, 3 mantissa bits); ggml takes the NaN code as 0."""
    exponent, mantissa = (codes >> 3 & 15).astype(np.int32), (codes & 7).astype(np.float32)
    normal = np.ldexp(8 + mantissa, exponent - 10)
    values = np.where(exponent == 0, np.ldexp(mantissa, -9), normal)
    return np.where(codes == 0x7F, np.float32(0), values).astype(np.float32)


def _nvfp4(blocks: Blocks) -> Floats:
    scale = _ue4m3(blocks["d"]) * np.float32(0.5)  # the levels are doubled
    levels = _grouped(_E2M1_DOUBLED[_planes(blocks["qs"], 4, 8)], 4)
    return (scale[..., None] * levels).reshape(-1, 64)


_DECODERS: Mapping[TensorType, Callable[[Blocks], Floats]] = {
    TensorType.F32: _numbers,
    TensorType.F16: _numbers,
    TensorType.F64: _numbers,
    TensorType.I8: _numbers,
    TensorType.I16: _numbers,
    TensorType.I32: _numbers,
    TensorType.I64: _numbers,
    TensorType.BF16: _bf16,
    TensorType.Q4_0: _q4_0,
    TensorType.Q4_1: _q4_1,
    TensorType.Q5_0: _q5_0,
    TensorType.Q5_1: _q5_1,
    TensorType.Q8_0: _scaled_int8,
    TensorType.Q8_1: _scaled_int8,
    TensorType.Q8_K: _scaled_int8,
    TensorType.Q2_K: _q2_k,
    TensorType.Q3_K: _q3_k,
    TensorType.Q4_K: _q4_k,
    TensorType.Q5_K: _q5_k,
    TensorType.Q6_K: _q6_k,
    TensorType.TQ1_0: _tq1_0,
    TensorType.TQ2_0: _tq2_0,
    TensorType.IQ4_NL: _iq4_nl,
    TensorType.IQ4_XS: _iq4_xs,
    TensorType.MXFP4: _mxfp4,
    TensorType.NVFP4: _nvfp4,
}
