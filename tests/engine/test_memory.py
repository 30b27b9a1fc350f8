"""Loading takes no more memory than the file: its pages leave as its tensors are packed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# Prints how far the peak of resident memory rose while loading a model from a mapped file, in bytes.
LOAD = """
import resource, sys
from tropilla.engine.executor import CPUExecutor
from tropilla.formats.mapped import MappedFile
from tropilla.formats.stored import StoredTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType
from tropilla.model.config import LlamaConfig, tensor_shapes
from tropilla.model.weights import ModelWeights
from math import prod

config = LlamaConfig(dim=1024, n_layers=4, n_heads=8, n_kv_heads=8, head_dim=128, ffn_dim=2048,
                     vocab_size=32768, context_length=64)
path, tensors, sizes, end = sys.argv[1], {}, {}, 0
for name, shape in tensor_shapes(config).items():
    kind = TensorType.Q8_0 if len(shape) == 2 else TensorType.F32
    sizes[name] = (kind, shape, end, prod(shape) // BLOCKS[kind].columns * BLOCKS[kind].bytes)
    end += sizes[name][3]
with open(path, "wb") as file:
    for _ in range(-(-end // (1 << 20))):
        file.write(bytes(1 << 20))
file = MappedFile(path)
for name, (kind, shape, start, size) in sizes.items():
    tensors[name] = StoredTensor(name, kind, shape, file.view[start : start + size], start)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
executor = CPUExecutor(ModelWeights(config, tensors), max_tokens=8, max_logit_rows=1, n_kv_blocks=2,
                       n_threads=2)
scale = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * scale, end)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages leave at once only on Linux")
def test_peak_while_loading(tmp_path: Path) -> None:
    """One copy of the weights, one tensor of a layer (2.2 MB), and 8 MB for half-used pages and threads.

    The embedding and the output matrix have 36 MB each: with either loaded late, there would be more.
    """
    command = [sys.executable, "-c", LOAD, str(tmp_path / "weights")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rise, file_bytes = map(int, printed.split())
    assert file_bytes > 100e6
    assert rise <= file_bytes + 11e6
