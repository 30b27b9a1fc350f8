"""Where a result goes: checked before any work begins."""

from __future__ import annotations

from pathlib import Path

from tropilla.errors import FormatError, OptionError


def check_destination(source: Path, destination: Path, *, overwrite: bool) -> None:
    """Raise OptionError if writing would destroy the source or, unless overwrite is set, anything else."""
    if not source.exists():
        raise FormatError(source, "there is no such file or folder; check the path")
    if destination.exists() and destination.samefile(source):
        raise OptionError(f"{destination} is the source itself; choose another name for the result")
    if destination.resolve() in source.resolve().parents:
        raise OptionError(f"{destination} is the folder that the source lies in; choose another name")
    if source.is_dir() and source.resolve() in destination.resolve().parents:
        raise OptionError(f"{destination} lies inside the source folder; choose a place outside")
    if destination.exists() and not overwrite:
        raise OptionError(f"{destination} exists already; use --force (overwrite=True) to replace it")
    if not destination.absolute().parent.is_dir():
        raise OptionError(f"{destination.parent}: there is no such folder; create it first")
