"""Bring a tensor into another type, a few rows at a time on every core."""

from __future__ import annotations

import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from math import prod

from tropilla.formats.quantize import quantize
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import TensorType, tensor_bytes

# Weights that one thread decodes at a time; more would only cost memory.
_CHUNK_WEIGHTS = 1 << 20


def encoder_pool() -> ThreadPoolExecutor:
    """Return one thread for each core; NumPy lets them run at the same time."""
    return ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="encode")


def encode(tensor: StoredTensor, to: TensorType, pool: Executor) -> memoryview:
    """Return a tensor's bytes in another type, rounded to nearest; its own bytes if it has that type.

    Raises UnsupportedError for a type that cannot be read or written.
    """
    if tensor.type is to:
        return tensor.data
    columns = tensor.shape[-1]
    n_rows = prod(tensor.shape[:-1])
    source_bytes, target_bytes = tensor.data.nbytes // n_rows, tensor_bytes(to, (columns,))
    result = bytearray(n_rows * target_bytes)

    def encode_rows(rows: range) -> None:
        part = tensor.data[rows.start * source_bytes : rows.stop * source_bytes]
        weights = replace(tensor, shape=(len(rows), columns), data=part).to_float32()
        result[rows.start * target_bytes : rows.stop * target_bytes] = quantize(to, weights).data.cast("B")

    step = max(1, _CHUNK_WEIGHTS // columns)
    for _ in pool.map(encode_rows, (range(n_rows)[at : at + step] for at in range(0, n_rows, step))):
        pass  # the loop raises what a thread raised
    return memoryview(result)
