"""Run the kernels of another CPU under an emulator."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.runner import Array

ROOT = Path(__file__).resolve().parents[2]
COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"


def program(name: str) -> str:
    """Return the path of a program of the environment or the machine; skip if there is none."""
    beside_python = str(Path(sys.executable).parent)
    path = shutil.which(name, path=beside_python) or shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed: these kernels cannot be tested here")
    return path


def build_server(build: Path) -> Path:
    """Cross-compile the kernel server with the project's own flags; quick when nothing changed."""
    cmake, compiler, ninja = program("cmake"), program(COMPILER), program("ninja")
    configure = [cmake, "-S", str(ROOT), "-B", str(build), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
    target = ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", "-DTROPILLA_PYTHON=OFF"]
    static = [f"-DCMAKE_CXX_COMPILER={compiler}", "-DCMAKE_EXE_LINKER_FLAGS=-static"]
    for command in (configure + target + static, [cmake, "--build", str(build), "--target", "kernel_server"]):
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
    return build / "csrc" / "kernels" / "kernel_server"


def root_of(array: Array) -> Array:
    """Return the array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


class EmulatedRunner:
    """Kernels of a CPU that this machine is not; a context manager."""

    def __init__(self, isa: str, command: Sequence[str]) -> None:
        self.isa = isa
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> EmulatedRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def __call__(self, kernel: str, numbers: Sequence[float], arrays: Sequence[Array]) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = [self._text(self.isa), self._text(kernel)]
        request.append(struct.pack(f"<Q{len(numbers)}d", len(numbers), *numbers))
        request.append(struct.pack("<Q", len(arrays)))
        for array in arrays:
            root = root_of(array)
            position = address(array) - address(root)
            request.append(struct.pack("<QQQ", root.nbytes, position, address(root) % 64) + root.tobytes())
        self.process.stdin.write(b"".join(request))
        self.process.stdin.flush()
        for array in arrays:
            root = root_of(array)
            data = self.process.stdout.read(root.nbytes)
            assert len(data) == root.nbytes, "the emulated program died"
            if root.flags.writeable:
                root.reshape(-1).view(np.uint8)[...] = np.frombuffer(data, np.uint8)

    @staticmethod
    def _text(text: str) -> bytes:
        return struct.pack("<Q", len(text)) + text.encode()
