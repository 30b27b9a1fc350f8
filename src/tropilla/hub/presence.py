"""Whether a model is here already, so that it need not be fetched."""

from __future__ import annotations

from collections.abc import Iterator

from tropilla.errors import FormatError, RequestError
from tropilla.events import Event, Saved
from tropilla.hub import library
from tropilla.hub.pull_options import PullOptions


def unless_present(name: str, options: PullOptions, work: Iterator[Event]) -> Iterator[Event]:
    """Yield where the model is if it is here, whole; do the work if it is not, or if asked to anyway."""
    present = None if options.again else find_whole(name)
    if present:
        yield saved(present)
    else:
        yield from work


def find_whole(name: str) -> library.InstalledModel | None:
    """Return the installed model if it is here and its files have their recorded sizes."""
    try:
        model = library.find(name)
    except (RequestError, FormatError):
        return None
    sizes = {model.folder / file: pulled.size_bytes for file, pulled in model.receipt.files.items()}
    whole = all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())
    return model if whole else None


def saved(model: library.InstalledModel) -> Saved:
    """Return the event that says where a model is."""
    return Saved(path=model.path, size_bytes=model.size_bytes)
