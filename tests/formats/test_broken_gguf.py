"""Damaged GGUF files: each gives its own error, and nothing else ever happens."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.formats.gguf_bytes import (
    ARRAY,
    BOOL,
    F32,
    STRING,
    U8,
    U32,
    array,
    file,
    pair,
    tensor,
    text,
    u32,
    u64,
)
from tropilla.errors import FormatError, TropillaError, UnsupportedError
from tropilla.formats.gguf import GGUFFile
from tropilla.formats.gguf_values import GGUFArray

NAME = pair("general.name", STRING, text("tiny"))
HUGE = 2**64 - 1


class Broken(NamedTuple):
    content: bytes
    message: str
    error: type[TropillaError] = FormatError


def tensors(*infos: bytes, data: bytes = bytes(64)) -> bytes:
    return file([NAME], list(infos), data)


def pairs(*encoded: bytes) -> bytes:
    return file(list(encoded), [])


BROKEN = {
    "no bytes": Broken(b"", "is empty [(]0 bytes[)]"),
    "another magic": Broken(b"PK\x03\x04" + bytes(40), "is not a GGUF file: it begins with b'PK"),
    "only a magic": Broken(b"GGUF", "at byte 4: the version needs 4 bytes but the file has only 0 more"),
    "GGML": Broken(b"lmgg" + bytes(40), "is a GGML file from before August 2023", UnsupportedError),
    "GGJT": Broken(b"tjgg" + bytes(40), "is a GGJT file", UnsupportedError),
    "version 1": Broken(file([], [], version=u32(1)), "is GGUF version 1; Tropilla reads", UnsupportedError),
    "version 4": Broken(file([], [], version=u32(4)), "is GGUF version 4", UnsupportedError),
    "big-endian": Broken(file([], [], version=u32(3)[::-1]), "is a big-endian GGUF", UnsupportedError),
    "too many pairs": Broken(
        file([NAME], [], n_pairs=3), "at byte 24: the header announces 3 metadata pairs, more than fit in"
    ),
    "2**64 - 1 pairs": Broken(file([NAME], [], n_pairs=HUGE), f"announces {HUGE} metadata pairs"),
    "2**64 - 1 tensors": Broken(file([NAME], [], n_tensors=HUGE), f"announces {HUGE} tensors"),
    "one pair too many": Broken(
        file([NAME], [], bytes(64), n_pairs=2), "at byte 68: a metadata key is empty"
    ),
    "empty key": Broken(pairs(pair("", U8, b"\1")), "at byte 32: a metadata key is empty"),
    "long key": Broken(pairs(pair("k" * 65536, U8, b"\1")), "a metadata key has 65536 bytes, at most 65535"),
    "key not UTF-8": Broken(pairs(pair(b"k\xff", U8, b"\1")), "at byte 33: a metadata key is not UTF-8"),
    "key twice": Broken(pairs(NAME, NAME), "the metadata key 'general.name' appears twice"),
    "key beyond the file": Broken(
        pairs(text("key", 2**40) + bytes(20)), "a metadata key has 1099511627776 bytes, at most 65535"
    ),
    "unknown kind": Broken(pairs(pair("k", 13, bytes(8))), "k is of the unknown kind 13"),
    "string beyond the file": Broken(
        pairs(pair("k", STRING, text("abc", 100))), "k needs 100 bytes but the file has only"
    ),
    "string of 2**64 - 1": Broken(
        pairs(pair("k", STRING, text("abc", HUGE))), f"k has {HUGE} bytes, at most"
    ),
    "string not UTF-8": Broken(pairs(pair("k", STRING, text(b"ab\xc3"))), "at byte 47: k is not UTF-8"),
    "bool of 2": Broken(pairs(pair("k", BOOL, b"\2")), "at byte 37: k is a bool but neither 0 nor 1"),
    "bool array with 2": Broken(
        pairs(pair("k", ARRAY, array(BOOL, 3, b"\0\2\1"))), "at byte 49: k is a bool but neither 0 nor 1"
    ),
    "array of arrays": Broken(
        pairs(pair("k", ARRAY, array(ARRAY, 1, array(U8, 1, b"\1")))), "array of arrays", UnsupportedError
    ),
    "array of unknown kind": Broken(
        pairs(pair("k", ARRAY, array(99, 1, b"\1"))), "the items of k is of the unknown kind 99"
    ),
    "array beyond the file": Broken(
        pairs(pair("k", ARRAY, array(F32, 1000, bytes(40)))), "k needs 4000 bytes but the file has only"
    ),
    "array of 2**64 - 1": Broken(
        pairs(pair("k", ARRAY, array(U8, HUGE, bytes(40)))), f"k has {HUGE} items, at most 1073741824"
    ),
    "array whose size overflows": Broken(
        pairs(pair("k", ARRAY, array(F32, 2**62, bytes(40)))), "k has 4611686018427387904 items"
    ),
    "strings beyond the file": Broken(
        pairs(pair("k", ARRAY, array(STRING, 9, text("a") * 3))), "k runs beyond the end of the file"
    ),
    "strings of 2**64 - 1": Broken(
        pairs(pair("k", ARRAY, array(STRING, 2, text("a", HUGE) + text("b")))), "k runs beyond the end"
    ),
    "last string beyond the file": Broken(
        pairs(pair("k", ARRAY, array(STRING, 2, text("a") + text("b", 500)))), "k runs beyond the end"
    ),
    "2**30 strings": Broken(
        pairs(pair("k", ARRAY, array(STRING, 2**30, text("a")))), "k has 1073741824 items, at most 16777216"
    ),
    "alignment 0": Broken(pairs(pair("general.alignment", U32, u32(0))), "general.alignment is 0, expected"),
    "alignment 24": Broken(pairs(pair("general.alignment", U32, u32(24))), "general.alignment is 24"),
    "alignment 2**31": Broken(pairs(pair("general.alignment", U32, u32(2**31))), "is 2147483648, expected"),
    "alignment a byte": Broken(pairs(pair("general.alignment", U8, b"\x20")), "is a UINT8, expected UINT32"),
    "alignment a text": Broken(pairs(pair("general.alignment", STRING, text("32"))), "is a STRING, expected"),
    "no name": Broken(tensors(tensor("", (4,))), "a tensor name is empty"),
    "long name": Broken(tensors(tensor("n" * 65, (4,))), "a tensor name has 65 bytes, at most 64"),
    "name not UTF-8": Broken(tensors(tensor(b"\xff", (4,))), "a tensor name is not UTF-8"),
    "no dimensions": Broken(tensors(tensor("t", ())), "tensor 't' has 0 dimensions, expected 1 to 4"),
    "five dimensions": Broken(tensors(tensor("t", (1,) * 5)), "tensor 't' has 5 dimensions"),
    "a dimension of 0": Broken(tensors(tensor("t", (4, 0))), r"tensor 't' has the shape [(]0, 4[)]"),
    "a product of 2**64": Broken(
        tensors(tensor("t", (2**32, 2**32))), "tensor 't' ends at byte 73786976294838206592 but the file has"
    ),
    "dimensions of 2**64 - 1": Broken(tensors(tensor("t", (HUGE,) * 4)), "tensor 't' ends at byte"),
    "part of a block": Broken(
        tensors(tensor("t", (33, 2), 2)), "tensor 't': rows of 33 weights are not a whole"
    ),
    "unknown type": Broken(tensors(tensor("t", (4,), 1000)), "tensor 't' is of the unknown type 1000"),
    "removed type": Broken(
        tensors(tensor("t", (32,), 4)),
        "tensor 't' is of type Q4_2 .id 4., a type that llama",
        UnsupportedError,
    ),
    "a fork's type": Broken(
        tensors(tensor("t", (256,), 137)), "only the ik_llama.cpp fork", UnsupportedError
    ),
    "tensor twice": Broken(tensors(tensor("t", (8,)), tensor("t", (8,), 0, 32)), "tensor 't' appears twice"),
    "offset not at the start": Broken(
        tensors(tensor("t", (4,), 0, 32)), "tensor 't' begins at byte 32 of the data, expected 0"
    ),
    "offset with a gap": Broken(
        tensors(tensor("t", (8,)), tensor("u", (4,), 0, 64)), "tensor 'u' begins at byte 64 .*, expected 32"
    ),
    "offset that overlaps": Broken(
        tensors(tensor("t", (8,)), tensor("u", (8,), 0, 16)), "'u' begins at byte 16"
    ),
    "offset of 2**64 - 32": Broken(
        tensors(tensor("t", (8,), 0, 2**64 - 32)), "begins at byte 18446744073709551584"
    ),
    "data beyond the file": Broken(
        tensors(tensor("t", (8,)), tensor("u", (9,), 0, 32)), "tensor 'u' ends at byte .* it is cut off"
    ),
    "no data": Broken(tensors(tensor("t", (8,)), data=b""), "tensor 't' ends at byte .* it is cut off"),
    "split.count a text": Broken(
        pairs(pair("split.count", STRING, text("2"))), "split.count is '2', expected"
    ),
    "split.count a bool": Broken(
        pairs(pair("split.count", BOOL, b"\1")), "split.count is True, expected a whole"
    ),
    "split but alone": Broken(
        pairs(pair("split.count", U32, u32(2))), "is one of 2 parts, so its name must end"
    ),
    "wrong tensor count": Broken(
        pairs(pair("split.tensors.count", U32, u32(5))), "is 5 but the parts hold 0"
    ),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=list(BROKEN))
def test_each_gives_its_error(tmp_path: Path, case: Broken) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(case.content)
    with pytest.raises(case.error, match=case.message) as caught:
        GGUFFile(path)
    assert str(caught.value).startswith(str(path))
    assert type(caught.value) is case.error
    path.unlink()  # on Windows this fails if the file is still mapped


SOUND = file(
    [NAME, pair("k", ARRAY, array(STRING, 2, text("a") + text("ñ"))), pair("b", BOOL, b"\1")],
    [tensor("t", (4, 2)), tensor("u", (32,), 2, 32)],
    bytes(32 + 18),
)


def test_the_sound_file_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "sound.gguf"
    for version in (2, 3):
        path.write_bytes(SOUND[:4] + u32(version) + SOUND[8:])
        with GGUFFile(path) as opened:
            assert opened.version == version
            assert opened.tensors["t"].shape == (2, 4)
            assert list(opened.tensors) == ["t", "u"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    for length in range(len(SOUND)):
        path.write_bytes(SOUND[:length])
        with pytest.raises(FormatError, match=r"cut\.gguf"):
            GGUFFile(path)


def test_bytes_after_the_last_tensor_are_allowed(tmp_path: Path) -> None:
    path = tmp_path / "padded.gguf"
    path.write_bytes(SOUND + bytes(14))
    GGUFFile(path).close()


def test_text_of_arrays_is_checked_when_used(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_bytes(pairs(pair("k", ARRAY, array(STRING, 2, text("good") + text(b"\xff\xfe")))))
    with GGUFFile(path) as opened:
        pieces = opened.metadata["k"]
        assert isinstance(pieces, GGUFArray)
        assert pieces[0] == "good"
        assert pieces.bytes_at(1) == b"\xff\xfe"
        with pytest.raises(FormatError, match=r"at byte 69: a string of the header is not UTF-8"):
            pieces[1]
        with pytest.raises(FormatError, match=r"at byte 69: a string of the header is not UTF-8"):
            list(pieces)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (file([], [], n_tensors=2**17 + 1) + bytes(33 << 17), "131073 tensors, at most 131072"),
        (file([], [], n_pairs=2**16 + 1) + bytes(14 << 16), "65537 metadata pairs, at most 65536"),
    ],
)
def test_absurd_counts_are_refused_though_the_file_is_long(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "absurd.gguf"
    path.write_bytes(content + bytes(64))
    with pytest.raises(FormatError, match=message):
        GGUFFile(path)


def test_text_has_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strings are decoded at once, at up to four bytes a letter, so all of them together are bounded."""
    monkeypatch.setattr("tropilla.formats.gguf_cursor.MAX_TEXT_BYTES", 20)
    path = tmp_path / "text.gguf"
    path.write_bytes(pairs(pair("a", STRING, text("x" * 15)), pair("b", STRING, text("y" * 15))))
    with pytest.raises(FormatError, match="b has 15 bytes, at most"):
        GGUFFile(path)


def test_opening_takes_no_memory_for_what_arrays_hold(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    count = 100_000
    path.write_bytes(pairs(pair("k", ARRAY, array(STRING, count, text("piece") * count))))
    tracemalloc.start()
    try:
        with GGUFFile(path) as opened:
            opened_peak = tracemalloc.get_traced_memory()[1]
            pieces = opened.metadata["k"]
            assert isinstance(pieces, GGUFArray)
            assert pieces[count - 1] == "piece"
    finally:
        tracemalloc.stop()
    assert opened_peak < 200_000


def test_a_folder_and_an_absent_file_are_not_models(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="is not a regular file"):
        GGUFFile(tmp_path)
    with pytest.raises(FormatError, match="cannot be opened: No such file"):
        GGUFFile(tmp_path / "absent.gguf")


def test_offsets_are_carried(tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(b"GGUF" + u32(3) + u64(0))
    with pytest.raises(FormatError) as caught:
        GGUFFile(path)
    assert (caught.value.path, caught.value.offset) == (str(path), 16)
