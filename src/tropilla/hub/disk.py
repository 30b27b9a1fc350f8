"""Say before a download, not in the middle of it, that the disk is too small."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tropilla.errors import CapacityError, PullError


def need_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Raise CapacityError if the folder's disk has less free space than needed."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise CapacityError(
            f"{purpose} needs {human_bytes(needed_bytes)} on the disk of {folder.parent}, which has "
            f"{human_bytes(free)} free; free some space, or set TROPILLA_HOME to another disk",
            needed=needed_bytes,
            available=free,
        )


@contextmanager
def full_disk_explained(folder: Path, purpose: str) -> Iterator[None]:
    """Turn the system's "no space left" within the block into a PullError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise PullError(
            f"the disk of {folder} filled up while {purpose}; free some space and try again, "
            "or set TROPILLA_HOME to another disk"
        ) from error


def human_bytes(size_bytes: float) -> str:
    """Return a size as people write it, in powers of ten: 98.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 999.5:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"
