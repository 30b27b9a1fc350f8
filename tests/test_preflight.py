"""A machine that lacks something is told what, and how to get it, before anything is built."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "preflight.py"

pytestmark = pytest.mark.skipif(not SCRIPT.exists(), reason="installed without the project's tools")


@pytest.fixture
def preflight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module on a machine that lacks nothing."""
    spec = importlib.util.spec_from_file_location("preflight", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    add_program(tmp_path / "programs", "c++")
    (tmp_path / "headers").mkdir()
    (tmp_path / "headers" / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "headers"))
    return module


def add_program(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / (f"{name}.exe" if os.name == "nt" else name)
    program.touch()
    program.chmod(0o755)


def test_nothing_is_missing(preflight: ModuleType) -> None:
    assert list(preflight.missing()) == []


def test_no_compiler(preflight: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    [sentence] = preflight.missing()
    assert sentence.startswith("No C++ compiler was found")
    assert "apt-get install build-essential" in sentence
    assert "xcode-select --install" in sentence


@pytest.mark.parametrize("name", ["c++", "g++", "clang++"])
def test_any_compiler_will_do(
    preflight: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    add_program(tmp_path / "other", name)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert list(preflight.missing()) == []


def test_a_compiler_that_only_cxx_names_will_do(
    preflight: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_program(tmp_path / "other", "clang++-14")
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert len(list(preflight.missing())) == 1
    monkeypatch.setenv("CXX", "clang++-14")
    assert list(preflight.missing()) == []


def test_no_headers(preflight: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "headers" / "Python.h").unlink()
    [sentence] = preflight.missing()
    assert sentence.startswith("Python's headers were not found")
    assert "apt-get install python3-dev" in sentence


def test_python_too_old(preflight: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    [sentence] = preflight.missing()
    assert sentence.startswith("Python 3.11 or newer is needed")
    assert sys.executable in sentence
    assert "PYTHON=" in sentence


def test_no_venv(preflight: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    [sentence] = preflight.missing()
    assert "apt-get install python3-venv" in sentence


def test_the_script_fails_and_says_why(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path), "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
    command = [sys.executable, str(SCRIPT)]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "Tropilla cannot be set up yet: No C++ compiler was found" in ran.stderr
    assert "Traceback" not in ran.stderr
