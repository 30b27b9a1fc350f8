"""Reading and writing safetensors: the safetensors package gives back what went in, and the other way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tropilla.errors import UnsupportedError
from tropilla.formats.safetensors import SafetensorsFile
from tropilla.formats.safetensors_writer import SafetensorsWriter
from tropilla.formats.stored import PlannedTensor
from tropilla.formats.tensor_types import TensorType, tensor_bytes

NUMPY_TYPES = [np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """Write a file with the safetensors package: every dtype that we read, a scalar, an empty tensor."""
    path = tmp_path / "theirs.safetensors"
    tensors = {np.dtype(kind).name: np.arange(6).astype(kind).reshape(2, 3) for kind in NUMPY_TYPES}
    tensors["scalar"] = np.array(2.5, np.float32)
    tensors["empty"] = np.zeros((0, 4), np.float16)
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt", "ñ": '"}🦙'})
    return path


def test_reads_what_the_package_writes(theirs: Path) -> None:
    with SafetensorsFile(theirs) as file:
        assert file.metadata == {"format": "pt", "ñ": '"}🦙'}
        for kind in NUMPY_TYPES:
            tensor = file.tensors[np.dtype(kind).name]
            assert tensor.shape == (2, 3)
            np.testing.assert_array_equal(tensor.to_float32(), np.arange(6, dtype=np.float32).reshape(2, 3))
        assert file.tensors["scalar"].shape == ()
        assert file.tensors["scalar"].to_float32() == 2.5
        assert file.tensors["empty"].to_float32().shape == (0, 4)
        assert file.size_bytes == theirs.stat().st_size


def test_reads_bfloat16(tmp_path: Path) -> None:
    weights = torch.randn(3, 8).to(torch.bfloat16)
    safetensors.torch.save_file({"w": weights}, tmp_path / "b.safetensors")
    with SafetensorsFile(tmp_path / "b.safetensors") as file:
        assert file.tensors["w"].type is TensorType.BF16
        np.testing.assert_array_equal(file.tensors["w"].to_float32(), weights.to(torch.float32).numpy())


def test_data_is_not_copied(theirs: Path) -> None:
    with SafetensorsFile(theirs) as file:
        tensor = file.tensors["float32"]
        assert tensor.data.readonly
        place = slice(tensor.offset, tensor.offset + tensor.size_bytes)
        assert bytes(tensor.data) == theirs.read_bytes()[place]
    with pytest.raises(ValueError, match="released"):
        bytes(tensor.data)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float8_e4m3fn])
def test_other_dtypes_are_refused_by_name(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "q.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(4).to(dtype)}, path)
    name = {torch.bool: "BOOL", torch.uint8: "U8", torch.float8_e4m3fn: "F8_E4M3"}[dtype]
    with pytest.raises(
        UnsupportedError, match=f"tensor 'w' is of dtype {name}, which Tropilla does not read"
    ):
        SafetensorsFile(path)


TYPES = st.sampled_from([TensorType.F32, TensorType.F16, TensorType.BF16, TensorType.F64, TensorType.I8])
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda n: n != "__metadata__")
PLANS = st.dictionaries(NAMES, st.tuples(TYPES, st.lists(st.integers(0, 4), max_size=4)), max_size=6)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@settings(deadline=None, max_examples=80)
@given(plan=PLANS, metadata=st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_whatever_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    plan: dict[str, tuple[TensorType, list[int]]],
    metadata: dict[str, str],
) -> None:
    path = tmp_path_factory.mktemp("any") / "m.safetensors"
    tensors = [PlannedTensor(name, kind, tuple(shape)) for name, (kind, shape) in plan.items()]
    data = {t.name: np.random.default_rng(1).bytes(tensor_bytes(t.type, t.shape)) for t in tensors}
    with SafetensorsWriter(path, tensors, metadata) as writer:
        for name, encoded in data.items():
            writer.write(name, encoded)
    with SafetensorsFile(path) as file:
        assert file.metadata == metadata
        assert {t.name: (t.type, list(t.shape)) for t in file.tensors.values()} == plan
        assert {name: bytes(t.data) for name, t in file.tensors.items()} == data
    with safetensors.safe_open(path, "pt") as theirs:
        assert (theirs.metadata() or {}) == metadata
        assert set(theirs.keys()) == set(plan)
        assert {name: theirs.get_tensor(name).nbytes for name in plan} == {
            name: len(encoded) for name, encoded in data.items()
        }


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    path, weights = tmp_path / "ours.safetensors", torch.randn(4, 6)
    half = weights.to(torch.bfloat16)
    plan = [PlannedTensor("a", TensorType.F32, (4, 6)), PlannedTensor("b", TensorType.BF16, (4, 6))]
    with SafetensorsWriter(path, plan, {"format": "pt"}) as writer:
        writer.write("a", weights.numpy().data)
        writer.write("b", half.view(torch.int16).numpy().data)
    loaded = safetensors.torch.load_file(path)
    assert torch.equal(loaded["a"], weights)
    assert torch.equal(loaded["b"], half)


def test_block_types_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="cannot hold Q4_0 tensors such as 'w'"):
        SafetensorsWriter(tmp_path / "m.safetensors", [PlannedTensor("w", TensorType.Q4_0, (1, 32))])


def leave_out(path: Path) -> None:
    with SafetensorsWriter(path, [PlannedTensor("w", TensorType.F32, (1,))]):
        pass


def test_nothing_is_left_when_a_tensor_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'w' was announced but not written"):
        leave_out(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["w", "__metadata__"])
def test_impossible_names(tmp_path: Path, name: str) -> None:
    plan = [PlannedTensor("w", TensorType.F32, (1,)), PlannedTensor(name, TensorType.F32, (1,))]
    with pytest.raises(ValueError, match="announced twice or has a reserved name"):
        SafetensorsWriter(tmp_path / "m.safetensors", plan)
