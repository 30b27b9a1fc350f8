"""Say what this machine is, what Tropilla makes of it, and whether everything is in order."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from typing import TYPE_CHECKING

from tropilla import __version__

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from tropilla.hub.checkup import Finding
    from tropilla.hub.machine import Machine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--verify", action="store_true", help="compare every model's bytes with its checksum")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the findings; exit status 1 says that something is wrong."""
    from tropilla.hub.checkup import Level, examine
    from tropilla.hub.machine import inspect_machine

    machine = inspect_machine()
    findings = list(examine(machine, verify=args.verify))
    if args.json:
        print(json.dumps(_as_json(machine, findings), indent=1))
    else:
        _show(findings)
    return 1 if any(finding.level is Level.PROBLEM for finding in findings) else 0


def _as_json(machine: Machine, findings: list[Finding]) -> dict[str, object]:
    listed = [{**dataclasses.asdict(finding), "level": finding.level.value} for finding in findings]
    return {"version": __version__, "machine": dataclasses.asdict(machine), "findings": listed}


def _show(findings: list[Finding]) -> None:
    from tropilla.cli.console import make_console, print_trimmed

    console = make_console(markup=False)
    console.print(f"Tropilla {__version__}", style="bold")
    width = max(len(finding.what) for finding in findings)
    for section, members in itertools.groupby(findings, key=lambda finding: finding.section):
        console.print()
        console.print(section, style="bold")
        print_trimmed(console, _section(list(members), width))
    console.print()
    _show_summary(console, findings)


def _section(findings: list[Finding], width: int) -> Table:
    """Return the findings as lines whose long texts wrap under themselves."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(3):
        grid.add_column(overflow="fold")
    for finding in findings:
        mark, style = _MARKS[finding.level.value]
        found = Text(finding.found)
        if finding.next_step:
            found.append(f"  → {finding.next_step}", style="cyan" if mark == "✓" else style)
        grid.add_row(Text(f"  {mark}", style), Text(f"{finding.what:{width}}", "dim"), found)
    return grid


_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "problem": ("✗", "bold red")}


def _show_summary(console: Console, findings: list[Finding]) -> None:
    n_problems = sum(finding.level.value == "problem" for finding in findings)
    if n_problems:
        things = "One thing" if n_problems == 1 else f"{n_problems} things"
        console.print(f"{things} to repair: see ✗ above", style="bold red")
    else:
        console.print("Everything is in order.", style="green")
