"""Quantize one file with Tropilla and with llama-quantize in turn: seconds, peak memory and what is lost.

    python -m benchmarks.quantize model-F16.gguf Q4_K_M --peer path/to/llama-quantize [--repeats 5] [--json]

Whole processes are timed, start to exit, from a warm file cache; both get every core. The error is the
root mean square difference from the source's weights, in per cent of theirs, over the matrices that both
files store in one type and neither as the source has them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.process import Finished, UnavailableError, run_program
from tropilla.formats.gguf import GGUFFile


@dataclass(frozen=True)
class Side:
    """Sum up the runs of one program."""

    median_s: float
    least_s: float
    most_s: float
    peak_bytes: int
    file_bytes: int
    error_percent: Mapping[str, float]  # by type


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", type=Path)
    parser.add_argument("type")
    parser.add_argument("--peer", type=Path, required=True, help="the llama-quantize program")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.model.parent) as folder:
        try:
            sides = compare(args.model, args.type, args.peer, args.repeats, Path(folder))
        except UnavailableError as error:
            sys.exit(str(error))
    if args.json:
        print(json.dumps({"machine": machine(), **{name: asdict(side) for name, side in sides.items()}}))
    else:
        print(report(sides))


def compare(model: Path, kind: str, peer: Path, repeats: int, folder: Path) -> dict[str, Side]:
    """Run both programs in turn."""
    results = {"tropilla": folder / "tropilla.gguf", "llama-quantize": folder / "peer.gguf"}
    commands = {
        "tropilla": [sys.executable, "-m", "tropilla", "quantize", "--quiet", "--force", str(model),
                     str(results["tropilla"]), "--type", kind],
        "llama-quantize": [str(peer), str(model), str(results["llama-quantize"]), kind, str(os.cpu_count())],
    }  # fmt: skip
    warm(model)
    runs: dict[str, list[Finished]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            runs[name].append(run_program(command))
    errors = dict(zip(results, errors_of(model, list(results.values())), strict=True))
    return {name: summary(runs[name], results[name], errors[name]) for name in commands}


def warm(path: Path) -> None:
    """Bring a file into the system's cache."""
    with path.open("rb") as file:
        while file.read(1 << 24):
            pass


def summary(runs: Sequence[Finished], result: Path, errors: Mapping[str, float]) -> Side:
    """Reduce the runs to what is printed."""
    seconds = [run.seconds for run in runs]
    peak = max(run.peak_bytes for run in runs)
    return Side(statistics.median(seconds), min(seconds), max(seconds), peak, result.stat().st_size, errors)


def errors_of(model: Path, results: Sequence[Path]) -> list[dict[str, float]]:
    """Return for each result the error of the matrices of each type, in per cent of their size."""
    squares = [dict[str, float]() for _ in results]
    sizes: dict[str, float] = {}
    for kind, weights, others in compared_matrices(model, results):
        sizes[kind] = sizes.get(kind, 0.0) + float(weights.ravel() @ weights.ravel())
        for square, other in zip(squares, others, strict=True):
            left = (weights - other).ravel()
            square[kind] = square.get(kind, 0.0) + float(left @ left)
    return [{kind: 100 * (square[kind] / sizes[kind]) ** 0.5 for kind in sizes} for square in squares]


def compared_matrices(
    model: Path, results: Sequence[Path]
) -> Iterator[tuple[str, NDArray[np.float32], list[NDArray[np.float32]]]]:
    """Yield (type, source's weights, results' weights) of matrices that all results store in one new type."""
    with GGUFFile(model) as source, GGUFFile(results[0]) as ours, GGUFFile(results[1]) as theirs:
        for name, tensor in source.tensors.items():
            made = [ours.tensors[name], theirs.tensors[name]]
            kinds = {encoded.type for encoded in made}
            if len(tensor.shape) == 2 and len(kinds) == 1 and tensor.type not in kinds:
                yield made[0].type.name, tensor.to_float32(), [encoded.to_float32() for encoded in made]


def machine() -> dict[str, object]:
    """Say where and on what this was measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {"commit": commit.stdout.strip(), "machine": platform.machine(), "cores": os.cpu_count()}


def report(sides: Mapping[str, Side]) -> str:
    """Return the table, with the peer's median seconds over ours."""
    ours, theirs = sides.values()
    lines = [
        f"{name}: {side.median_s:.2f} s ({side.least_s:.2f}-{side.most_s:.2f}), peak "
        f"{side.peak_bytes / 1e6:.0f} MB, file {side.file_bytes / 1e6:.1f} MB, error "
        + ", ".join(f"{kind} {error:.3f} %" for kind, error in side.error_percent.items())
        for name, side in sides.items()
    ]
    return "\n".join([*lines, f"ratio: {theirs.median_s / ours.median_s:.2f}", str(machine())])


if __name__ == "__main__":
    main()
