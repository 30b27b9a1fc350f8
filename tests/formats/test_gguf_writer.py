"""Writing GGUF: the gguf package and our own reader give back what went in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tropilla.errors import FormatError
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.gguf_values import GGUFArray, ValueKind
from tropilla.formats.gguf_writer import GGUFWriter
from tropilla.formats.quantize import QUANTIZABLE, quantize
from tropilla.formats.stored import PlannedTensor
from tropilla.formats.tensor_types import BLOCKS, TensorType, tensor_bytes

METADATA = {
    "general.architecture": "llama",
    "k.flag": True,
    "k.count": 2**32 - 1,
    "k.negative": -5,
    "k.huge": 2**63,
    "k.deep": -(2**40),
    "k.eps": 0.5,
    "k.text": "ñandú 🦙",
    "k.pieces": ["", "a", "▁ñandú"],
    "k.types": [1, -2, 3],
    "k.scores": [0.5, -1, 2.0],
    "k.flags": [True, False],
}


def plain(value: object) -> Any:
    return list(value) if isinstance(value, GGUFArray) else value


def rows(n_rows: int, n_columns: int) -> NDArray[np.float32]:
    return np.random.default_rng(n_rows).standard_normal((n_rows, n_columns)).astype(np.float32)


def write(
    path: Path, metadata: dict[str, Any], weights: dict[str, NDArray[np.float32]], **options: Any
) -> None:
    tensors = [PlannedTensor(name, TensorType.F32, array.shape) for name, array in weights.items()]
    with GGUFWriter(path, metadata, tensors, **options) as writer:
        for name, array in weights.items():
            writer.write(name, array.data)


def test_metadata_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    write(path, METADATA, {})
    theirs = gguf.GGUFReader(path)
    assert {key: theirs.fields[key].contents() for key in METADATA} == METADATA
    with GGUFFile(path) as file:
        assert {key: plain(value) for key, value in file.metadata.items()} == METADATA


@pytest.mark.parametrize("tensor_type", QUANTIZABLE, ids=lambda t: t.name)
def test_tensors_come_back(tmp_path: Path, tensor_type: TensorType) -> None:
    path, encoded = tmp_path / "m.gguf", quantize(tensor_type, rows(3, 256))
    plan = [PlannedTensor("a.weight", tensor_type, (3, 256)), PlannedTensor("b", TensorType.F32, (1,))]
    with GGUFWriter(path, METADATA, plan) as writer:
        writer.write("a.weight", encoded.data)
        writer.write("b", np.float32(7).tobytes())
    theirs = gguf.GGUFReader(path).tensors
    assert [(t.name, t.tensor_type.name, list(map(int, t.shape))) for t in theirs] == [
        ("a.weight", tensor_type.name, [256, 3]),
        ("b", "F32", [1]),
    ]
    assert theirs[0].data.tobytes() == encoded.tobytes()
    with GGUFFile(path) as file:
        assert bytes(file.tensors["a.weight"].data) == encoded.tobytes()
        assert file.tensors["b"].to_float32() == 7


def test_metadata_of_another_file_keeps_its_kinds(tmp_path: Path) -> None:
    source, copy = tmp_path / "source.gguf", tmp_path / "copy.gguf"
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_uint8("k.u8", 3)
    writer.add_float64("k.f64", 0.1)
    writer.add_int64("k.i64", 1)
    writer.add_array("k.pieces", ["a", "ñ"])
    writer.add_array("k.floats", [0.25, 0.5])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with GGUFFile(source) as file:
        write(copy, dict(file.metadata), {}, kinds=file.kinds)
        with GGUFFile(copy) as again:
            assert again.kinds == file.kinds
            assert list(map(plain, again.metadata.values())) == list(map(plain, file.metadata.values()))


def test_a_kind_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    kinds = {"k.no": ValueKind.UINT16, "k.none": ValueKind.STRING, "k.ids": ValueKind.UINT32}
    write(path, {"k.no": 3, "k.none": [], "k.ids": [1, 2]}, {}, kinds=kinds)
    with GGUFFile(path) as file:
        assert file.kinds["k.no"] is ValueKind.UINT16
        assert [a.kind for a in file.metadata.values() if isinstance(a, GGUFArray)] == [
            ValueKind.STRING,
            ValueKind.UINT32,
        ]


SPLIT_WEIGHTS = {f"t{i}": rows(i + 1, 16) for i in range(5)}


def test_split_parts_open_as_one(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", METADATA, SPLIT_WEIGHTS, max_part_bytes=200)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"m-{i:05}-of-00004.gguf" for i in range(1, 5)]
    with GGUFFile(tmp_path / names[0]) as file:
        assert list(file.tensors) == list(SPLIT_WEIGHTS)
        for name, array in SPLIT_WEIGHTS.items():
            np.testing.assert_array_equal(file.tensors[name].to_float32(), array)
        assert file.metadata["split.tensors.count"] == 5
        assert plain(file.metadata["k.pieces"]) == METADATA["k.pieces"]
    parts = [gguf.GGUFReader(tmp_path / name) for name in names]
    assert [part.fields["split.no"].contents() for part in parts] == [0, 1, 2, 3]
    assert [t.name for part in parts for t in part.tensors] == list(SPLIT_WEIGHTS)


def test_joining_drops_the_split_keys(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", {**METADATA, "split.no": 0, "split.count": 2}, SPLIT_WEIGHTS)
    with GGUFFile(tmp_path / "m.gguf") as file:
        assert "split.count" not in file.metadata


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_alignment(tmp_path: Path, alignment: int) -> None:
    write(tmp_path / "m.gguf", {"general.alignment": alignment}, SPLIT_WEIGHTS)
    with GGUFFile(tmp_path / "m.gguf") as file:
        assert all(tensor.offset % alignment == 0 for tensor in file.tensors.values())
    theirs = gguf.GGUFReader(tmp_path / "m.gguf").tensors
    for tensor in theirs:
        np.testing.assert_array_equal(tensor.data, SPLIT_WEIGHTS[tensor.name])


def stop_in_the_second_part(path: Path) -> None:
    plan = [PlannedTensor(f"t{i}", TensorType.F32, (8,)) for i in range(3)]
    with GGUFWriter(path, {}, plan, max_part_bytes=32) as writer:
        writer.write("t0", bytes(32))
        writer.write("t1", bytes(32))
        raise RuntimeError("stopped")


def test_nothing_is_left_when_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stopped"):
        stop_in_the_second_part(tmp_path / "m.gguf")
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="'t0' was announced but not written"):
        write_nothing(path)
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]
    assert path.read_bytes() == b"older"


def write_nothing(path: Path) -> None:
    with GGUFWriter(path, {}, [PlannedTensor("t0", TensorType.F32, (8,))]):
        pass


def test_tensors_come_in_the_announced_order(tmp_path: Path) -> None:
    plan = [PlannedTensor("a", TensorType.F32, (1,)), PlannedTensor("b", TensorType.F32, (1,))]
    with (
        pytest.raises(ValueError, match="next tensor is 'a', not 'b'"),
        GGUFWriter(tmp_path / "m.gguf", {}, plan) as writer,
    ):
        writer.write("b", bytes(4))


def test_a_tensor_has_its_size(tmp_path: Path) -> None:
    plan = [PlannedTensor("a", TensorType.F32, (2,))]
    with (
        pytest.raises(ValueError, match="tensor 'a' takes 8 bytes, got 4"),
        GGUFWriter(tmp_path / "m.gguf", {}, plan) as writer,
    ):
        writer.write("a", bytes(4))


def test_a_missing_folder_is_the_disks_fault(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be written: No such file"):
        write(tmp_path / "absent" / "m.gguf", {}, {})


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (PlannedTensor("", TensorType.F32, (1,)), "must have 1 to 64 bytes"),
        (PlannedTensor("n" * 65, TensorType.F32, (1,)), "must have 1 to 64 bytes"),
        (PlannedTensor("t", TensorType.F32, ()), "which GGUF cannot hold"),
        (PlannedTensor("t", TensorType.F32, (1,) * 5), "which GGUF cannot hold"),
        (PlannedTensor("t", TensorType.F32, (0, 3)), "which GGUF cannot hold"),
        (PlannedTensor("t", TensorType.Q4_0, (1, 33)), "not a whole number of Q4_0 blocks"),
    ],
)
def test_impossible_tensors(tmp_path: Path, tensor: PlannedTensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GGUFWriter(tmp_path / "m.gguf", {}, [tensor])


def test_a_name_appears_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'t' is announced twice"):
        GGUFWriter(tmp_path / "m.gguf", {}, [PlannedTensor("t", TensorType.F32, (1,))] * 2)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"": 1}, "must have 1 to 65535 bytes"),
        ({"k": []}, "'k': the kind of an empty or mixed array"),
        ({"k": [1, "a"]}, "'k': the kind of an empty or mixed array"),
        ({"k": 2**64}, "'k': 18446744073709551616 does not fit in a INT64"),
        ({"k": 1e300}, "'k': 1e[+]300 does not fit in a FLOAT32"),
        ({"k": None}, "'k': None cannot be stored as STRING"),
        ({"general.alignment": 24}, "expected a power of two"),
    ],
)
def test_impossible_metadata(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GGUFWriter(tmp_path / "m.gguf", metadata, [])


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
INTEGERS = st.integers(-(2**63), 2**64 - 1)
VALUES = st.one_of(
    st.booleans(),
    INTEGERS,
    st.floats(width=32, allow_nan=False),
    TEXT,
    st.lists(st.booleans(), min_size=1),
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1),
    st.lists(TEXT, min_size=1),
)


def is_free_key(key: str) -> bool:
    return bool(key) and key != "general.alignment" and not key.startswith("split.")


@settings(deadline=None, max_examples=100)
@given(metadata=st.dictionaries(TEXT.filter(is_free_key), VALUES))
def test_any_metadata_comes_back(tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("any") / "m.gguf"
    write(path, metadata, {})
    with GGUFFile(path) as file:
        assert {key: plain(value) for key, value in file.metadata.items()} == metadata


SHAPES = st.lists(st.integers(1, 4), min_size=0, max_size=3)


@settings(deadline=None, max_examples=60)
@given(plan=st.lists(st.tuples(st.sampled_from(TensorType), SHAPES), max_size=6), part=st.integers(1, 4000))
def test_any_tensors_come_back(
    tmp_path_factory: pytest.TempPathFactory, plan: list[tuple[TensorType, list[int]]], part: int
) -> None:
    tensors = [
        PlannedTensor(f"t{i}", kind, (*outer, 2 * BLOCKS[kind].columns))
        for i, (kind, outer) in enumerate(plan)
    ]
    folder = tmp_path_factory.mktemp("any")
    data = {t.name: bytes(random_bytes(t)) for t in tensors}
    with GGUFWriter(folder / "m.gguf", {}, tensors, max_part_bytes=part) as writer:
        for tensor in tensors:
            writer.write(tensor.name, data[tensor.name])
    with GGUFFile(writer.paths[0]) as file:
        assert [(t.name, t.type, t.shape) for t in file.tensors.values()] == tensors
        assert {name: bytes(t.data) for name, t in file.tensors.items()} == data


def random_bytes(tensor: PlannedTensor) -> bytes:
    return np.random.default_rng(len(tensor.name)).bytes(tensor_bytes(tensor.type, tensor.shape))
