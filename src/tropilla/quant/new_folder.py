"""Folders that appear whole or not at all."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tropilla.errors import FormatError, OptionError


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Offer a folder to fill that takes the name `path`, in place of an older folder, when the block ends.

    If the block raises, nothing is left of it. Raises OptionError if `path` is a file or a folder that
    holds something other than a model.
    """
    _check_replaceable(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        temporary.mkdir()
        yield temporary
        if path.is_dir():
            old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.rename(path)
    except (OSError, FormatError) as error:
        cause = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(cause, OSError):
            raise
        raise FormatError(path, f"cannot be written: {cause.strerror or cause}") from cause
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_replaceable(path: Path) -> None:
    """Refuse to replace what can hardly be meant: --force on the wrong folder must not cost a home."""
    if path.is_file():
        raise OptionError(f"{path} is a file; name a folder for the result")
    if path.is_dir() and any(path.iterdir()):
        marks = ("config.json", "params.json")
        if not any((path / mark).is_file() for mark in marks):
            raise OptionError(f"{path} holds something that is no model; choose another folder")


def folder_bytes(path: Path) -> int:
    """Return the size of the files in a folder."""
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a configuration file as people read it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
