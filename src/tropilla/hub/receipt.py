"""The receipt beside each model of the library: where it came from and what its bytes must be."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tropilla.errors import FormatError

RECEIPT_NAME = "receipt.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class PulledFile:
    """One file as it was when pulled; sha256 is None where the source named none and none was made."""

    size_bytes: int
    sha256: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """What was pulled: `opens` names the file that a reader opens, None for the whole folder."""

    name: str
    origin: str
    licence: str
    opens: str | None
    files: Mapping[str, PulledFile] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the receipt into the folder, whole or not at all."""
        temporary = folder / f"{RECEIPT_NAME}.new"
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / RECEIPT_NAME)

    @classmethod
    def read(cls, folder: Path) -> Receipt:
        """Read the folder's receipt; raise FormatError if it is missing, broken or names other places."""
        path = folder / RECEIPT_NAME
        try:
            receipt = cls._parse(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            raise FormatError(
                path, "the receipt is missing; delete the folder and pull the model again"
            ) from None
        except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise FormatError(path, f"the receipt cannot be read ({error}); pull the model again") from error
        names = [*receipt.files, *([] if receipt.opens is None else [receipt.opens])]
        outside = [name for name in names if not is_inside(name)]
        if outside:
            raise FormatError(
                path, f"the receipt names {outside[0]!r}, which is not inside the model's folder"
            )
        return receipt

    @classmethod
    def _parse(cls, raw: dict[str, Any]) -> Receipt:  # Any: JSON, each value converted below
        files = {
            str(name): PulledFile(size_bytes=int(entry["size_bytes"]), sha256=_optional(entry["sha256"]))
            for name, entry in raw["files"].items()
        }
        return cls(
            name=str(raw["name"]),
            origin=str(raw["origin"]),
            licence=str(raw["licence"]),
            opens=_optional(raw["opens"]),
            files=files,
        )


def _optional(value: object) -> str | None:
    return None if value is None else str(value)


def is_inside(name: str) -> bool:
    """Return whether a relative file name stays in its folder on every system: no drive, no '..'."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and not set(name) & set("\\:\0")
