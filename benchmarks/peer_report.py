"""Sum up a comparison: ratios with their spread, as JSON and as a table."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.peer_rows import Metric, Row
from benchmarks.tropilla_peer import Reading

OURS, MAIN_PEER = "tropilla", "llama.cpp"


@dataclass
class Series:
    """Every reading of one row, by engine, one for each repeat; and why an engine has none."""

    row: Row
    readings: dict[str, list[Reading]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def values(self, engine: str, metric: Metric) -> list[float]:
        """Return an engine's numbers."""
        return [reading.values[metric.name] for reading in self.readings.get(engine, [])]


class Ratio(NamedTuple):
    """How many times better than a peer, in the middle, at worst and at best of the pairs."""

    median: float
    low: float
    high: float


def ratio(series: Series, metric: Metric, peer: str) -> Ratio | None:
    """Compare the readings pair by pair, as they were taken one after the other; None without any."""
    ours, theirs = series.values(OURS, metric), series.values(peer, metric)
    pairs = [metric.times_better(a, b) for a, b in zip(ours, theirs, strict=False)]
    return Ratio(statistics.median(pairs), min(pairs), max(pairs)) if pairs else None


def as_json(all_series: Sequence[Series], about: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was measured; Any: what JSON holds."""
    rows = []
    for series in all_series:
        for metric in series.row.metrics:
            peers = [name for name in series.readings if name != OURS]
            rows.append(
                {
                    "row": series.row.name,
                    "metric": metric.name,
                    "unit": metric.unit,
                    "goal": metric.aim,
                    "values": {name: series.values(name, metric) for name in series.readings},
                    "times_better": {name: ratio(series, metric, name) for name in peers},
                    "shares": [reading.share for reading in series.readings.get(OURS, [])],
                    "limit": next((r.limit for r in series.readings.get(OURS, []) if r.limit), None),
                    "missing": series.missing,
                }
            )
    return {**about, "rows": rows}


def as_markdown(all_series: Sequence[Series], about: dict[str, Any]) -> str:
    """Return a table for people, after what was measured where."""
    engines = [MAIN_PEER, *sorted({name for s in all_series for name in s.readings} - {OURS, MAIN_PEER})]
    head = ["row", "unit", "Tropilla", "of the limit"]
    for engine in engines:
        head += [engine, "times better"]
    lines = [
        f"# Tropilla {about['commit']} against its peers, {about['date']}",
        "",
        f"{about['processor']}, {about['cores']} cores, {about['threads']} threads, {about['memory']}; "
        + ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        + f". {about['repeats']} repeats in turn; medians (lowest-highest). Times better: of each pair "
        "measured one after the other; more is better in every row, also where less of a unit is.",
        "",
        "| " + " | ".join([*head, "goal"]) + " |",
        "|" + "---|" * (len(head) + 1),
    ]
    lines += [
        "| " + " | ".join(_cells(s, metric, engines)) + " |" for s in all_series for metric in s.row.metrics
    ]
    lines += ["", *_remarks(all_series)]
    return "\n".join(lines) + "\n"


def _cells(series: Series, metric: Metric, engines: Sequence[str]) -> list[str]:
    shares = [reading.share for reading in series.readings.get(OURS, []) if reading.share is not None]
    limit = next((r.limit for r in series.readings.get(OURS, []) if r.limit), "")
    cells = [
        f"{series.row.name} {metric.name}".strip(),
        metric.unit,
        _spread(series.values(OURS, metric)),
        f"{statistics.median(shares):.0%} {limit}" if shares else "",
    ]
    for engine in engines:
        found = ratio(series, metric, engine)
        times = f"**{found.median:.2f}** ({found.low:.2f}-{found.high:.2f})" if found else ""
        cells += [_spread(series.values(engine, metric)), times]
    return [*cells, metric.aim]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{statistics.median(values):.4g} ({min(values):.4g}-{max(values):.4g})"


def _remarks(all_series: Sequence[Series]) -> list[str]:
    remarks = [
        f"{series.row.name}: {name}: {why}" for series in all_series for name, why in series.missing.items()
    ]
    if any(series.row.what.startswith("clients") for series in all_series):
        remarks.append(
            "clients: llama.cpp answers through HTTP on the loopback; Tropilla has no server yet, its "
            "engine is driven in the process, WITHOUT HTTP."
        )
    return [f"- {remark}" for remark in remarks]
