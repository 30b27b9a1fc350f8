"""The check-up finds what is wrong and names the next step."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hub.test_library import put
from tropilla.hub.checkup import Finding, Level, examine
from tropilla.hub.library import find, models_folder
from tropilla.hub.limits import Limits
from tropilla.hub.machine import Machine
from tropilla.hub.memory import Memory
from tropilla.hub.processor import Processor
from tropilla.hub.pull import pull

MACHINE = Machine(
    system="TestOS 1 (abacus)",
    processor=Processor(
        name="Abacus", n_logical=8, n_usable=6, n_physical=4, isa="avx2", isas=("avx2", "scalar")
    ),
    memory=Memory(total_bytes=16 * 10**9, available_bytes=12 * 10**9),
    limits=Limits(n_threads=6, bandwidth=40e9, int8_peak=900e9),
)


def look(machine: Machine = MACHINE, *, verify: bool = False) -> dict[str, Finding]:
    """Return the findings by what was looked at."""
    return {finding.what: finding for finding in examine(machine, verify=verify)}


def problems(*, verify: bool = False) -> list[str]:
    return [f.found for f in examine(MACHINE, verify=verify) if f.level is Level.PROBLEM]


def test_a_sound_machine_is_described() -> None:
    findings = look()
    assert findings["processor"].found == "Abacus, 4 cores, 8 threads, 6 of them for Tropilla"
    assert findings["kernels"].found == "avx2 (also here: scalar)"
    assert findings["memory"].found == "16 GB, 12 GB free"
    assert findings["threads"].found == "6, one for each usable core"
    # 98 MB without vocabulary and vectors at 40 GB/s; 106 M weights of the layers, twice, at 900 GOP/s.
    assert findings["speed limits"].found.startswith("SmolLM2 135M Instruct: answers at 4")
    assert "reads prompts at 42" in findings["speed limits"].found
    assert findings["bandwidth"].found == "40 GB/s read by 6 threads"
    assert findings["arithmetic"].found == "900 billion int8 operations/s"
    assert "tokens/s" in findings["best model"].found
    assert not problems()


def test_fewer_threads_than_cores_are_explained() -> None:
    limits = Limits(n_threads=4, bandwidth=40e9, int8_peak=0)
    findings = look(replace(MACHINE, limits=limits))
    assert findings["threads"].found == "4, as fast as all 6: two on one core share what it can do"
    assert "arithmetic" not in findings
    assert "prompts" not in findings["speed limits"].found


def test_a_container_s_limit_is_named() -> None:
    memory = replace(MACHINE.memory, limited_by="a cgroup (container) limit")
    assert "container" in look(replace(MACHINE, memory=memory))["memory"].found


def test_a_missing_engine_is_a_problem_with_a_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TROPILLA_ISA", raising=False)
    processor = replace(MACHINE.processor, isa=None, isas=(), why_no_isa="No module named _native")
    finding = look(replace(MACHINE, processor=processor))["kernels"]
    assert finding.level is Level.PROBLEM
    assert "No module named _native" in finding.found
    assert "make start" in finding.next_step
    monkeypatch.setenv("TROPILLA_ISA", "abc")
    assert look(replace(MACHINE, processor=processor))["kernels"].next_step == "unset TROPILLA_ISA"


def test_a_processor_without_fast_instructions_is_noted() -> None:
    processor = replace(MACHINE.processor, isa="scalar", isas=("scalar",))
    assert look(replace(MACHINE, processor=processor))["kernels"].level is Level.NOTE


def test_a_machine_too_small_for_any_model_gets_no_advice() -> None:
    memory = Memory(total_bytes=1000, available_bytes=0)
    assert "best model" not in look(replace(MACHINE, memory=memory))


def test_the_default_model_is_ready_or_one_command_away() -> None:
    assert look()["default model"].next_step == "tropilla pull smollm2"
    put("smollm2")
    assert look()["default model"].next_step == "tropilla chat smollm2"


def test_damaged_models_are_named(real_data: Path) -> None:
    list(pull(str(real_data / "weights" / "stories260K" / "stories260K.bin")))
    assert not problems()
    put("not-a-model", b"junk")
    (models_folder() / "no-receipt").mkdir()
    short = find("stories260k").path
    content = short.read_bytes()
    short.unlink()
    short.write_bytes(content[:-1])
    found = "\n".join(problems())
    assert "not a GGUF file" in found
    assert "receipt is missing" in found
    assert f"{short} has {len(content) - 1} bytes" in found


def test_verify_reads_every_byte() -> None:
    import hashlib

    from tropilla.hub.library import publish, staging
    from tropilla.hub.receipt import PulledFile, Receipt

    pulled = PulledFile(size_bytes=4, sha256=hashlib.sha256(b"GGUF").hexdigest())
    with staging("m") as folder:
        (folder / "m.gguf").write_bytes(b"GGUF")
        receipt = Receipt(name="m", origin="test", licence="MIT", opens="m.gguf", files={"m.gguf": pulled})
        path = publish(folder, receipt).path
    assert not any("sha256" in problem for problem in problems(verify=True))
    path.write_bytes(b"GGUf")
    assert not any("sha256" in problem for problem in problems())
    assert any("sha256" in problem for problem in problems(verify=True))


def test_interrupted_downloads_are_noted() -> None:
    parts = models_folder() / ".staging" / "m.parts"
    parts.mkdir(parents=True)
    assert "unfinished" not in look()
    (parts / "m.gguf.part").write_bytes(bytes(1500))
    assert look()["unfinished"].found.startswith("1.5 kB")


def test_a_nearly_full_disk_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(Path.cwd())._replace(free=10**8)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert look()["folder"].level is Level.NOTE


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("TROPILLA_HOME", str(tmp_path / "library"))
    assert look()["folder"].level is Level.PROBLEM


def test_a_missing_library_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["rich>=13", 'torch>=2; extra == "oracles"', "tropilla-no-such-library>=1"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: wanted)
    finding = look()["libraries"]
    assert finding.level is Level.PROBLEM
    assert finding.next_step == "pip install tropilla-no-such-library"


def test_the_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    findings = look()
    assert "HF_TOKEN" in findings
    assert "hf_secret" not in str(findings)
