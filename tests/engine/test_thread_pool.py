"""The thread pool: every item once, no data race, no work when idle (checked in C++)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"


@pytest.mark.parametrize("flags", [("-O2",), ("-O1", "-g", "-fsanitize=thread")], ids=["plain", "tsan"])
def test_thread_pool(flags: tuple[str, ...], tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if compiler is None:
        pytest.skip("no C++ compiler here")
    program = tmp_path / "thread_pool_test"
    sources = [HERE / "thread_pool_test.cc", CSRC / "thread_pool.cc"]
    build = [compiler, "-std=c++20", "-pthread", *flags, f"-I{CSRC}", *map(str, sources), "-o", str(program)]
    built = subprocess.run(build, capture_output=True, text=True)
    if built.returncode and "-fsanitize=thread" in flags and "tsan" in built.stderr:
        pytest.skip("this compiler has no race detector")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(program)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
