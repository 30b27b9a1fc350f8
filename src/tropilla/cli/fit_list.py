"""Print which catalogue models run on this machine, the best first, and why the others do not."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

from tropilla.cli.console import PROSE_WIDTH, make_console, make_table, print_trimmed
from tropilla.hub.catalogue import catalogue
from tropilla.hub.disk import human_bytes
from tropilla.hub.fit import Budget, Fit, Verdict, best_of_each, fit_all

_COLOURS = {Verdict.RUNS: "green", Verdict.SLOW: "yellow", Verdict.BIG: "dim"}


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A budget and, in words, where its two numbers come from."""

    budget: Budget
    words: str


def show_fit(args: argparse.Namespace) -> None:
    """Print the ranking as a table, or as JSON."""
    plan = _plan(args)
    fits = fit_all(catalogue().models, plan.budget)
    shown = fits if args.all_types else best_of_each(fits)
    if args.json:
        print(json.dumps([_as_json(fit) for fit in shown], indent=1))
    else:
        _show(plan, shown)


def _plan(args: argparse.Namespace) -> _Plan:
    from tropilla.hub.limits import measure_bandwidth
    from tropilla.hub.memory import measure_memory
    from tropilla.hub.processor import n_usable_cores

    memory, bandwidth = args.memory, args.bandwidth
    sources = []
    if memory is None:
        memory = measure_memory().available_bytes
        sources.append(f"{human_bytes(memory)} of memory free")
    else:
        sources.append(f"{human_bytes(memory)} of memory, as given")
    if bandwidth is None:
        bandwidth = measure_bandwidth(n_usable_cores())
        sources.append(f"{human_bytes(bandwidth)}/s measured bandwidth")
    else:
        sources.append(f"{human_bytes(bandwidth)}/s bandwidth, as given")
    wishes = {"context_length": args.context, "min_speed": args.min_speed}
    given = {name: value for name, value in wishes.items() if value is not None}
    budget = Budget(memory=int(memory), bandwidth=bandwidth, **given)
    return _Plan(budget=budget, words=", ".join(sources))


def _show(plan: _Plan, fits: list[Fit]) -> None:
    console, budget = make_console(pipe_width=PROSE_WIDTH), plan.budget
    console.print(f"[bold]This machine:[/] {plan.words}")
    asked = f"{budget.context_length} tokens of context, {budget.min_speed:g} tokens/s or more"
    console.print(f"[bold]Asked for:[/] {asked}")
    console.print(_recommendation(fits))
    console.print()
    table = make_table(*_HEADINGS, right=_NUMBERS)
    for fit in fits:
        colour = _COLOURS[fit.verdict]
        table.add_row(
            fit.model.name,
            fit.mix,
            human_bytes(fit.needed_bytes),
            f"{fit.speed:.3g}",
            f"[{colour}]{fit.verdict.value}[/]",
            pull_command(fit).removeprefix(_PULL) if fit.model.source else "(by hand)",
        )
    print_trimmed(console, table)
    console.print()
    print_trimmed(
        console,
        "[dim]Order: the quality expected from weights, training tokens and rounding. "
        "Speed: an upper bound, bandwidth over the bytes that each token reads. "
        "By hand: tropilla models --catalogue says how.[/]",
    )


_PULL = "tropilla pull "
_HEADINGS = ("model", "type", "needs", "tokens/s", "verdict", _PULL + "...")
_NUMBERS = ("needs", "tokens/s")


def _recommendation(fits: list[Fit]) -> str:
    best = fits[0]
    if best.verdict is not Verdict.RUNS:
        return "[bold yellow]Nothing in the catalogue runs well within that; the nearest come first.[/]"
    name = f"{best.model.title} in {best.mix}"
    return f"[bold green]Best:[/] {name}, up to {best.speed:.3g} tokens/s:  [bold]{pull_command(best)}[/]"


def pull_command(fit: Fit) -> str:
    """Return the command that fetches the model in this type, or how else to get it."""
    source = fit.model.source
    files = getattr(source, "files", None)
    if files and next(iter(files)) != fit.mix:
        return f"{_PULL}{fit.model.name} --file {fit.mix}"
    return fit.model.how_to_get if source else "by hand, see --catalogue"


def _as_json(fit: Fit) -> dict[str, object]:
    return {
        "model": fit.model.name,
        "type": fit.mix,
        "verdict": fit.verdict.value,
        "needed_bytes": fit.needed_bytes,
        "tokens_per_s": round(fit.speed, 2),
        "context_length": fit.context_length,
        "expected_loss": round(fit.expected_loss, 4),
        "how_to_get": pull_command(fit),
    }
