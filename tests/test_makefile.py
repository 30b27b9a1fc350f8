"""What `make` does to a checkout, on a copy of its Makefile."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[1] / "Makefile"


def make(folder: Path, *arguments: str) -> str:
    program = shutil.which("make")
    if program is None or not MAKEFILE.exists():
        pytest.skip("no make, or no Makefile, here")
    shutil.copy(MAKEFILE, folder)
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS")}
    ran = subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_clean_takes_what_was_built_and_leaves_the_sources(tmp_path: Path) -> None:
    """It once took the extension's stub too, whose name begins like the built file's."""
    kept = [touch(tmp_path / "src/tropilla" / name) for name in ("_native.pyi", "api.py")]
    built = [
        touch(tmp_path / name)
        for name in (
            ".venv/bin/python",
            "build/native/CMakeCache.txt",
            "src/tropilla/_native.cpython-311-x86_64-linux-gnu.so",
            "src/tropilla/_native.cp311-win_amd64.pyd",
            "src/tropilla/cli/__pycache__/run.cpython-311.pyc",
        )
    ]
    for folder in ("csrc", "tests", "tools", "benchmarks"):
        (tmp_path / folder).mkdir()
    make(tmp_path, "clean")
    assert [path for path in kept if not path.exists()] == []
    assert [path for path in built if path.exists()] == []
    assert not (tmp_path / ".venv").exists()
    assert not (tmp_path / "build").exists()


def test_native_builds_beside_the_sources_until_there_is_an_environment(tmp_path: Path) -> None:
    (tmp_path / "csrc").mkdir()
    assert "CMAKE_LIBRARY_OUTPUT_DIRECTORY" in make(tmp_path, "-n", "native")
    touch(tmp_path / ".venv/installed")
    commands = make(tmp_path, "-n", "native")
    assert "CMAKE_LIBRARY_OUTPUT_DIRECTORY" not in commands
    assert ".venv/bin/cmake --install" in commands
