"""What the comparison of quantizers says of files whose errors are known by hand."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.quantize import errors_of

Floats = NDArray[np.float32]


def write(path: Path, kind: gguf.GGMLQuantizationType, tensors: dict[str, Floats]) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    for name, tensor in tensors.items():
        stored = gguf.GGMLQuantizationType.F32 if tensor.ndim == 1 else kind
        writer.add_tensor(name, gguf.quants.quantize(tensor, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_errors_are_in_per_cent_of_the_weights(tmp_path: Path) -> None:
    """Q8_0 holds 127 and 0 exactly; writing 101.6 for 127 everywhere leaves a fifth."""
    weights = {"a": np.full((2, 32), 127, np.float32), "b": np.full(32, 127, np.float32)}
    smaller = {"a": weights["a"] * np.float32(0.8), "b": weights["b"]}
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    source = write(tmp_path / "in.gguf", gguf.GGMLQuantizationType.F32, weights)
    results = [write(tmp_path / "1.gguf", q8_0, weights), write(tmp_path / "2.gguf", q8_0, smaller)]
    exact, off = errors_of(source, results)
    assert exact == {"Q8_0": 0}
    # The scale 0.8 is a float16, off by at most 2**-12 of itself.
    assert off["Q8_0"] == pytest.approx(20, abs=100 * 0.8 * 2**-11)


def test_matrices_of_different_types_are_left_out(tmp_path: Path) -> None:
    weights = {"a": np.ones((2, 32), np.float32)}
    paths = [
        write(tmp_path / f"{kind.name}.gguf", kind, weights)
        for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q4_0)
    ]
    source = write(tmp_path / "in.gguf", gguf.GGMLQuantizationType.F32, weights)
    assert errors_of(source, paths) == [{}, {}]
