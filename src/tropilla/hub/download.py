"""Download one file so that an interruption costs nothing and wrong bytes are never kept."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tropilla.errors import PullError
from tropilla.hub.http import NoAnswerError, Patience, RefusedError, Response, open_url

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteFile:
    """A file to download and what is known of it; git_sha1 is git's own hash of a small file."""

    url: str
    size_bytes: int | None = None
    sha256: str | None = None
    git_sha1: str | None = None


def download(
    remote: RemoteFile, target: Path, *, token: str | None = None, patience: Patience | None = None
) -> Iterator[int]:
    """Fetch the file to target, yielding the bytes that are here so far.

    What an earlier call left in target's .part file is continued. Raises PullError if the server
    cannot be reached, keeps failing, or sends bytes that do not match their checksum; RefusedError for
    a status such as 404, which the caller explains.
    """
    patience = patience or Patience()
    transfer = _Transfer(remote, target, token, patience.timeout_s)
    failures = 0
    while True:
        before = transfer.size_here()
        try:
            yield from transfer.attempt()
            if transfer.finish():
                return
        except NoAnswerError as trouble:
            failures = 1 if transfer.size_here() > before else failures + 1
            if failures >= patience.attempts:
                raise PullError(_gave_up(remote.url, trouble, transfer.size_here())) from trouble
            time.sleep(patience.pause_s(failures))


def _gave_up(url: str, trouble: NoAnswerError, done: int) -> str:
    kept = "; what has arrived is kept, and pulling again goes on from there" if done else ""
    return f"{url} cannot be downloaded ({trouble}): check the network and try again{kept}"


class _Transfer:
    """The state of one file's download: its .part file, and the ETag for which those bytes were sent."""

    def __init__(self, remote: RemoteFile, target: Path, token: str | None, timeout_s: float) -> None:
        self.remote = remote
        self.target = target
        self.token = token
        self.timeout_s = timeout_s
        self.part = target.with_name(target.name + ".part")
        self.etag_note = target.with_name(target.name + ".etag")
        self.linked_sha256: str | None = None
        self.expected_size = remote.size_bytes
        self.resumed = False

    def size_here(self) -> int:
        """Return how many bytes the .part file holds."""
        return self.part.stat().st_size if self.part.exists() else 0

    def attempt(self) -> Iterator[int]:
        """Fetch what is missing; raises NoAnswerError if the connection ends too early."""
        here = self.size_here()
        if self.expected_size is not None and here == self.expected_size > 0:
            self.resumed = True
            yield here
            return
        response = self._ask(here)
        try:
            yield from self._receive(response, here)
        finally:
            response.body.close()

    def finish(self) -> bool:
        """Move the file into place if its bytes are right; drop them and return False if worth a retry.

        A continued download may be half of an older version: that is worth one start from nothing.
        """
        problem = self._problem()
        if problem is None:
            self.part.replace(self.target)
            self.etag_note.unlink(missing_ok=True)
            return True
        self._forget()
        if self.resumed:
            self.resumed = False
            return False
        raise PullError(f"{self.remote.url} arrived with the wrong contents: {problem}; nothing was kept")

    def _ask(self, here: int) -> Response:
        etag = self.etag_note.read_text("utf-8") if here and self.etag_note.exists() else None
        checked = self.remote.sha256 or self.remote.git_sha1
        headers = {}
        if here and (etag or checked):
            headers["Range"] = f"bytes={here}-"
        if here and etag:
            headers["If-Range"] = etag
        try:
            return open_url(self.remote.url, headers=headers, token=self.token, timeout_s=self.timeout_s)
        except RefusedError as refusal:
            if refusal.status != 416:  # the server has fewer bytes than we do: another version
                raise
            self._forget()
            raise NoAnswerError("the file changed") from refusal

    def _receive(self, response: Response, here: int) -> Iterator[int]:
        start = here if response.status == 206 and _range_start(response) == here else 0
        self.resumed = start > 0
        self._note(response, start)
        with self.part.open("r+b" if self.part.exists() else "wb") as file:
            file.truncate(start)
            done = file.seek(start)
            while chunk := response.read(_CHUNK_BYTES):
                done += file.write(chunk)
                yield done
                if self.expected_size is not None and done > self.expected_size:
                    break  # more than promised: finish() says so
            file.flush()
            os.fsync(file.fileno())
        if self.expected_size is not None and done < self.expected_size:
            raise NoAnswerError(f"the connection ended after {done} of {self.expected_size} bytes")

    def _note(self, response: Response, start: int) -> None:
        """Remember what the answer says of the whole file."""
        length = response.headers.get("Content-Length", "")
        if self.expected_size is None and length.isdecimal():
            self.expected_size = start + int(length)
        self.linked_sha256 = _sha256_in(response.linked_etag)
        etag = response.headers.get("ETag", "")
        if etag.startswith('"'):  # a weak ETag cannot guard a range
            self.etag_note.write_text(etag, "utf-8")
        else:
            self.etag_note.unlink(missing_ok=True)

    def _problem(self) -> str | None:
        size = self.size_here()
        if self.remote.size_bytes is not None and size != self.remote.size_bytes:
            return f"{size} bytes, expected {self.remote.size_bytes}"
        sha256 = self.remote.sha256 or self.linked_sha256
        if sha256:
            return _compare("sha256", hash_file(self.part, hashlib.sha256()), sha256)
        if self.remote.git_sha1:
            digest = hash_file(self.part, hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False))
            return _compare("git's hash", digest, self.remote.git_sha1)
        return None

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.etag_note.unlink(missing_ok=True)


class Hasher(Protocol):
    """What hashlib's objects can do."""

    def update(self, data: bytes, /) -> None:
        """Take in more bytes."""

    def hexdigest(self) -> str:
        """Return the hash of all bytes so far."""


def hash_file(path: Path, hasher: Hasher) -> str:
    """Return the hash of the file's bytes, read piece by piece; an absent file counts as empty."""
    if path.exists():
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                hasher.update(chunk)
    return hasher.hexdigest()


def _compare(what: str, got: str, expected: str) -> str | None:
    return None if got == expected else f"{what} {got[:12]}..., expected {expected[:12]}..."


def _range_start(response: Response) -> int | None:
    """Return the first byte's place from a header such as "bytes 100-199/1000"."""
    words = response.headers.get("Content-Range", "").removeprefix("bytes").strip()
    first = words.split("-")[0]
    return int(first) if first.isdecimal() else None


def _sha256_in(etag: str | None) -> str | None:
    """Return the sha256 that a hub puts into the ETag of a large file."""
    bare = (etag or "").strip('"').lower()
    return bare if len(bare) == 64 and set(bare) <= set("0123456789abcdef") else None
