"""Which kernels run: complete tables, the fastest first, an override that fails loudly."""

from __future__ import annotations

import os
import subprocess
import sys

import gguf
import numpy as np
import pytest

from tests.kernels import blocks
from tropilla import _native
from tropilla.formats.tensor_types import BLOCKS, TensorType


def run_with(isa: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from tropilla import _native; print(_native.isa())"]
    environment = os.environ | {"TROPILLA_ISA": isa}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("isa", _native.isa_names())
def test_override_chooses_each_table(isa: str) -> None:
    assert run_with(isa).stdout.strip() == isa


def test_without_override_the_first_runs() -> None:
    assert run_with("").stdout.strip() == _native.isa_names()[0]


def test_override_with_an_unknown_name_says_what_there_is() -> None:
    result = run_with("sse9")
    assert result.returncode != 0
    assert "TROPILLA_ISA=sse9" in result.stderr
    assert ", ".join(_native.isa_names()) in result.stderr


def test_calls_with_a_wrong_name_or_count_are_refused() -> None:
    with pytest.raises(ValueError, match="no kernel is called"):
        _native.call_kernel("scalar", "divide", [], [])
    with pytest.raises(ValueError, match="wrong number"):
        _native.call_kernel("scalar", "add", [1], [np.zeros(1, np.float32)])
    with pytest.raises(ValueError, match="no kernels called"):
        _native.call_kernel("sse9", "add", [], [])


def test_block_sizes_are_those_of_the_formats_and_of_the_gguf_package() -> None:
    assert len(_native.block_sizes()) == len(blocks.TYPES)
    for name, number in blocks.TYPES.items():
        layout = BLOCKS[TensorType(number)]
        assert _native.block_sizes()[number] == (layout.columns, layout.bytes), name
        assert _native.block_sizes()[number] == gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
