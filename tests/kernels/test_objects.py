"""Code compiled for one instruction set must not become everybody's.

An inline function that an instruction-set file shares with another file is one weak symbol to the
linker, which may keep the copy that not every CPU runs.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.kernels.emulated import ROOT, program

ISA_FILES = ("avx2.cc.o", "avx512.cc.o", "neon.cc.o", "encode_avx2.cc.o", "encode_avx512.cc.o")


def objects() -> list[Path]:
    """Return the instruction-set files that builds of this checkout have left."""
    return [path for name in ISA_FILES for path in sorted((ROOT / "build").rglob(name))]


def test_instruction_set_files_export_their_table_and_nothing_else() -> None:
    if not objects():
        pytest.skip("no object files under build/: the extension was built elsewhere")
    for path in objects():
        command = [program("nm"), "--demangle", "--defined-only", "--extern-only", str(path)]
        symbols = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        names = [line.split(maxsplit=2)[2] for line in symbols.splitlines()]
        assert len(names) == 1, f"{path}: {names}"
        assert names[0].endswith(("Kernels", "Encoders"))
