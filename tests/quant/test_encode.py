"""The native encoder writes the bytes that tropilla.formats.quantize defines, on every instruction set."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tropilla import _native
from tropilla.errors import UnsupportedError
from tropilla.formats.quantize import QUANTIZABLE, quantize
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType, tensor_bytes
from tropilla.quant.encode import Encoding

Floats = NDArray[np.float32]
FLOATS = (TensorType.F32, TensorType.F16, TensorType.BF16)

every_type = pytest.mark.parametrize("to", QUANTIZABLE, ids=lambda t: t.name)
every_isa = pytest.mark.parametrize("isa", _native.isa_names())


def native(weights: Floats, to: TensorType, isa: str, source: TensorType = TensorType.F32) -> bytes:
    out = bytearray(tensor_bytes(to, weights.shape))
    stored = quantize(source, weights).tobytes()
    outcome = _native.quantize(source, stored, to, weights.size, out, isa)
    assert outcome is _native.Encoding.OK
    return bytes(out)


def normal(n_rows: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((n_rows, 256)).astype(np.float32)


def difficult(name: str) -> Floats:
    """Return rows that lead the rounding and the searches into each of their corners."""
    rng = np.random.default_rng(1)
    some = rng.standard_normal((40, 256))
    rows = {
        "rows of many sizes": some * 10.0 ** rng.integers(-7, 4, (40, 1)),
        "weights of many sizes": some * 10.0 ** rng.integers(-12, 4, (40, 256)),
        "positive": np.abs(some),
        "negative": -np.abs(some),
        "constant": np.repeat(some[:, :1], 256, axis=1),
        "zero": np.zeros((5, 256)),
        "one outlier": np.where(np.arange(256) == 77, 1000, some),
        "sparse": np.where(rng.random((40, 256)) < 0.02, some, 0),
        "no scale in float16": some * 1e-9,
        "subnormal": some * 1e-40,
        "ties": np.round(some * 4) / 2,
        "long tails": rng.standard_t(2, (40, 256)),
    }[name]
    return rows.astype(np.float32) + np.float32(0)  # -0 is 0: NumPy's minimum of both may be either


@every_isa
@every_type
@pytest.mark.parametrize(
    "case",
    [
        "rows of many sizes",
        "weights of many sizes",
        "positive",
        "negative",
        "constant",
        "zero",
        "one outlier",
        "sparse",
        "no scale in float16",
        "subnormal",
        "ties",
        "long tails",
    ],
)
def test_bytes_equal_the_definition(to: TensorType, isa: str, case: str) -> None:
    weights = difficult(case)
    assert native(weights, to, isa) == quantize(to, weights).tobytes()


@every_isa
@every_type
@pytest.mark.parametrize("n_rows", [0, 1, 3, 15, 16, 17, 33])
def test_any_number_of_blocks(to: TensorType, isa: str, n_rows: int) -> None:
    """Around the vectors' 4, 8 and 16 lanes and the 4096 weights that are decoded at a time."""
    weights = normal(n_rows)
    assert native(weights, to, isa) == quantize(to, weights).tobytes()


@every_isa
@pytest.mark.parametrize("source", FLOATS, ids=lambda t: t.name)
@pytest.mark.parametrize("to", [*FLOATS, TensorType.Q8_0, TensorType.Q4_K], ids=lambda t: t.name)
def test_every_float_source(to: TensorType, source: TensorType, isa: str) -> None:
    weights = normal(17, seed=2)
    held = {
        TensorType.F32: weights,
        TensorType.F16: weights.astype(np.float16).astype(np.float32),
        TensorType.BF16: (weights.view(np.uint32) & 0xFFFF0000).view(np.float32),
    }[source]
    assert native(held, to, isa, source) == quantize(to, held).tobytes()


@every_isa
def test_every_float16_is_read_and_written(isa: str) -> None:
    halves = np.arange(1 << 16, dtype=np.uint16)
    out = bytearray(4 * halves.size)
    _native.quantize(TensorType.F16, halves.tobytes(), TensorType.F32, halves.size, out, isa)
    read = np.frombuffer(bytes(out), np.float32)
    np.testing.assert_array_equal(read, halves.view(np.float16).astype(np.float32))
    back = bytearray(2 * halves.size)
    _native.quantize(TensorType.F32, bytes(out), TensorType.F16, halves.size, back, isa)
    np.testing.assert_array_equal(np.frombuffer(bytes(back), np.float16), halves.view(np.float16))


@every_isa
@pytest.mark.parametrize("to", [TensorType.F16, TensorType.BF16], ids=lambda t: t.name)
def test_halves_are_rounded_to_even(to: TensorType, isa: str) -> None:
    """Numbers between two 16-bit ones, exactly and just beside the middle, subnormal ones too."""
    bits = np.random.default_rng(6).integers(0, 1 << 32, 1 << 14, dtype=np.uint64).astype(np.uint32)
    bits = np.concatenate([bits, bits & 0xFFFFF000 | 0x1000, bits & 0xFFFF0000 | 0x8000, bits & 0x33FFFFFF])
    weights = bits.view(np.float32)
    weights = weights[np.abs(weights) < 65504]  # which leaves NaN out too
    out = bytearray(2 * weights.size)
    assert _native.quantize(TensorType.F32, weights.tobytes(), to, weights.size, out, isa).name == "OK"
    assert bytes(out) == quantize(to, weights).tobytes()


@every_isa
@pytest.mark.parametrize("to", [TensorType.F32, TensorType.F16, TensorType.BF16], ids=lambda t: t.name)
def test_infinities_and_nan_stay_in_floats(to: TensorType, isa: str) -> None:
    weights = np.array([0x7F800001, 0xFF800001, 0x7F800000, 0xFF800000, 0x7FC00000], np.uint32)
    out = bytearray(tensor_bytes(to, (5,)))
    assert _native.quantize(TensorType.F32, weights.tobytes(), to, 5, out, isa) is _native.Encoding.OK
    decoded = StoredTensor("x", to, (5,), memoryview(bytes(out))).to_float32()
    np.testing.assert_array_equal(decoded, [np.nan, np.nan, np.inf, -np.inf, np.nan])


@every_isa
@pytest.mark.parametrize("to", [t for t in QUANTIZABLE if BLOCKS[t].columns > 1], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("bad", "outcome"),
    [(np.nan, "NOT_FINITE"), (-np.inf, "NOT_FINITE"), (1e9, "TOO_LARGE"), (1e38, "TOO_LARGE")],
)
@pytest.mark.parametrize("row", [0, 16, 20])
def test_what_blocks_cannot_hold(to: TensorType, isa: str, bad: float, outcome: str, row: int) -> None:
    weights = normal(21)
    weights[row, 200] = bad
    out = bytearray(tensor_bytes(to, weights.shape))
    found = _native.quantize(TensorType.F32, weights.tobytes(), to, weights.size, out, isa)
    assert found is _native.Encoding[outcome]


@pytest.mark.parametrize(
    ("source", "to", "n_weights", "n_bytes", "isa", "message"),
    [
        (0, 12, 256, 143, "scalar", "do not hold 256 weights"),
        (1, 12, 256, 144, "scalar", "do not hold 256 weights"),
        (0, 12, 255, 144, "scalar", "255 weights are not whole blocks"),
        (0, 12, -256, 144, "scalar", "-256 weights are not whole blocks"),
        (2, 12, 256, 144, "scalar", "tensor type 2 cannot be read"),
        (0, 16, 256, 66, "scalar", "tensor type 16 cannot be written"),
        (0, -1, 256, 66, "scalar", "tensor type -1 cannot be written"),
        (99, 0, 256, 66, "scalar", "tensor type 99 cannot be read"),
        (0, 12, 256, 144, "mmx", "no kernels called mmx"),
    ],
)
def test_calls_that_are_refused(
    source: int, to: int, n_weights: int, n_bytes: int, isa: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        _native.quantize(source, bytes(1024), to, n_weights, bytearray(n_bytes), isa)


def test_a_result_that_cannot_be_written_to_is_refused() -> None:
    with pytest.raises(BufferError):
        _native.quantize(0, bytes(4), 0, 1, memoryview(bytes(4)), "scalar")


def stored(weights: Floats, kind: TensorType) -> StoredTensor:
    return StoredTensor("x", kind, weights.shape, quantize(kind, weights).data.cast("B"))


@pytest.mark.parametrize("kind", [TensorType.F16, TensorType.Q8_0], ids=lambda t: t.name)
def test_a_tensor_is_cut_into_chunks_without_a_seam(kind: TensorType) -> None:
    """More weights than one thread takes at a time, in rows that do not divide the chunk."""
    tensor = stored(np.random.default_rng(7).standard_normal((700, 768)).astype(np.float32), kind)
    with ThreadPoolExecutor(2) as pool:
        result = Encoding(tensor, TensorType.Q4_K, pool).result()
    assert bytes(result) == quantize(TensorType.Q4_K, tensor.to_float32()).tobytes()


def test_a_tensor_of_the_type_keeps_its_bytes() -> None:
    tensor = stored(normal(2), TensorType.Q4_K)
    with ThreadPoolExecutor(1) as pool:
        assert Encoding(tensor, TensorType.Q4_K, pool).result() is tensor.data


def test_faults_are_named() -> None:
    infinite = memoryview(np.full((2, 256), np.inf, np.float32).tobytes())
    bad = replace(stored(normal(2), TensorType.F32), data=infinite)
    with ThreadPoolExecutor(1) as pool, pytest.raises(UnsupportedError, match="infinite weights"):
        Encoding(bad, TensorType.Q6_K, pool).result()
