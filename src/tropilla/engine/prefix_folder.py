"""A folder of key-value blocks on disk: one file each, bounded in size, the longest unused first to go.

Several processes of one user may use one folder; others cannot read what is, after all, made of prompts. A
file appears whole, says by a hash whether it still is, and may vanish at any time; whatever is wrong with
it, it counts as not there.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tropilla._native import content_hash

_MAGIC = b"TROPKV1\n"
_HASH_BYTES = 8
_SUFFIX = ".kv"
# A new file must not cost a look at all the others: more than needed is deleted at once, and nobody looks
# before it has written as much itself. So each process may exceed the limit by a tenth.
_KEPT_SHARE = 0.9
# Left behind by a process that was killed while writing.
_PARTIAL_SUFFIX = ".partial"
_PARTIAL_LIFE_S = 3600


class FolderUse(NamedTuple):
    """How much a folder holds."""

    n_blocks: int
    size_bytes: int


class PrefixFolder:
    """Keep blocks by name, limit_bytes of them in all."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        """Make the folder if need be. Raises OSError."""
        self._folder = folder
        self._limit_bytes = limit_bytes
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _delete_left_partials(folder)
        self._room_bytes = self._room(folder_use(folder).size_bytes)

    def load(self, name: bytes) -> bytes | None:
        """Return a block's content; None if it is not there or not whole."""
        path = self._path(name)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        content = data[len(_MAGIC) + _HASH_BYTES :]
        if data[: -len(content) or None] == _header(content):
            return content
        with suppress(OSError):
            path.unlink()
        return None

    def touch(self, name: bytes) -> bool:
        """Note that a block was of use; return whether it is there."""
        try:
            os.utime(self._path(name))
        except OSError:
            return False
        return True

    def save(self, name: bytes, content: bytes) -> None:
        """Write a block, and delete the longest unused ones if there are too many. Raises OSError."""
        path = self._path(name)
        partial = path.with_name(f".{path.stem}.{os.urandom(4).hex()}{_PARTIAL_SUFFIX}")
        try:
            with open(partial, "xb", opener=_private) as file:
                file.write(_header(content) + content)
            partial.replace(path)  # not synced: a file that a power failure spoils is told by its hash
        finally:
            partial.unlink(missing_ok=True)
        self._room_bytes -= len(content)
        if self._room_bytes < 0:
            self._room_bytes = self._room(self._bounded())

    def _bounded(self) -> int:
        """Delete blocks if all processes together wrote too many; return the bytes that are left."""
        size_bytes = folder_use(self._folder).size_bytes
        if size_bytes <= self._limit_bytes:
            return size_bytes
        return _delete_oldest(self._folder, int(self._limit_bytes * _KEPT_SHARE))

    def _room(self, size_bytes: int) -> int:
        """Return how much to write before the next look at what other processes did meanwhile."""
        return min(self._limit_bytes - size_bytes, int(self._limit_bytes * (1 - _KEPT_SHARE)))

    def _path(self, name: bytes) -> Path:
        return self._folder / f"{name.hex()}{_SUFFIX}"


def folder_use(folder: Path) -> FolderUse:
    """Return what a folder holds; nothing if there is none."""
    sizes = [block.size_bytes for block in _files(folder, _SUFFIX)]
    return FolderUse(len(sizes), sum(sizes))


def clear(folder: Path) -> FolderUse:
    """Delete all blocks of a folder; return what they took."""
    used = folder_use(folder)
    _delete_left_partials(folder)
    _delete_oldest(folder, 0)
    return used


def _header(content: bytes) -> bytes:
    return _MAGIC + content_hash(content).to_bytes(_HASH_BYTES, "little")


class _File(NamedTuple):
    path: Path
    size_bytes: int
    used_s: float


def _files(folder: Path, suffix: str) -> list[_File]:
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process has just deleted it
                if entry.name.endswith(suffix):
                    stat = entry.stat()
                    found.append(_File(Path(entry.path), stat.st_size, stat.st_mtime))
    return found


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _delete_left_partials(folder: Path) -> None:
    for partial in _files(folder, _PARTIAL_SUFFIX):
        if time.time() - partial.used_s > _PARTIAL_LIFE_S:
            with suppress(OSError):
                partial.path.unlink()


def _delete_oldest(folder: Path, kept_bytes: int) -> int:
    """Delete the longest unused blocks until kept_bytes at most are left; return how many are."""
    left_bytes = 0
    for block in sorted(_files(folder, _SUFFIX), key=lambda block: -block.used_s):
        if left_bytes + block.size_bytes <= kept_bytes:
            left_bytes += block.size_bytes
        else:
            kept_bytes = left_bytes  # what is older goes too
            block.path.unlink(missing_ok=True)
    return left_bytes
