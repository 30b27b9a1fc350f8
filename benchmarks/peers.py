"""Compare Tropilla with llama.cpp and OpenVINO GenAI: same file, same threads, in turn, in one run.

    python -m benchmarks.peers --quick                      three minutes
    python -m benchmarks.peers                              every usual row, about twelve minutes
    python -m benchmarks.peers --rows pp512 'tg*1.1b-Q4_0'  rows of one kind, rows by pattern
    python -m benchmarks.peers --list                       the rows

llama.cpp is built from the source package llama-cpp-python in the cache folder, OpenVINO GenAI is installed
there, and models that are missing are written there (random weights of the 1.1B and 7B shapes; SmolLM2 is
the library's). Every number is of a whole process of its own. --save writes a JSON file and a table to
benchmarks/results.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks import llama_cpp, openvino_peer
from benchmarks.peer_report import Series, as_json, as_markdown
from benchmarks.peer_rows import ROWS, Row, choose
from benchmarks.process import UnavailableError, run_program
from benchmarks.synthetic import SHAPES, write_synthetic
from benchmarks.tropilla_peer import Reading, TropillaPeer
from tropilla.cli.shell import guarded
from tropilla.hub.disk import human_bytes
from tropilla.hub.library import resolve
from tropilla.hub.memory import measure_memory
from tropilla.hub.processor import n_usable_cores, read_processor

ROOT = Path(__file__).parents[1]


class Engine(Protocol):
    """One of the programs that are compared."""

    name: str
    version: str

    def measure(self, row: Row, path: Path) -> Reading:
        """Run a row's work once; raises UnavailableError."""


def main() -> int:
    args = _parse()
    if args.list:
        for row in ROWS:
            print(row.name + ("" if row.by_default else "   (only if named)"))
        return 0
    rows = choose(args.rows, quick=args.quick)
    llama_bin = args.llama_bin or llama_cpp.build(args.cache)
    engines = list(_engines(args, llama_bin))
    models = args.models or args.cache / "models"
    paths = {row.file: model_path(row.file, models, llama_bin) for row in rows}
    all_series = compare(rows, engines, paths, repeats=1 if args.quick else args.repeats, lock=args.lock)
    about = _about(args, engines, repeats=1 if args.quick else args.repeats)
    print(json.dumps(as_json(all_series, about), indent=1) if args.json else as_markdown(all_series, about))
    if args.save:
        save(all_series, about, ROOT / "benchmarks" / "results")
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", nargs="+", default=[], metavar="ROW", help="only rows that match")
    parser.add_argument("--list", action="store_true", help="print the rows and stop")
    parser.add_argument("--quick", action="store_true", help="fewer rows, once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=n_usable_cores())
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "tropilla-peers"
    parser.add_argument("--cache", type=Path, default=cache, help=f"default {cache}")
    parser.add_argument("--models", type=Path, help="folder of the model files; default CACHE/models")
    parser.add_argument("--llama-bin", type=Path, metavar="DIR", help="a llama.cpp build that is ready")
    parser.add_argument(
        "--openvino-python", type=Path, metavar="FILE", help="a Python that has openvino_genai"
    )
    parser.add_argument("--no-openvino", action="store_true", help="leave OpenVINO GenAI out")
    parser.add_argument(
        "--lock", type=Path, help="a file to hold locked during each row's turn of all engines"
    )
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--save", action="store_true", help="write both to benchmarks/results")
    return parser.parse_args()


def _engines(args: argparse.Namespace, llama_bin: Path) -> Iterator[Engine]:
    yield TropillaPeer(args.threads)
    yield llama_cpp.LlamaCpp(llama_bin, args.threads)
    if not args.no_openvino:
        yield openvino_peer.OpenVINO(args.openvino_python or openvino_peer.install(args.cache), args.threads)


def compare(
    rows: Sequence[Row], engines: Sequence[Engine], paths: dict[str, Path], *, repeats: int, lock: Path | None
) -> list[Series]:
    """Measure every row `repeats` times, all engines in turn, in the opposite order every other time.

    Ctrl-C ends it early, with what was measured until then.
    """
    all_series = [Series(row) for row in rows]
    turns = [(repeat, series) for repeat in range(repeats) for series in all_series]
    try:
        for repeat, series in turns:
            print(f"repeat {repeat + 1} of {repeats}: {series.row.name}", file=sys.stderr)
            with _locked(lock):
                for engine in engines if repeat % 2 == 0 else engines[::-1]:
                    _measure(engine, series, paths[series.row.file])
    except KeyboardInterrupt:
        print("interrupted; this is what was measured so far", file=sys.stderr)
    return all_series


def _measure(engine: Engine, series: Series, path: Path) -> None:
    if engine.name in series.missing:
        return
    try:
        reading = engine.measure(series.row, path)
    except UnavailableError as reason:
        if engine.name != openvino_peer.OpenVINO.name or series.row.openvino:
            series.missing[engine.name] = str(reason)
        return
    series.readings.setdefault(engine.name, []).append(reading)


@contextlib.contextmanager
def _locked(path: Path | None) -> Iterator[None]:
    """Hold a file locked, so that whoever heeds it keeps the machine quiet meanwhile."""
    if path is None:
        yield
        return
    import fcntl  # not on Windows, which has no llama.cpp build here either

    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def model_path(stem: str, folder: Path, llama_bin: Path | None) -> Path:
    """Return a model file, made if it is missing: 1.1b-Q4_0, 7b-Q4_K_M, 1.1b-Q4_0-49k or smollm2-TYPE.

    llama_bin: whose quantizer makes the types of SmolLM2 that the library does not have.
    """
    path = folder / f"{stem}.gguf"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    print(f"writing {path}", file=sys.stderr)
    shape, kind, *vocabulary = stem.split("-")
    if shape != "smollm2":
        small = resolve("smollm2") if vocabulary else None
        write_synthetic(path, SHAPES[shape.upper()], kind, vocabulary=small)
    elif kind == "Q4_1":
        shutil.copyfile(resolve("smollm2"), path)
    else:
        assert llama_bin is not None
        quantize = llama_cpp.tool(llama_bin, "quantize")
        run_program([quantize, "--allow-requantize", resolve("smollm2"), path, kind])
    return path


def _about(args: argparse.Namespace, engines: Sequence[Engine], *, repeats: int) -> dict[str, Any]:
    processor = read_processor()
    return {
        "date": datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M"),
        "commit": _commit(),
        "processor": processor.name,
        "cores": processor.n_usable,
        "memory": human_bytes(measure_memory().total_bytes),
        "threads": args.threads,
        "repeats": repeats,
        "versions": {engine.name: engine.version for engine in engines},
    }


def _commit() -> str:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def save(all_series: Sequence[Series], about: dict[str, Any], folder: Path) -> None:
    """Write the JSON file and the table, named by date and commit."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{about['date'].replace(':', '').replace(' ', '-')}-{about['commit']}"
    (folder / f"{name}.json").write_text(json.dumps(as_json(all_series, about), indent=1) + "\n", "utf-8")
    (folder / f"{name}.md").write_text(as_markdown(all_series, about), "utf-8")
    print(f"wrote {folder / name}.json and .md", file=sys.stderr)


def _main() -> int:
    try:
        return main()
    except UnavailableError as reason:
        print(f"peers: {reason}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(guarded(_main))
