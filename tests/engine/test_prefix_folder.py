"""Blocks on disk: whole or not there, bounded, the longest unused first to go."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tropilla._native import content_hash
from tropilla.engine.prefix_folder import PrefixFolder, clear, folder_use

BLOCK = bytes(range(250)) * 4  # 1000 bytes, and 16 of header in the file


def files_of(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


def age(folder: Path, name: bytes, seconds: float) -> None:
    """Make a block look as if it was last used that long ago."""
    path = folder / f"{name.hex()}.kv"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def test_a_block_comes_back_as_it_was(tmp_path: Path) -> None:
    PrefixFolder(tmp_path / "new" / "folder", 10_000).save(b"a", BLOCK)
    again = PrefixFolder(tmp_path / "new" / "folder", 10_000)
    assert again.load(b"a") == BLOCK
    assert again.load(b"b") is None
    assert again.touch(b"a")
    assert not again.touch(b"b")


@pytest.mark.parametrize("damage", ["cut", "emptied", "changed", "other magic", "longer"])
def test_a_damaged_block_counts_as_not_there_and_goes(tmp_path: Path, damage: str) -> None:
    folder = PrefixFolder(tmp_path, 10_000)
    folder.save(b"a", BLOCK)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "emptied": b"",
            "changed": data[:500] + bytes([data[500] ^ 1]) + data[501:],
            "other magic": b"x" + data[1:],
            "longer": data + b"\0",
        }[damage]
    )
    assert folder.load(b"a") is None
    assert not path.exists()


def test_the_longest_unused_blocks_make_room(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path, 3_100)
    for seconds, name in ((300, b"a"), (200, b"b"), (100, b"c")):
        folder.save(name, BLOCK)
        age(tmp_path, name, seconds)
    folder.touch(b"a")
    folder.save(b"d", BLOCK)
    assert files_of(tmp_path) == [b"a".hex(), b"d".hex()]  # two fit nine tenths of the limit
    assert folder_use(tmp_path) == (2, 2032)


def test_a_folder_filled_by_another_process_is_bounded_too(tmp_path: Path) -> None:
    PrefixFolder(tmp_path, 100_000).save(b"a", BLOCK)
    age(tmp_path, b"a", 10)
    PrefixFolder(tmp_path, 1_500).save(b"b", BLOCK)
    assert files_of(tmp_path) == [b"b".hex()]


def test_what_a_killed_process_left_goes_and_what_one_is_writing_stays(tmp_path: Path) -> None:
    left, writing = tmp_path / ".aa.1.partial", tmp_path / ".bb.2.partial"
    left.write_bytes(BLOCK)
    writing.write_bytes(BLOCK)
    os.utime(left, (0, 0))
    PrefixFolder(tmp_path, 500).save(b"a", BLOCK)
    assert not left.exists()
    assert writing.exists()


def test_clear_empties_and_tells_how_much(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path, 10_000)
    folder.save(b"a", BLOCK)
    folder.save(b"b", BLOCK)
    assert clear(tmp_path) == (2, 2032)
    assert folder_use(tmp_path) == (0, 0)
    assert folder.load(b"a") is None
    assert clear(tmp_path / "nowhere") == (0, 0)


def test_nothing_is_left_of_a_write_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = PrefixFolder(tmp_path, 10_000)

    def refuse(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no room"):
        folder.save(b"a", BLOCK)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_nobody_else_can_read_what_prompts_left(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "prefixes"
    PrefixFolder(folder, 10_000).save(b"a", BLOCK)
    (path,) = folder.iterdir()
    assert [stat.S_IMODE(place.stat().st_mode) for place in (folder, path)] == [0o700, 0o600]


def test_processes_together_stay_near_the_limit(tmp_path: Path) -> None:
    """Each counted only its own blocks: four of them held four times the limit."""
    processes = [PrefixFolder(tmp_path, 20_000) for _ in range(4)]
    for i in range(80):
        processes[i % 4].save(bytes([i]), BLOCK)
        assert folder_use(tmp_path).size_bytes <= 20_000 + 4 * 2_000


def test_what_a_killed_process_left_goes_when_the_next_one_opens_the_folder(tmp_path: Path) -> None:
    left = tmp_path / ".aa.1.partial"
    left.write_bytes(BLOCK)
    os.utime(left, (0, 0))
    PrefixFolder(tmp_path, 10_000)
    assert not left.exists()


@given(st.binary(max_size=300), st.data())
def test_the_hash_tells_any_change_of_one_byte(content: bytes, data: st.DataObject) -> None:
    """Every step of the hash can be undone, so two contents that differ in one word never meet."""
    assert content_hash(content + b"\0") != content_hash(content)
    if content:
        at = data.draw(st.integers(0, len(content) - 1))
        flip = data.draw(st.integers(1, 255))
        changed = bytearray(content)
        changed[at] ^= flip
        assert content_hash(bytes(changed)) != content_hash(content)
