"""Reading GGUF: files written by the gguf package, the real ones, and what they give back."""

from __future__ import annotations

import sys
from pathlib import Path
from subprocess import run
from typing import Any

import gguf
import numpy as np
import pytest

from tropilla.errors import FormatError
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.gguf_values import GGUFArray, ValueKind
from tropilla.formats.tensor_types import TensorType


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Write, with the gguf package, a file with every kind of value and two tensors."""
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint8("k.u8", 255)
    writer.add_int8("k.i8", -128)
    writer.add_uint16("k.u16", 65535)
    writer.add_int16("k.i16", -32768)
    writer.add_uint32("k.u32", 2**32 - 1)
    writer.add_int32("k.i32", -(2**31))
    writer.add_uint64("k.u64", 2**64 - 1)
    writer.add_int64("k.i64", -(2**63))
    writer.add_float32("k.f32", 0.5)
    writer.add_float64("k.f64", 0.1)
    writer.add_bool("k.yes", True)
    writer.add_bool("k.no", False)
    writer.add_string("k.text", "ñandú 🦙")
    writer.add_array("k.strings", ["", "a", "ñandú", "🦙" * 100])
    writer.add_array("k.ints", [1, -2, 3])
    writer.add_array("k.floats", [0.5, -0.25])
    writer.add_array("k.bools", [True, False, True])
    writer.add_tensor("a.weight", np.arange(12, dtype=np.float32).reshape(3, 4))
    writer.add_tensor("b.bias", np.arange(5, dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def plain(value: object) -> Any:
    return list(value) if isinstance(value, GGUFArray) else value


def test_metadata(small: Path) -> None:
    with GGUFFile(small) as file:
        assert file.version == 3
        assert {key: plain(value) for key, value in file.metadata.items()} == {
            "general.architecture": "llama",
            "k.u8": 255, "k.i8": -128, "k.u16": 65535, "k.i16": -32768,
            "k.u32": 2**32 - 1, "k.i32": -(2**31), "k.u64": 2**64 - 1, "k.i64": -(2**63),
            "k.f32": 0.5, "k.f64": 0.1, "k.yes": True, "k.no": False, "k.text": "ñandú 🦙",
            "k.strings": ["", "a", "ñandú", "🦙" * 100],
            "k.ints": [1, -2, 3], "k.floats": [0.5, -0.25], "k.bools": [True, False, True],
        }  # fmt: skip
        assert file.kinds["k.u16"] is ValueKind.UINT16
        assert file.metadata["k.yes"] is True


def test_arrays_are_sequences(small: Path) -> None:
    with GGUFFile(small) as file:
        strings, floats, bools = (file.metadata[f"k.{name}"] for name in ("strings", "floats", "bools"))
        assert isinstance(strings, GGUFArray)
        assert (len(strings), strings[2], strings[-4], strings[1:3]) == (4, "ñandú", "", ["a", "ñandú"])
        assert strings.bytes_at(2) == "ñandú".encode()
        assert isinstance(floats, GGUFArray)
        assert (floats[1], floats.kind) == (-0.25, ValueKind.FLOAT32)
        assert isinstance(bools, GGUFArray)
        assert bools[1] is False
        with pytest.raises(IndexError):
            strings[4]


def test_tensors(small: Path) -> None:
    with GGUFFile(small) as file:
        assert list(file.tensors) == ["a.weight", "b.bias"]
        a, b = file.tensors.values()
        assert (a.type, a.shape, a.size_bytes) == (TensorType.F32, (3, 4), 48)
        assert (b.type, b.shape) == (TensorType.F16, (5,))
        np.testing.assert_array_equal(a.to_float32(), np.arange(12, dtype=np.float32).reshape(3, 4))
        np.testing.assert_array_equal(b.to_float32(), np.arange(5, dtype=np.float32))
        a.release()
        assert bytes(a.data[4:8]) == np.float32(1).tobytes()


def test_data_is_not_copied(small: Path) -> None:
    with GGUFFile(small) as file:
        a = file.tensors["a.weight"]
        assert a.data.readonly
        assert bytes(a.data) == small.read_bytes()[a.offset : a.offset + 48]


def test_closing_ends_the_use_of_data(small: Path) -> None:
    with GGUFFile(small) as file:
        a, strings = file.tensors["a.weight"], file.metadata["k.strings"]
    with pytest.raises(ValueError, match="released"):
        bytes(a.data)
    with pytest.raises(ValueError, match="released"):
        list(strings)  # type: ignore[arg-type]  # known to be an array


def test_arrays_outlive_the_file(small: Path) -> None:
    """A NumPy view keeps the mapping alive: reading it after close() must not crash."""
    with GGUFFile(small) as file:
        view = np.frombuffer(file.tensors["a.weight"].data, np.float32)
    file.close()
    assert view[11] == 11


def test_opening_does_not_load_numpy(small: Path) -> None:
    script = (
        "import sys; from tropilla.formats.gguf import GGUFFile; GGUFFile(sys.argv[1]);"
        "sys.exit('numpy' in sys.modules)"
    )
    assert run([sys.executable, "-c", script, str(small)], check=False).returncode == 0


def write_split(folder: Path) -> list[Path]:
    """Write a model in three parts with the gguf package."""
    writer = gguf.GGUFWriter(folder / "m.gguf", "llama", split_max_tensors=2)
    for i in range(5):
        writer.add_tensor(f"t{i}.weight", np.full((2, 8), i, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("*.gguf"))


def test_split_files_open_as_one(tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    assert len(parts) == 3
    with GGUFFile(parts[0]) as file:
        assert file.paths == parts
        assert file.size_bytes == sum(part.stat().st_size for part in parts)
        assert [float(t.to_float32()[1, 7]) for t in file.tensors.values()] == [0, 1, 2, 3, 4]


def test_split_files_need_their_first_part(tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    with pytest.raises(FormatError, match=r"later part of a split file; open m-00001-of-00003\.gguf"):
        GGUFFile(parts[1])


def test_split_files_need_every_part(tmp_path: Path) -> None:
    parts = write_split(tmp_path)
    parts[2].unlink()
    with pytest.raises(FormatError, match=r"m-00003-of-00003\.gguf: cannot be opened"):
        GGUFFile(parts[0])


def test_split_files_need_their_names(tmp_path: Path) -> None:
    first = write_split(tmp_path)[0].rename(tmp_path / "renamed.gguf")
    with pytest.raises(FormatError, match="one of 3 parts, so its name must end in -00001-of-00003"):
        GGUFFile(first)


def test_real_files_equal_the_gguf_package(real_data: Path) -> None:
    for name in (
        "tokenizers/vectors/ggml-vocab-llama-spm",
        "weights/llama-2-tiny-random/llama-2-tiny-random",
    ):
        path = real_data / f"{name}.gguf"
        theirs = gguf.GGUFReader(path)
        with GGUFFile(path) as ours:
            for key, value in ours.metadata.items():
                assert plain(value) == theirs.fields[key].contents(), (path.name, key)
            assert list(ours.tensors) == [t.name for t in theirs.tensors]
            for tensor in theirs.tensors:
                mine = ours.tensors[tensor.name]
                assert mine.shape == tuple(int(n) for n in reversed(tensor.shape))
                assert bytes(mine.data) == tensor.data.tobytes()
