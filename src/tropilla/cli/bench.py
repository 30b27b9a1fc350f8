"""tropilla bench: how fast a model runs here, and what share of this machine's limits that is.

    tropilla bench                              the default model, everything
    tropilla bench smollm2 --only pp512,tg128   a prompt of 512 tokens, an answer of 128
    tropilla bench big.gguf --only tg64x8 --json > results.json

Workloads: pp512 reads a prompt of 512 tokens; tg128 draws 128 tokens, tg128@4k after 4096 others, tg64x8
in 8 sequences at once. Each is measured in every repeat, and so are the limits: how fast all threads read
memory and multiply int8 numbers. A share of 100 % is more than any program can reach.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from tropilla import __version__
from tropilla.cli.model_flags import DEFAULT_MODEL, given_flags
from tropilla.engine.engine_options import EngineOptions
from tropilla.options import add_flags, limits_of

if TYPE_CHECKING:
    from tropilla.api.bench import BenchEvent, BenchOptions, BenchReport, Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    from tropilla.api.bench import DEFAULT_WORKLOADS, NOT_FOR_BENCHMARKS, BenchOptions

    parser.add_argument(
        "model", nargs="?", default=DEFAULT_MODEL, help=f"catalogue name, file or folder ({DEFAULT_MODEL})"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="WORKLOADS",
        help=f"what to measure, with commas between; all if absent: {','.join(DEFAULT_WORKLOADS)}",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    add_flags(parser, BenchOptions, ["repeats", "budget_s", "seed"])
    engine_options = [name for name in limits_of(EngineOptions) if name not in NOT_FOR_BENCHMARKS]
    add_flags(parser.add_argument_group("engine"), EngineOptions, engine_options)


def run(arguments: argparse.Namespace) -> int:
    """Measure, showing how far the work has come, and print the results."""
    from tropilla.api.bench import bench

    options = _options(arguments)  # before any work: a typo must not cost a model's loading
    events = bench(arguments.model, options, **given_flags(EngineOptions, arguments))
    report = _watch(events)
    if arguments.json:
        print(json.dumps(_as_json(report), indent=1))
    else:
        _show(report)
    return 0


def _options(arguments: argparse.Namespace) -> BenchOptions:
    from tropilla.api.bench import BenchOptions

    given = given_flags(BenchOptions, arguments)
    if arguments.only:
        names = (name.strip() for text in arguments.only for name in text.split(","))
        given["workloads"] = tuple(name for name in names if name)
    return BenchOptions(**given)


def _watch(events: Iterator[BenchEvent]) -> BenchReport:
    """Run the events to their end and return the report; Ctrl-C is heard while native code runs."""
    from rich.console import Console

    from tropilla.api.bench import BenchReport
    from tropilla.cli.background import Background
    from tropilla.events import Notice, Progress

    report = None
    with Console(stderr=True).status("starting") as status:  # draws nothing into a pipe or a log
        for event in Background(events):
            if isinstance(event, Progress):
                count = "" if event.total is None else f" ({event.done + 1} of {event.total})"
                status.update(f"{event.what}{count}")
            elif isinstance(event, Notice):
                print(f"note: {event.text}", file=sys.stderr)
            elif isinstance(event, BenchReport):
                report = event
    assert report is not None, "a benchmark that ends without an error has reported"
    return report


def _as_json(report: BenchReport) -> dict[str, object]:
    from tropilla.hub.processor import read_processor

    processor = read_processor()
    machine = {"processor": processor.name, "cores": processor.n_usable}
    return {"version": __version__, "machine": machine, **asdict(report)}


def _show(report: BenchReport) -> None:
    from pathlib import Path

    from tropilla.cli.console import make_console, make_table, print_trimmed
    from tropilla.hub.disk import human_bytes

    console = make_console(markup=False)
    console.print(f"{Path(report.model).name}, {human_bytes(report.file_bytes)}", style="bold")
    print_trimmed(console, f"{report.isa} kernels, {report.threads} threads, loaded in {report.load_s:.2f} s")
    print_trimmed(console, _memory(report))
    print_trimmed(console, _limits(report))
    console.print()
    table = make_table("", "tokens/s", "range", "a token", "of the limit", "", right=_NUMBERS)
    for result in report.results:
        table.add_row(*_row(result))
    print_trimmed(console, table)
    console.print()
    if report.step_of_8 is not None:
        print_trimmed(console, f"Reading 8 tokens at once takes as long as drawing {report.step_of_8:.2g}.")
    print_trimmed(console, f"Medians of {report.repeats} repeats; range: the slowest and the fastest.")


_NUMBERS = ("tokens/s", "range", "a token", "of the limit")


def _row(result: Result) -> tuple[str, ...]:
    share = "" if result.share is None else f"{result.share:.0%}"
    time = f"{result.token_s * 1e3:.2f} ms" if result.token_s < 1 else f"{result.token_s:.2f} s"
    return (
        result.what,
        f"{result.tokens_per_s:.4g}",
        f"{result.low:.4g}-{result.high:.4g}",
        time if not result.reads else f"first {time}",
        share,
        result.limit or "",
    )


def _memory(report: BenchReport) -> str:
    from tropilla.hub.disk import human_bytes

    if report.peak_bytes is None:
        return f"keys and values: {human_bytes(report.kv_bytes)}"
    beyond = report.peak_bytes - report.file_bytes - report.kv_bytes
    words = f"{human_bytes(abs(beyond))} {'more' if beyond > 0 else 'less'} than file, keys and values"
    return f"memory at most {human_bytes(report.peak_bytes)}: {words}"


def _limits(report: BenchReport) -> str:
    from tropilla.hub.disk import human_bytes

    words = f"limits: {human_bytes(report.limits.bandwidth)}/s read from memory"
    if report.limits.int8_peak:
        words += f", {report.limits.int8_peak / 1e9:.0f} billion int8 operations/s"
    return words
