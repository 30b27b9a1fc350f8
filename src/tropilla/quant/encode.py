"""Bring tensors into other types, a few rows at a time on every core."""

from __future__ import annotations

import os
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from math import prod

from tropilla import _native
from tropilla.errors import UnsupportedError
from tropilla.formats.quantize import NOT_FINITE, TOO_LARGE
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType, tensor_bytes
from tropilla.quant.target_types import FLOAT_TYPES

# Weights that one thread encodes at a time: enough for a call to cost nothing, few enough to share out.
_CHUNK_WEIGHTS = 1 << 17

_FAULTS = {_native.Encoding.NOT_FINITE: NOT_FINITE, _native.Encoding.TOO_LARGE: TOO_LARGE}


def encoder_pool() -> ThreadPoolExecutor:
    """Return one thread for each core; the native encoder lets them run at the same time."""
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="encode")


class Encoding:
    """Encode a tensor in a pool's threads; `result` waits for the bytes.

    Weights get the bytes that tropilla.formats.quantize defines; a tensor that has the type already keeps
    its own.
    """

    def __init__(self, tensor: StoredTensor, to: TensorType, pool: Executor) -> None:
        self.tensor = tensor
        self._encoded = tensor.data
        self._chunks: list[Future[None]] = []
        if tensor.type is not to:
            self._start(to, pool)

    def _start(self, to: TensorType, pool: Executor) -> None:
        columns = self.tensor.shape[-1]
        n_rows = prod(self.tensor.shape[:-1])
        row_bytes = tensor_bytes(to, (columns,))
        self._encoded = memoryview(bytearray(n_rows * row_bytes))
        step = max(1, _CHUNK_WEIGHTS // columns)
        for at in range(0, n_rows, step):
            rows = range(at, min(at + step, n_rows))
            out = self._encoded[rows.start * row_bytes : rows.stop * row_bytes]
            self._chunks.append(pool.submit(_encode_rows, self.tensor, rows, to, out))

    def result(self) -> memoryview:
        """Return the bytes when they are ready.

        Raises UnsupportedError for weights that the type cannot hold and types that cannot be read.
        """
        for chunk in self._chunks:
            chunk.result()
        return self._encoded


def _encode_rows(tensor: StoredTensor, rows: range, to: TensorType, out: memoryview) -> None:
    columns = tensor.shape[-1]
    row_bytes = tensor.data.nbytes // prod(tensor.shape[:-1])
    kind, stored = tensor.type, tensor.data[rows.start * row_bytes : rows.stop * row_bytes]
    if kind not in FLOAT_TYPES:
        weights = replace(tensor, shape=(len(rows), columns), data=stored).to_float32()
        kind, stored = TensorType.F32, weights.data.cast("B")
    outcome = _native.quantize(kind, stored, to, len(rows) * columns, out, _native.isa())
    if outcome in _FAULTS:
        raise UnsupportedError(_FAULTS[outcome])
