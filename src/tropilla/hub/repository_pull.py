"""Bring a model from a Hugging Face hub's repository into the library."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tropilla.events import Event
from tropilla.hub import library
from tropilla.hub.catalogue import HuggingFaceSource
from tropilla.hub.download import hash_file
from tropilla.hub.http import Patience
from tropilla.hub.huggingface import HubFile, Repository, choose_files, fetch_files, read_repository
from tropilla.hub.names import id_from, model_id, whole_name
from tropilla.hub.presence import find_whole, saved, unless_present
from tropilla.hub.pull_options import PullOptions
from tropilla.hub.receipt import PulledFile, Receipt


def pull_repository(source: HuggingFaceSource, options: PullOptions, licence: str | None) -> Iterator[Event]:
    """Fetch one model of a repository into the library; licence: where the caller knows better.

    Raises RequestError, PullError or CapacityError with the next step.
    """
    present = options.name and not options.again and find_whole(options.name)
    if present:  # known before the hub is asked anything
        yield saved(present)
        return
    repository = read_repository(source.repo, source.revision, patience=options.patience)
    files = choose_files(repository, options.file)
    opens = _opens(files)
    name = options.name or id_from(Path(whole_name(opens)).stem if opens else source.repo.split("/")[1])
    work = _fetch_repository(repository, files, name, licence or repository.licence, options.patience)
    yield from unless_present(name, options, work)


def _fetch_repository(
    repository: Repository, files: list[HubFile], name: str, licence: str, patience: Patience | None
) -> Iterator[Event]:
    with library.resumable_staging(name) as folder:
        yield from fetch_files(repository, files, folder, patience=patience)
        receipt = Receipt(
            name=model_id(name),
            origin=f"huggingface:{repository.repo}@{repository.commit}",
            licence=licence,
            opens=_opens(files),
            files={file.name: _pulled(folder, file) for file in files},
        )
        yield saved(library.publish(folder, receipt))


def _opens(files: list[HubFile]) -> str | None:
    """Return the file that a reader opens: the (first) GGUF; None for a folder."""
    ggufs = sorted(file.name for file in files if file.name.endswith(".gguf"))
    return ggufs[0] if ggufs else None


def _pulled(folder: Path, file: HubFile) -> PulledFile:
    path = folder / file.name
    sha256 = file.sha256 or hash_file(path, hashlib.sha256())
    return PulledFile(size_bytes=path.stat().st_size, sha256=sha256)
