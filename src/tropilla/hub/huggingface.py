"""Find the files of a repository on a Hugging Face hub and fetch the ones that make a model."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import time
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tropilla.errors import PullError, RequestError
from tropilla.events import Progress
from tropilla.hub.disk import need_space
from tropilla.hub.download import RemoteFile, download
from tropilla.hub.http import NoAnswerError, Patience, RefusedError, open_url
from tropilla.hub.names import whole_name
from tropilla.hub.receipt import is_inside
from tropilla.options import suggestion

_PUBLIC_HUB = "https://huggingface.co"
_MAX_LISTING_BYTES = 32 << 20  # the largest repositories list some thousands of files
_FOLDER_FILES = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "merges.txt", "chat_template.*", "LICENSE*", "USE_POLICY*"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """One file of a repository as the hub lists it."""

    name: str
    size_bytes: int | None
    sha256: str | None
    git_sha1: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A repository at one commit, so that all its files belong together."""

    repo: str
    commit: str
    licence: str
    files: tuple[HubFile, ...]


def read_repository(repo: str, revision: str = "main", *, patience: Patience | None = None) -> Repository:
    """Ask the hub for the repository's files.

    Raises RequestError if it has no such repository or wants a token; PullError if it cannot be asked.
    """
    path = f"api/models/{urllib.parse.quote(repo)}/revision/{urllib.parse.quote(revision, safe='')}"
    url = f"{_endpoint()}/{path}?blobs=true"
    try:
        listing = _get_json(url, patience or Patience())
    except RefusedError as refusal:
        raise _explained(refusal, repo) from refusal
    return _parse_listing(repo, listing, url)


def choose_files(repository: Repository, wanted: str | None) -> list[HubFile]:
    """Return the files that make one model: the wanted GGUF with all its parts, or a whole folder.

    wanted is a file's name or part of it, such as Q4_K_M. Raises RequestError if that is not one model.
    """
    ggufs = [file for file in repository.files if file.name.endswith(".gguf")]
    folder = [] if wanted else _folder_files(repository.files)
    if folder:
        return folder
    models = {whole_name(file.name) for file in ggufs}
    if wanted:
        named = {name for name in models if wanted in (name, *_parts(name, ggufs))}
        models_wanted = named or {name for name in models if wanted.lower() in name.lower()}
    else:
        models_wanted = models
    if len(models_wanted) != 1:
        raise RequestError(_not_one(repository, wanted, sorted(models_wanted or models), models_wanted))
    name = models_wanted.pop()
    return [file for file in ggufs if file.name in _parts(name, ggufs)]


def fetch_files(
    repository: Repository, files: Sequence[HubFile], folder: Path, *, patience: Patience | None = None
) -> Iterator[Progress]:
    """Download the files into the folder, continuing where an earlier call stopped.

    Raises PullError, RequestError or CapacityError with the next step.
    """
    sizes = [file.size_bytes for file in files]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    need_space(folder, max(0, (total or 0) - _bytes_in(folder)), f"pulling {repository.repo}")
    before = 0
    for file in files:
        for done in _fetch(repository, file, folder, patience):
            yield Progress(what="downloading", done=before + done, total=total, unit="bytes")
        before += (folder / file.name).stat().st_size


def _fetch(repository: Repository, file: HubFile, folder: Path, patience: Patience | None) -> Iterator[int]:
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():  # an earlier call finished it, perhaps at another commit: check it again
        target.replace(target.with_name(target.name + ".part"))
    place = "/".join(urllib.parse.quote(part, safe="") for part in file.name.split("/"))
    url = f"{_endpoint()}/{urllib.parse.quote(repository.repo)}/resolve/{repository.commit}/{place}"
    remote = RemoteFile(url=url, size_bytes=file.size_bytes, sha256=file.sha256, git_sha1=file.git_sha1)
    try:
        yield from download(remote, target, token=_token(), patience=patience)
    except RefusedError as refusal:
        raise _explained(refusal, repository.repo) from refusal


def _endpoint() -> str:
    """Return the hub's address: HF_ENDPOINT, else the public hub."""
    address = os.environ.get("HF_ENDPOINT") or _PUBLIC_HUB
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise RequestError(f"HF_ENDPOINT is {address!r}; it must start with https:// or http://")
    return address.rstrip("/")


def _token() -> str | None:
    return os.environ.get("HF_TOKEN") or None


def _get_json(url: str, patience: Patience) -> Any:  # Any: JSON
    failures = 0
    while True:
        try:
            response = open_url(url, headers={}, token=_token(), timeout_s=patience.timeout_s)
            try:
                return json.loads(response.read(_MAX_LISTING_BYTES))
            finally:
                response.body.close()
        except NoAnswerError as trouble:
            failures += 1
            if failures >= patience.attempts:
                raise PullError(
                    f"{_endpoint()} cannot be asked ({trouble}): check the network and try again"
                ) from trouble
            time.sleep(patience.pause_s(failures))
        except ValueError as error:
            raise PullError(f"{url} did not answer as a Hugging Face hub does; check HF_ENDPOINT") from error


def _parse_listing(repo: str, listing: Any, url: str) -> Repository:  # Any: JSON
    try:
        files = tuple(_parse_file(entry) for entry in listing["siblings"])
        commit, tags = str(listing["sha"]), [str(tag) for tag in listing.get("tags", ())]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PullError(f"{url} did not answer as a Hugging Face hub does; check HF_ENDPOINT") from error
    if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
        raise PullError(f"{url} names a commit that is none: {commit[:80]!r}")
    for file in files:
        if not is_inside(file.name):
            raise PullError(f"{repo} lists a file {file.name[:80]!r}, which would leave the model's folder")
    licences = [tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]
    return Repository(
        repo=repo, commit=commit, licence=licences[0] if licences else "not stated", files=files
    )


def _parse_file(entry: dict[str, Any]) -> HubFile:  # Any: JSON
    size, lfs, blob = entry.get("size"), entry.get("lfs") or {}, entry.get("blobId")
    return HubFile(
        name=str(entry["rfilename"]),
        size_bytes=None if size is None else int(size),
        sha256=str(lfs["sha256"]) if lfs.get("sha256") else None,
        git_sha1=str(blob) if blob and not lfs else None,
    )


def _folder_files(files: Sequence[HubFile]) -> list[HubFile]:
    """Return the files of a safetensors model at the repository's top; [] if it is none."""
    top = [file for file in files if any(fnmatch.fnmatchcase(file.name, p) for p in _FOLDER_FILES)]
    top = [file for file in top if "/" not in file.name]
    weights = [file for file in top if file.name.endswith(".safetensors")]
    if any(not file.name.startswith("consolidated") for file in weights):
        top = [file for file in top if not file.name.startswith("consolidated")]  # the same weights twice
    return top if weights and any(file.name == "config.json" for file in top) else []


def _parts(name: str, ggufs: Sequence[HubFile]) -> list[str]:
    return [file.name for file in ggufs if whole_name(file.name) == name]


def _not_one(repository: Repository, wanted: str | None, names: list[str], matches: set[str]) -> str:
    if not names:
        what = "a GGUF file, or config.json with safetensors"
        return f"{repository.repo} holds no model that Tropilla reads: {what}"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    if wanted and not matches:
        return f"{repository.repo} has no GGUF file {wanted!r}{suggestion(wanted, names)}; it has {shown}"
    return f"{repository.repo} holds several models; choose one with --file: {shown}"


def _explained(refusal: RefusedError, repo: str) -> RequestError:
    page = f"{_endpoint()}/{repo}"
    if refusal.status == 404:
        return RequestError(f"there is no repository or file {repo} on {_endpoint()}; check its spelling")
    if refusal.status in (401, 403) and _token():
        return RequestError(
            f"the hub refuses {repo} with your HF_TOKEN; accept the model's licence at {page}"
        )
    if refusal.status in (401, 403):
        return RequestError(
            f"the hub keeps {repo} for known readers, or does not have it: accept the model's licence at "
            f"{page}, make an access token there, set HF_TOKEN to it and try again"
        )
    return RequestError(f"{_endpoint()} refuses {repo} with HTTP status {refusal.status}")


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
