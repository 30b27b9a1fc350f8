"""Examine this machine and the library, and say of everything whether it is in order.

Each finding is one line for a person: what was looked at, what was found, and, where something is
missing or wrong, the next step.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from tropilla.errors import TropillaError
from tropilla.hub import library
from tropilla.hub.catalogue import catalogue
from tropilla.hub.contents import read_contents
from tropilla.hub.disk import human_bytes
from tropilla.hub.download import hash_file
from tropilla.hub.fit import Budget, Verdict, fit_all, mixes_of
from tropilla.hub.limits import Limits
from tropilla.hub.machine import Machine
from tropilla.hub.model_size import model_size
from tropilla.hub.processor import Processor

DEFAULT_MODEL = "smollm2"
_LITTLE_DISK_BYTES = 1_000_000_000


class Level(Enum):
    """How a finding should be taken."""

    OK = "ok"
    NOTE = "note"  # fine as it is, but the reader may want the next step
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that was looked at."""

    section: str
    what: str
    found: str
    level: Level = Level.OK
    next_step: str = ""


def examine(machine: Machine, *, verify: bool = False) -> Iterator[Finding]:
    """Yield the findings in reading order; verify also compares every model's bytes with its receipt."""
    yield from _machine(machine)
    yield from _library(verify=verify)
    yield from _tools()


def _machine(machine: Machine) -> Iterator[Finding]:
    python = f"Python {platform.python_version()}"
    yield Finding(section="Machine", what="system", found=f"{machine.system}, {python}")
    yield _processor(machine)
    yield _kernels(machine)
    yield _memory(machine)
    if machine.limits is not None:
        yield from _limits(machine, machine.limits)


def _processor(machine: Machine) -> Finding:
    processor = machine.processor
    cores = f"{processor.n_physical or processor.n_logical} cores"
    if processor.n_physical and processor.n_logical > processor.n_physical:
        cores += f", {processor.n_logical} threads"
    if processor.n_usable < processor.n_logical:
        cores += f", {processor.n_usable} of them for Tropilla"
    return Finding(section="Machine", what="processor", found=f"{processor.name}, {cores}")


def _kernels(machine: Machine) -> Finding:
    processor = machine.processor
    if processor.isa is None:
        repair = "install Tropilla again (in a checkout: make start)"
        return Finding(
            section="Machine",
            what="kernels",
            found=f"the compiled engine does not load: {processor.why_no_isa}",
            level=Level.PROBLEM,
            next_step="unset TROPILLA_ISA" if os.environ.get("TROPILLA_ISA") else repair,
        )
    others = [isa for isa in processor.isas if isa != processor.isa]
    more = f" (also here: {', '.join(others)})" if others else ""
    slow = processor.isa == "scalar"
    return Finding(
        section="Machine",
        what="kernels",
        found=f"{processor.isa}{more}",
        level=Level.NOTE if slow else Level.OK,
        next_step="this processor has no instructions that Tropilla is fast with" if slow else "",
    )


def _memory(machine: Machine) -> Finding:
    memory = machine.memory
    found = f"{human_bytes(memory.total_bytes)}, {human_bytes(memory.available_bytes)} free"
    if memory.limited_by:
        found += f", under {memory.limited_by}"
    return Finding(section="Machine", what="memory", found=found)


def _limits(machine: Machine, limits: Limits) -> Iterator[Finding]:
    yield _threads(machine.processor, limits)
    yield Finding(
        section="Machine",
        what="bandwidth",
        found=f"{human_bytes(limits.bandwidth)}/s read by {limits.n_threads} threads",
    )
    if limits.int8_peak:
        yield Finding(
            section="Machine",
            what="arithmetic",
            found=f"{limits.int8_peak / 1e9:.0f} billion int8 operations/s",
        )
    yield from _speed_limits(limits)
    budget = Budget(memory=max(1, machine.memory.available_bytes), bandwidth=limits.bandwidth)
    best = fit_all(catalogue().models, budget)[0]
    if best.verdict is Verdict.RUNS:
        yield Finding(
            section="Machine",
            what="best model",
            found=f"{best.model.title} in {best.mix}, up to {best.speed:.2g} tokens/s",
            next_step="tropilla models --fit",
        )


def _threads(processor: Processor, limits: Limits) -> Finding:
    words = "one for each usable core"
    if limits.n_threads < processor.n_usable:
        words = f"as fast as all {processor.n_usable}: two on one core share what it can do"
    return Finding(section="Machine", what="threads", found=f"{limits.n_threads}, {words}")


def _speed_limits(limits: Limits) -> Iterator[Finding]:
    """Say how fast the default model could be if nothing but the machine held it back."""
    model = catalogue().get(DEFAULT_MODEL)
    mix = None if model is None else next(mixes_of(model), None)
    if model is None or mix is None:
        return
    shape = model.shape
    answer = limits.bandwidth / model_size(shape, mix, 0).read_bytes
    found = f"{model.title}: answers at {answer:.0f} tokens/s at most, as each token reads all weights"
    if limits.int8_peak:
        prompt = limits.int8_peak / (2 * shape.n_layer_parameters)
        found += f"; reads prompts at {prompt:.0f} at most, as each token is multiplied with them"
    yield Finding(section="Machine", what="speed limits", found=found, next_step="tropilla bench")


def _library(*, verify: bool) -> Iterator[Finding]:
    yield _folder()
    models = library.installed()
    total = human_bytes(sum(model.size_bytes for model in models))
    found = f"{total}: {', '.join(model.name for model in models)}" if models else "none"
    yield Finding(section="Library", what="models", found=found)
    yield _default_model(models)
    for problem in library.broken():
        yield _damaged(str(problem))
    for model in models:
        yield from _soundness(model, verify=verify)
    yield from _unfinished()


def _folder() -> Finding:
    folder = library.library_folder()
    standing = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(standing).free
    found = f"{folder}, {human_bytes(free)} free on its disk"
    if not os.access(standing, os.W_OK):
        return Finding(
            section="Library",
            what="folder",
            found=f"{found}, but it cannot be written",
            level=Level.PROBLEM,
            next_step="choose a folder of your own with TROPILLA_HOME",
        )
    little = free < _LITTLE_DISK_BYTES
    return Finding(
        section="Library",
        what="folder",
        found=found,
        level=Level.NOTE if little else Level.OK,
        next_step="free some space, or set TROPILLA_HOME to another disk" if little else "",
    )


def _default_model(models: list[library.InstalledModel]) -> Finding:
    ready = any(model.name == DEFAULT_MODEL for model in models)
    return Finding(
        section="Library",
        what="default model",
        found=f"{DEFAULT_MODEL} is ready" if ready else f"{DEFAULT_MODEL} is not here yet",
        level=Level.OK if ready else Level.NOTE,
        next_step=f"tropilla chat {DEFAULT_MODEL}" if ready else f"tropilla pull {DEFAULT_MODEL}",
    )


def _damaged(problem: str) -> Finding:
    step = "pull the model again with --again, or remove it with tropilla rm"
    return Finding(section="Library", what="damaged", found=problem, level=Level.PROBLEM, next_step=step)


def _soundness(model: library.InstalledModel, *, verify: bool) -> Iterator[Finding]:
    """Yield a problem for each file that is not as it was pulled, and for a model that does not open."""
    for name, pulled in model.receipt.files.items():
        path = model.folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != pulled.size_bytes:
            yield _damaged(f"{path} has {size} bytes, its receipt says {pulled.size_bytes}")
        elif verify and pulled.sha256 and hash_file(path, hashlib.sha256()) != pulled.sha256:
            yield _damaged(f"{path} does not have the sha256 of its receipt")
    try:
        read_contents(model.path)
    except TropillaError as error:
        yield _damaged(str(error))


def _unfinished() -> Iterator[Finding]:
    folders = library.unfinished()
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    if size:
        yield Finding(
            section="Library",
            what="unfinished",
            found=f"{human_bytes(size)} of interrupted downloads in {folders[0].parent}",
            level=Level.NOTE,
            next_step="pull again to go on, or delete that folder",
        )


def _tools() -> Iterator[Finding]:
    yield _dependencies()
    yield _tool("pip", _version("pip"), "python -m ensurepip", "brings the default model")
    torch = _version("torch")
    yield _tool("torch", torch, "", "only training and GPUs need it")
    for name in ("TROPILLA_HOME", "TROPILLA_ISA", "HF_ENDPOINT"):
        if os.environ.get(name):
            yield Finding(section="Tools", what=name, found=f"set to {os.environ[name]}")
    if os.environ.get("HF_TOKEN"):
        yield Finding(section="Tools", what="HF_TOKEN", found="set; only the hub itself ever sees it")


def _tool(name: str, version: str | None, step: str, use: str) -> Finding:
    found = version or f"not installed; {use}"
    level = Level.OK if version or not step else Level.NOTE
    return Finding(section="Tools", what=name, found=found, level=level, next_step="" if version else step)


def _dependencies() -> Finding:
    missing = sorted(name for name in _required() if _version(name) is None)
    if missing:
        return Finding(
            section="Tools",
            what="libraries",
            found=f"missing: {', '.join(missing)}",
            level=Level.PROBLEM,
            next_step=f"pip install {' '.join(missing)}",
        )
    return Finding(section="Tools", what="libraries", found="all here")


def _required() -> Iterator[str]:
    """Yield the distributions that the base install needs; none where Tropilla runs uninstalled."""
    try:
        requirements = importlib.metadata.requires("tropilla") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        if name and "extra ==" not in requirement:
            yield name[0]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
