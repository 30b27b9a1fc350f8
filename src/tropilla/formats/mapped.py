"""Files mapped into memory, read-only: the bytes of a model are never copied to be looked at."""

from __future__ import annotations

import mmap
import os
import stat
from os import PathLike
from pathlib import Path
from types import TracebackType

from tropilla.errors import FormatError

_NEIGHBOURHOOD = 2 << 20  # bytes: the largest page that a file's cache is made of on common systems


class MappedFile:
    """Map a whole regular file; `view` is its bytes.

    Slices of `view` stay valid while anyone holds them: close() gives the mapping back at once if
    nothing else uses it, and otherwise leaves that to the last user. The mapping shows the file as
    it is on disk, so do not write to or truncate a model file in place while it is open.
    Raises FormatError if the file is missing, unreadable, empty or not a regular file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._map = _map_file(self.path)
        except OSError as error:
            raise FormatError(path, f"cannot be opened: {error.strerror or error}") from error
        self.view = memoryview(self._map)
        self.size_bytes = len(self.view)

    def close(self) -> None:
        """Give the mapping back; slices that others still hold keep it alive until they are gone."""
        try:
            self.view.release()
            self._map.close()
        except BufferError:
            return

    def __enter__(self) -> MappedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _map_file(path: Path) -> mmap.mmap:
    # Asked before opening: opening a named pipe would wait for a writer for ever.
    if not stat.S_ISREG(path.stat().st_mode):
        raise FormatError(path, "is not a regular file; give the path of a model file")
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise FormatError(path, "is empty (0 bytes); get the file again")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def release_view(view: memoryview) -> None:
    """End the use of a slice of a mapped file, unless an array still looks at it."""
    try:
        view.release()
    except BufferError:  # the mapping then lives as long as that array
        return


def drop_pages(view: memoryview, offset: int) -> None:
    """Tell the system that the mapped bytes of view, which begin at offset of their file, can leave memory.

    They are read from the file again if they are used again. Does nothing for bytes that are not mapped
    and on systems without such advice.
    """
    owner = view.obj
    if not isinstance(owner, mmap.mmap) or not hasattr(owner, "madvise"):
        return
    # Reading a page maps its neighbours too, as far as the system likes; those count as ours until dropped.
    first = max(0, offset - _NEIGHBOURHOOD)
    start = first - first % mmap.PAGESIZE
    end = min(len(owner), offset + view.nbytes + _NEIGHBOURHOOD)
    owner.madvise(mmap.MADV_DONTNEED, start, end - start)
