"""torch's archives without torch; torch itself writes them and says what is in them."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tropilla.errors import FormatError, TropillaError, UnsupportedError
from tropilla.formats.tensor_types import TensorType
from tropilla.formats.torch_archive import TorchArchive


def same_as_torch(path: Path, *, weights_only: bool = True) -> None:
    """Hold an archive against torch.load, bit for bit."""
    content = torch.load(path, weights_only=weights_only)
    content = content.get("model", content)
    archive = TorchArchive(path)
    assert archive.tensors.keys() == {
        n for n, t in content.items() if torch.is_tensor(t) and t.is_floating_point()
    }
    for name, tensor in archive.tensors.items():
        expected = content[name].detach()
        assert tensor.shape == tuple(expected.shape)
        as_bytes = expected.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        assert bytes(tensor.data) == as_bytes, name
    archive.close()


@pytest.mark.parametrize("name", ["tiny_fair_checkpoint.pt", "tiny_llama2_checkpoint.pt"])
def test_real_checkpoints(real_data: Path, name: str) -> None:
    same_as_torch(real_data / "weights/meta-pth-tiny" / name)


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_saves(tmp_path: Path, protocol: int) -> None:
    shared = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    content: dict[str, Any] = {
        "f32": torch.randn(3, 5),
        "f16": torch.randn(2, 3).half(),
        "bf16": torch.randn(7).bfloat16(),
        "f64": torch.randn(2, 2).double(),
        "parameter": torch.nn.Parameter(torch.randn(4)),
        "slice": shared[1:3],
        "whole": shared,
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "ids": torch.arange(5),
        "nested": {"list": [1, 2, (3.5, None, True)], "text": "ñ"},
    }
    torch.save(content, tmp_path / "m.pth", pickle_protocol=protocol)
    # torch's own careful reader stops at protocol 2; this file is ours, so its other one may read it.
    same_as_torch(tmp_path / "m.pth", weights_only=protocol == 2)


def test_a_state_dictionary_with_metadata(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(3, 2).state_dict(), tmp_path / "m.pth")
    same_as_torch(tmp_path / "m.pth")


def test_types(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).bfloat16(), "b": torch.zeros(1).half()}, tmp_path / "m.pth")
    archive = TorchArchive(tmp_path / "m.pth")
    assert [t.type for t in archive.tensors.values()] == [TensorType.BF16, TensorType.F16]


def test_transposed_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(3, 2).T}, tmp_path / "m.pth")
    with pytest.raises(UnsupportedError, match=r"\(2, 3\) is stored transposed"):
        TorchArchive(tmp_path / "m.pth")


class Malicious:
    """Run a command when unpickled."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.what = (function, arguments)

    def __reduce__(self) -> Any:
        return self.what


def write_archive(path: Path, index: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", index)
        for name, content in members.items():
            archive.writestr("archive/" + name.replace("__", "/"), content)
    return path


@pytest.mark.parametrize("function", [eval, exec, __import__, getattr, print, open], ids=lambda f: f.__name__)
@pytest.mark.parametrize("protocol", range(6))
def test_malicious_pickles_are_refused_and_not_run(tmp_path: Path, function: Any, protocol: int) -> None:
    trap = tmp_path / "trapped"
    attack = Malicious(function, f"open({str(trap)!r}, 'w')")
    path = write_archive(tmp_path / "m.pth", pickle.dumps({"a": attack}, protocol))
    with pytest.raises(UnsupportedError, match=r"malicious|which no plain dictionary"):
        TorchArchive(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b".",
        b"\x80\x02}",
        pickle.dumps([1, 2]),
        pickle.dumps(3),
        b"\x80\x02\x85.",  # a tuple of one from an empty stack
        b"\x80\x02}(K\x01u.",  # a key without a value
        b"\x80\x02h\x05.",  # recalls what was never remembered
        b"\x80\x02K\x01K\x02a.",  # appends to a number
        b"\x80\x02K\x01Q.",  # a storage described by a number
        b"\x80\x02ccollections\nOrderedDict\nK\x01R.",
        b"\x80\x02X\xff\xff\xff\x7fa.",  # a text longer than the file
        b"\x80\x02X\x01\x00\x00\x00\xff.",  # not UTF-8
    ],
)
def test_damaged_indexes(tmp_path: Path, index: bytes) -> None:
    with pytest.raises(FormatError):
        TorchArchive(write_archive(tmp_path / "m.pth", index))


def tensor_index(
    key: str, n_items: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> bytes:
    """Build the index of one float32 tensor with claims of our choice, as torch would spell them."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, strides, False, None)

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: object) -> Any:
            return (
                ("storage", torch.FloatStorage, key, "cpu", n_items) if isinstance(value, Storage) else None
            )

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump({"a": Tensor()})
    return buffer.getvalue()


def test_the_index_maker_is_right(tmp_path: Path) -> None:
    index = tensor_index("0", 6, 1, (2, 2), (2, 1))
    path = write_archive(tmp_path / "m.pth", index, data__0=np.arange(6, dtype=np.float32).tobytes())
    np.testing.assert_array_equal(TorchArchive(path).tensors["a"].to_float32(), [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        (("1", 6, 0, (6,), (1,)), "lacks 'data/1'"),
        (("0", 7, 0, (6,), (1,)), "lies in 24 bytes, expected 28"),
        (("0", 6, 1, (6,), (1,)), "leaves its storage"),
        (("0", 6, -1, (6,), (1,)), "leaves its storage"),
        (("0", 6, 0, (-2, -3), (1, 1)), "no size"),
        (("0", 6, 0, (2**40, 2**40), (1, 1)), "leaves its storage"),
        (("0", -1, 0, (0,), (1,)), "storage"),
        (("../../etc/passwd", 6, 0, (6,), (1,)), "lacks"),
        (("0", 6, 0, (1,) * 9, (1,) * 9), "leaves its storage"),
        (("0", 6, 0, (2, 3), (1,)), "damaged"),
    ],
)
def test_claims_that_do_not_fit(tmp_path: Path, claims: tuple[Any, ...], message: str) -> None:
    path = write_archive(tmp_path / "m.pth", tensor_index(*claims), data__0=bytes(24))
    with pytest.raises(FormatError, match=message):
        TorchArchive(path)


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(UnsupportedError, match="compressed or encrypted"):
        TorchArchive(tmp_path / "m.pth")


def test_big_endian_is_refused(tmp_path: Path) -> None:
    index = tensor_index("0", 6, 0, (6,), (1,))
    with pytest.raises(UnsupportedError, match="big-endian"):
        TorchArchive(write_archive(tmp_path / "m.pth", index, data__0=bytes(24), byteorder=b"big"))


def test_torchs_old_format_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "m.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(FormatError, match=r"as torch\.save writes it since version 1\.6"):
        TorchArchive(tmp_path / "m.pth")


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    torch.save({"a": torch.randn(5, 3)}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for size in range(0, len(whole), 7):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(FormatError):
            TorchArchive(tmp_path / "cut.pth")


def test_single_flipped_bytes_never_crash(tmp_path: Path) -> None:
    """Any damage to the archive's structure gives a tensor's bytes or one of our errors."""
    torch.save({"a": torch.randn(2, 3)}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "m.pth"
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            archive = TorchArchive(path)
        except TropillaError:
            continue
        for tensor in archive.tensors.values():
            assert len(bytes(tensor.data)) == tensor.size_bytes <= len(whole)
        archive.close()


def test_a_member_that_points_outside(tmp_path: Path) -> None:
    torch.save({"a": torch.randn(2, 3)}, tmp_path / "m.pth")
    whole = bytearray((tmp_path / "m.pth").read_bytes())
    entry = whole.index(b"PK\x01\x02")
    whole[entry + 42 : entry + 46] = struct.pack("<I", len(whole) + 5)
    (tmp_path / "m.pth").write_bytes(whole)
    with pytest.raises(FormatError):
        TorchArchive(tmp_path / "m.pth")
