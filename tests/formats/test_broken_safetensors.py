"""Damaged safetensors files: each gives its own error, and the safetensors package refuses them too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import safetensors

from tropilla.errors import FormatError
from tropilla.formats.safetensors import SafetensorsFile

HUGE = 2**64 - 1


def spell(header: str | bytes | dict[str, object], data: bytes = b"", *, length: int | None = None) -> bytes:
    """Put a file together; a length given says something else than the header's."""
    encoded = json.dumps(header) if isinstance(header, dict) else header
    encoded = encoded.encode() if isinstance(encoded, str) else encoded
    return (len(encoded) if length is None else length).to_bytes(8, "little") + encoded + data


def entry(shape: object = (2,), offsets: object = (0, 8), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def one(shape: object = (2,), offsets: object = (0, 8), dtype: object = "F32") -> bytes:
    return spell({"w": entry(shape, offsets, dtype)}, bytes(8))


def two(first: tuple[int, int], second: tuple[int, int], data_bytes: int = 16) -> bytes:
    return spell({"a": entry((2,), first), "b": entry((2,), second)}, bytes(data_bytes))


class Broken(NamedTuple):
    content: bytes
    message: str


ENTRY = '{"dtype":"F32","shape":[2],"data_offsets":[0,8]}'

BROKEN = {
    "no bytes": Broken(b"", "is empty"),
    "seven bytes": Broken(bytes(7), "has 7 bytes, too few"),
    "length beyond the file": Broken(
        spell("{}", length=9), "at byte 0: announces a header of 9 bytes but has"
    ),
    "length of 2**64 - 1": Broken(spell("{}", length=HUGE), f"announces a header of {HUGE} bytes, at most"),
    "empty header": Broken(spell(""), "at byte 8: the header begins with b'', expected '{'"),
    "not an object": Broken(spell("[1]"), "the header begins with b'.', expected '{'"),
    "space before the object": Broken(spell(" {}"), "the header begins with b' '"),
    "cut JSON": Broken(spell('{"w":'), "the header is not valid: Expecting value"),
    "two objects": Broken(spell("{}{}"), "the header is not valid: Extra data"),
    "not UTF-8": Broken(spell(b'{"\xff":1}'), "the header is not valid: 'utf-8' codec"),
    "half a surrogate pair": Broken(spell('{"\\ud800":' + ENTRY + "}", bytes(8)), "surrogates not allowed"),
    "deep JSON": Broken(spell('{"a":' + "[" * 100_000), "the header is not valid: "),
    "a name twice": Broken(spell(f'{{"w":{ENTRY},"w":{ENTRY}}}', bytes(8)), "the key 'w' appears twice"),
    "a field twice": Broken(
        spell('{"w":{"dtype":"F32","shape":[2],"shape":[2],"data_offsets":[0,8]}}', bytes(8)),
        "the key 'shape' appears twice",
    ),
    "no table": Broken(spell({"w": 3}, bytes(8)), "tensor 'w' is not described by dtype, shape and"),
    "a field too few": Broken(spell({"w": {"dtype": "F32"}}, bytes(8)), "tensor 'w' is not described by"),
    "shape a number": Broken(one(shape=2), "tensor 'w' has a shape that is not a list"),
    "shape of a float": Broken(one(shape=[2.0]), "2.0 is not a whole number"),
    "shape of an infinity": Broken(spell('{"w":[Infinity]}'), "Infinity is not a whole number"),
    "shape of a bool": Broken(one(shape=[True, 2]), "tensor 'w' has a shape that is not a list"),
    "shape of a text": Broken(one(shape=["2"]), "tensor 'w' has a shape that is not a list"),
    "negative shape": Broken(one(shape=[-2]), "tensor 'w' has a shape that is not a list"),
    "shape of 2**63": Broken(one(shape=[2**63]), "tensor 'w' has a shape that is not a list"),
    "shape whose product overflows": Broken(one(shape=[2**62, 4]), "takes 73786976294838206464 bytes, not 8"),
    "shape of 5000 digits": Broken(spell('{"w":[' + "1" * 5000 + "]}"), "the header is not valid: Exceeds"),
    "size unlike the shape": Broken(one(shape=[3]), "'w' of shape [(]3,[)] and F32 takes 12 bytes, not 8"),
    "size unlike the dtype": Broken(one(dtype="F16"), "and F16 takes 4 bytes, not 8"),
    "end before begin": Broken(one(offsets=[8, 0]), "takes 8 bytes, not -8"),
    "one offset": Broken(one(offsets=[8]), "data_offsets that are not two whole numbers"),
    "three offsets": Broken(one(offsets=[0, 4, 8]), "data_offsets that are not two whole numbers"),
    "negative offset": Broken(one(offsets=[-8, 0]), "data_offsets that are not two whole numbers"),
    "offset of 2**64": Broken(one(offsets=[2**64, 2**64 + 8]), "data_offsets that are not two whole numbers"),
    "unknown dtype": Broken(one(dtype="F33"), "tensor 'w' has an unknown dtype"),
    "dtype a number": Broken(one(dtype=32), "tensor 'w' has an unknown dtype"),
    "dtype a list": Broken(one(dtype=["F32"]), "tensor 'w' has an unknown dtype"),
    "metadata a number": Broken(spell({"__metadata__": 3}), "__metadata__ is not a table of strings"),
    "metadata of numbers": Broken(
        spell({"__metadata__": {"a": 3}}), "__metadata__ is not a table of strings"
    ),
    "gap at the start": Broken(one(offsets=[8, 16]), "tensor 'w' begins at byte 8 .* leaves a gap before it"),
    "gap between": Broken(
        two((0, 8), (16, 24), 24), "tensor 'b' begins at byte 16 .* leaves a gap before it"
    ),
    "overlap": Broken(two((0, 8), (4, 12), 12), "tensor 'b' begins at byte 4 .* overlaps the one before"),
    "the same place": Broken(
        two((0, 8), (0, 8), 8), "tensor 'b' begins at byte 0 .* overlaps the one before"
    ),
    "cut data": Broken(two((0, 8), (8, 16), 15), "the tensors take 16 bytes but the file holds 15"),
    "bytes after the data": Broken(
        two((0, 8), (8, 16), 17), "the tensors take 16 bytes but the file holds 17"
    ),
    "no data": Broken(spell({"w": entry()}), "the tensors take 8 bytes but the file holds 0"),
}

# What the safetensors package lets pass, the first one against its own description of the format.
PACKAGE_ACCEPTS = {"space before the object", "a name twice"}


@pytest.mark.parametrize("name", BROKEN)
def test_each_gives_its_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(BROKEN[name].content)
    with pytest.raises(FormatError, match=BROKEN[name].message) as caught:
        SafetensorsFile(path)
    assert str(caught.value).startswith(str(path))
    path.unlink()  # on Windows this fails if the file is still mapped


@pytest.mark.parametrize("name", sorted(BROKEN.keys() - PACKAGE_ACCEPTS))
def test_the_package_refuses_it_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(BROKEN[name].content)
    with pytest.raises((safetensors.SafetensorError, ValueError, OSError)):
        safetensors.safe_open(path, "np")


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path, sound = tmp_path / "cut.safetensors", two((0, 8), (8, 16))
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(FormatError, match=r"cut\.safetensors"):
            SafetensorsFile(path)


def test_spaces_after_the_header_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "padded.safetensors"
    path.write_bytes(spell(json.dumps({"w": entry()}) + " " * 5, bytes(8)))
    with SafetensorsFile(path) as file:
        assert file.tensors["w"].shape == (2,)


def test_a_huge_header_is_refused_though_the_file_is_long(tmp_path: Path) -> None:
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(spell("{", length=(8 << 20) + 1))
        file.truncate(10 << 20)
    with pytest.raises(FormatError, match="announces a header of 8388609 bytes, at most 8388608 are allowed"):
        SafetensorsFile(path)
