"""The loop: take a model, damage it, use it; keep those damages that lead to new ways through the code."""

from __future__ import annotations

import faulthandler
import shutil
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

import tropilla
from tests.fuzz.coverage import EdgeCoverage
from tests.fuzz.mutation import mutate
from tests.fuzz.seeds import Seed, all_seeds
from tests.fuzz.targets import open_as_a_user_would
from tropilla import _native

# Beyond any honest case by orders of magnitude; a hang ends the process with every thread's stack.
DEADLINE_S = 20
_MAX_CORPUS = 2000


class Findings(NamedTuple):
    """Count what a run did."""

    n_cases: int
    n_kept: int
    n_edges: int


class FuzzFailureError(AssertionError):
    """Report a damaged model that did anything but open or be refused; its files are kept."""


def fuzz(workspace: Path, *, seconds: float, seed: int) -> Findings:
    """Run for a time; the order of cases depends on the seed and the machine's instruction sets.

    workspace: holds the current case, which outlives a crash, and failures/.
    Raises FuzzFailureError at the first case that breaks a promise.
    """
    rng, coverage = Random(seed), EdgeCoverage(Path(tropilla.__file__).parent)
    isas = _native.isa_names()
    case = workspace / "case"
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir(parents=True)
    corpus = all_seeds(case)
    for sound in corpus:
        _try(sound, isas[0], workspace, coverage)
    n_seeds, n_cases, end = len(corpus), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        damaged = _damage(rng.choice(corpus), rng.choice(corpus), rng)
        known = len(coverage.edges)
        _try(damaged, rng.choice(isas), workspace, coverage)
        if len(coverage.edges) > known and len(corpus) < _MAX_CORPUS:
            corpus.append(damaged)
        n_cases += 1
    return Findings(n_cases, len(corpus) - n_seeds, len(coverage.edges))


def _damage(sound: Seed, other: Seed, rng: Random) -> Seed:
    name = rng.choice(sorted(sound.files))
    lender = other.files[rng.choice(sorted(other.files))]
    return sound._replace(files={**sound.files, name: mutate(sound.files[name], lender, rng)})


def _try(model: Seed, isa: str, workspace: Path, coverage: EdgeCoverage) -> None:
    case = workspace / "case"
    for name, content in model.files.items():
        (case / name).write_bytes(content)
    faulthandler.dump_traceback_later(DEADLINE_S, exit=True)
    try:
        with coverage.collecting():
            open_as_a_user_would(case, model.entry, isa)
    except Exception as error:
        raise FuzzFailureError(f"{type(error).__name__}: {error}; see {_keep(case, workspace)}") from error
    finally:
        faulthandler.cancel_dump_traceback_later()
    for name in model.files:
        (case / name).unlink()


def _keep(case: Path, workspace: Path) -> Path:
    number = 1
    while (kept := workspace / "failures" / str(number)).exists():
        number += 1
    shutil.copytree(case, kept)
    return kept
