"""Read the small JSON files beside weights, whose content nobody vouches for."""

from __future__ import annotations

import json
from pathlib import Path

from tropilla.errors import FormatError

MAX_JSON_BYTES = 64 << 20


def read_json_object(path: Path) -> dict[str, object]:
    """Return the object in a JSON file; raises FormatError if it is missing, damaged or no object."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise FormatError(path, f"is larger than {MAX_JSON_BYTES} bytes, so it is no configuration file")
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(path, f"is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise FormatError(path, f"holds a JSON {type(value).__name__}, expected an object")
    return value


def read_json_object_if_any(path: Path) -> dict[str, object]:
    """Return the object in a JSON file, or an empty one where there is no such file."""
    return read_json_object(path) if path.is_file() else {}
