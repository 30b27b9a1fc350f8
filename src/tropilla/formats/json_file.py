"""Read the small JSON files beside weights, whose content nobody vouches for."""

from __future__ import annotations

import json
from pathlib import Path

from tropilla.errors import FormatError

# Parsed, JSON takes up to fifty times its size in memory. An index of the largest models has 5 MB.
MAX_CONFIG_BYTES = 8 << 20
MAX_VOCABULARY_BYTES = 64 << 20


def read_json_object(path: Path, *, at_most: int = MAX_CONFIG_BYTES) -> dict[str, object]:
    """Return the object in a JSON file; raises FormatError if it is missing, damaged or no object."""
    try:
        if path.stat().st_size > at_most:
            raise FormatError(path, f"is larger than {at_most} bytes, so it is not what its name says")
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise FormatError(path, f"holds a JSON {type(value).__name__}, expected an object")
    return value


def read_json_object_if_any(path: Path, *, at_most: int = MAX_CONFIG_BYTES) -> dict[str, object]:
    """Return the object in a JSON file, or an empty one where there is no such file."""
    return read_json_object(path, at_most=at_most) if path.is_file() else {}
