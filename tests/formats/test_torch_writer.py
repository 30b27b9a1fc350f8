"""Archives that we write; torch is the reader to please."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tropilla.formats.stored import PlannedTensor
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.torch_archive import TorchArchive
from tropilla.formats.torch_writer import TorchWriter

PLAN = [
    PlannedTensor("matrix", TensorType.F32, (3, 5)),
    PlannedTensor("cube", TensorType.F16, (2, 3, 4)),
    PlannedTensor("ñandú.weight", TensorType.BF16, (7,)),
    PlannedTensor("empty", TensorType.F32, (0, 4)),
]
NUMBERS: dict[str, NDArray[Any]] = {  # Any: each has its own type
    "matrix": np.arange(15, dtype=np.float32),
    "cube": np.arange(24, dtype=np.float16),
    "ñandú.weight": np.arange(7, dtype=np.uint16) + 0x3F80,  # bfloat16 from 1.0 upwards
    "empty": np.zeros(0, np.float32),
}


def write(path: Path) -> None:
    with TorchWriter(path, PLAN) as writer:
        for tensor in PLAN:
            writer.write(tensor.name, NUMBERS[tensor.name].data)


@pytest.mark.parametrize("mmap", [False, True])
def test_torch_reads_it(tmp_path: Path, mmap: bool) -> None:
    write(tmp_path / "m.pth")
    content = torch.load(tmp_path / "m.pth", weights_only=True, mmap=mmap)
    assert list(content) == [tensor.name for tensor in PLAN]
    for tensor in PLAN:
        got = content[tensor.name]
        assert tuple(got.shape) == tensor.shape
        assert got.is_contiguous()
        assert got.reshape(-1).view(torch.uint8).numpy().tobytes() == NUMBERS[tensor.name].tobytes()
    assert content["ñandú.weight"].dtype is torch.bfloat16
    assert float(content["ñandú.weight"][0]) == 1.0


def test_we_read_it(tmp_path: Path) -> None:
    write(tmp_path / "m.pth")
    archive = TorchArchive(tmp_path / "m.pth")
    for tensor in PLAN:
        stored = archive.tensors[tensor.name]
        assert (stored.type, stored.shape) == (tensor.type, tensor.shape)
        assert bytes(stored.data) == NUMBERS[tensor.name].tobytes()


def test_a_plan_that_is_not_kept_leaves_nothing(tmp_path: Path) -> None:
    def write_wrongly(name: str, data: bytes) -> None:
        with TorchWriter(tmp_path / "m.pth", PLAN) as writer:
            writer.write(name, data)

    for name, data, message in [
        ("matrix", bytes(60), "'cube' was announced but not written"),
        ("cube", bytes(48), "the next tensor is 'matrix'"),
        ("matrix", bytes(59), "does not take 59 bytes"),
    ]:
        with pytest.raises(ValueError, match=message):
            write_wrongly(name, data)
        assert list(tmp_path.iterdir()) == []
