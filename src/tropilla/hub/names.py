"""What the words by which people name models can mean: an id, a path, a hub's repository."""

from __future__ import annotations

import re

from tropilla.errors import RequestError

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
# Windows opens a device, not a file, for these names, with any extension.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
_DRIVE = re.compile(r"[A-Za-z]:")
_MODEL_SUFFIXES = (".gguf", ".bin", ".safetensors", ".pth", ".pt")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_PART = re.compile(r"(?P<stem>.*)-\d{5}-of-\d{5}\.gguf", re.DOTALL)


def id_from(text: str) -> str:
    """Return the nearest id to a file's or repository's name, such as "Llama 2 (7B)" -> "llama-2-7b"."""
    parts = [part.strip("._-") for part in re.split(r"[^a-z0-9._-]+|\.\.+", text.lower())]
    return model_id("-".join(part for part in parts if part)[:100].rstrip("._-"))


def model_id(name: str) -> str:
    """Return name as an id of the library, in lower case.

    Raises RequestError for anything that could mean another place: separators, drives, device
    names, leading or doubled dots, control characters.
    """
    lowered = name.lower()
    if not ID.fullmatch(lowered) or ".." in lowered or lowered.endswith("."):
        raise RequestError(
            f"{name!r} is not a model name: letters, digits, '.', '_' and '-' only, at most 100, "
            "starting with a letter or digit"
        )
    if lowered.split(".")[0] in _DEVICES:
        raise RequestError(f"{name!r} is not a model name: Windows reserves it for a device")
    return lowered


def looks_like_path(text: str) -> bool:
    """Return whether a user's word can only mean a path: separators, ~, a drive, a model file's suffix."""
    return (
        text.startswith(("~", "."))
        or "/" in text
        or "\\" in text
        or _DRIVE.match(text) is not None
        or text.lower().endswith(_MODEL_SUFFIXES)
    )


def is_repo_name(text: str) -> bool:
    """Return whether text reads as a hub's owner/repository."""
    return _REPO.fullmatch(text) is not None and ".." not in text


def whole_name(file_name: str) -> str:
    """Return the name of the model of which a GGUF file is a part: m-00001-of-00002.gguf -> m.gguf."""
    return _PART.sub(r"\g<stem>.gguf", file_name)
