"""The library: the folder that holds the models which Tropilla has pulled, one sub-folder each.

A model's name is an id, never a path: it cannot leave the library, whatever a request asks for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from tropilla.errors import FormatError, PullError, RequestError
from tropilla.hub.names import ID, looks_like_path, model_id
from tropilla.hub.receipt import RECEIPT_NAME, Receipt
from tropilla.options import suggestion

_STAGING = ".staging"


@dataclass(frozen=True, kw_only=True, slots=True)
class InstalledModel:
    """One model of the library; `path` is what a reader opens: a file, or a folder of files."""

    name: str
    folder: Path
    path: Path
    receipt: Receipt

    @property
    def size_bytes(self) -> int:
        """Return the bytes that the model takes on disk, its receipt left out."""
        return sum(pulled.size_bytes for pulled in self.receipt.files.values())


def library_folder() -> Path:
    """Return the folder of everything Tropilla keeps: TROPILLA_HOME, else the platform's own place."""
    home = os.environ.get("TROPILLA_HOME")
    if home:
        return Path(home).expanduser().absolute()
    import platformdirs  # not needed, and so not paid for, where TROPILLA_HOME is set

    return Path(platformdirs.user_data_path("tropilla", appauthor=False))


def cache_folder() -> Path:
    """Return the folder of what can be made again; anyone may delete it at any time."""
    if os.environ.get("TROPILLA_HOME"):
        return library_folder() / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_path("tropilla", appauthor=False))


def prefix_folder() -> Path:
    """Return the folder of what finished prompts left behind."""
    return cache_folder() / "prefixes"


def models_folder() -> Path:
    """Return the folder inside the library that holds the models."""
    return library_folder() / "models"


def resolve(name_or_path: str | PathLike[str]) -> Path:
    """Return the model file or folder that a user means by a name or a path.

    What looks like a path is one; a bare word is a model of the library first, then a file or
    folder here. Raises RequestError, with the nearest known names or the next step.
    """
    text = fspath(name_or_path)
    path = Path(text).expanduser()
    if not isinstance(name_or_path, str) or looks_like_path(text):
        if not path.exists():
            raise RequestError(
                f"{text}: no such file or folder; tropilla models lists the models that are here"
            )
        return path
    if path.exists() and not _is_installed(text):
        return path
    return find(text).path


def find(name: str) -> InstalledModel:
    """Return the installed model of that name or catalogue alias, never anything outside the library.

    Raises RequestError for a name that is unknown, or known but not pulled yet.
    """
    identity = model_id(name)
    if _is_entry(identity):
        return _open_entry(identity)
    from tropilla.hub.catalogue import catalogue  # 50 ms that the name of a model that is here can do without

    listed = catalogue().get(identity)
    if listed and _is_entry(listed.name):
        return _open_entry(listed.name)
    if listed:
        raise RequestError(f"{name} is not in your library yet; get it with: tropilla pull {name}")
    hint = suggestion(identity, {*catalogue().names(), *_entries()})
    hint = hint or "; tropilla models --catalogue lists what there is"
    raise RequestError(f"there is no model {name!r}{hint}")


def installed() -> list[InstalledModel]:
    """Return the models of the library in order of name; entries that cannot be read are left out.

    `broken()` names those.
    """
    return [entry for name in _entries() if not isinstance(entry := _try_entry(name), FormatError)]


def broken() -> list[FormatError]:
    """Return what is wrong with each entry of the library that cannot be used."""
    return [entry for name in _entries() if isinstance(entry := _try_entry(name), FormatError)]


def remove(name: str) -> int:
    """Delete a model from the library and return the bytes that it held.

    Raises RequestError if there is none of that name, or if the system still holds its files open.
    """
    from tropilla.hub.catalogue import catalogue

    listed = catalogue().get(name)
    folder = _inside(model_id(name))
    if listed and not folder.is_dir():
        folder = _inside(listed.name)
    if not folder.is_dir():
        raise RequestError(f"{name} is not in your library{suggestion(name, _entries())}")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    grave = _staging_root() / _unique("removed")
    try:
        folder.rename(grave)
    except PermissionError as error:
        raise RequestError(f"{name} is in use: close the program that has it open, then try again") from error
    _delete(grave)
    return size


@contextmanager
def staging(name: str) -> Iterator[Path]:
    """Give an empty folder on the library's disk; whatever is left in it afterwards is deleted."""
    folder = _staging_root() / _unique(model_id(name))
    try:
        folder.mkdir()
    except PermissionError as error:
        raise _not_writable(error) from error
    try:
        yield folder
    finally:
        _delete(folder)


@contextmanager
def resumable_staging(name: str) -> Iterator[Path]:
    """Give the folder in which an interrupted download of that name goes on; it may hold parts.

    Raises RequestError if another program is pulling the same model.
    """
    import filelock

    folder = _staging_root() / f"{model_id(name)}.parts"
    lock = filelock.FileLock(f"{folder}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise RequestError(f"{name} is being pulled already; wait for that, or stop it first") from error
    try:
        folder.mkdir(exist_ok=True)
        yield folder
    finally:
        lock.release()


def unfinished() -> list[Path]:
    """Return the folders in which interrupted downloads wait to go on."""
    return sorted((models_folder() / _STAGING).glob("*.parts"))


def publish(staged: Path, receipt: Receipt) -> InstalledModel:
    """Move a staged folder into the library under the receipt's name, whole, replacing an older one."""
    receipt.write(staged)
    folder = _inside(receipt.name)
    if folder.exists():
        grave = _staging_root() / _unique("replaced")
        folder.rename(grave)
        staged.rename(folder)
        _delete(grave)
    else:
        staged.rename(folder)
    return _open_entry(receipt.name)


def _staging_root() -> Path:
    root = models_folder() / _STAGING
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(error) from error
    return root


def _not_writable(error: OSError) -> PullError:
    reason = error.strerror or error
    return PullError(
        f"the library folder {library_folder()} cannot be written ({reason}); "
        "set TROPILLA_HOME to a folder of yours"
    )


def _unique(stem: str) -> str:
    return f"{stem}-{os.urandom(8).hex()}"


def _delete(folder: Path) -> None:
    """Delete a folder that is out of the library already; what the system holds open stays behind."""
    import shutil  # its compressors would slow down every start

    shutil.rmtree(folder, ignore_errors=True)


def _is_entry(identity: str) -> bool:
    return (models_folder() / identity / RECEIPT_NAME).exists()


def _is_installed(text: str) -> bool:
    try:
        find(text)
    except RequestError:
        return False
    return True


def _entries() -> list[str]:
    """Return the names of the library's sub-folders that could be models."""
    root = models_folder()
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_dir() and ID.fullmatch(path.name))


def _try_entry(name: str) -> InstalledModel | FormatError:
    try:
        return _open_entry(name)
    except FormatError as error:
        return error


def _open_entry(name: str) -> InstalledModel:
    folder = _inside(name)
    receipt = Receipt.read(folder)
    path = folder if receipt.opens is None else folder / receipt.opens
    if not path.exists():
        raise FormatError(path, f"the file is gone; get it again with: tropilla pull {name} --again")
    return InstalledModel(name=name, folder=folder, path=path, receipt=receipt)


def _inside(name: str) -> Path:
    """Return the entry's folder; raise FormatError if a link leads out of the library."""
    root = models_folder()
    folder = root / name
    if folder.resolve().parent != root.resolve():
        raise FormatError(folder, "leads out of the library; remove the link, and name the model by its path")
    return folder
