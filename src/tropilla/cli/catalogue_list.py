"""Print the catalogue: every family with its facts, then every model and how to get it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from tropilla.cli.console import PROSE_WIDTH, make_console, make_table, print_trimmed
from tropilla.cli.quantities import human_count
from tropilla.hub.catalogue import CatalogueModel, Family, HuggingFaceSource, WheelSource, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.padding import Padding
    from rich.table import Table


def show_catalogue(*, as_json: bool) -> None:
    """Print families and models as two tables, or as one JSON object."""
    known = catalogue()
    if as_json:
        families = [dataclasses.asdict(family) for family in known.families]
        print(json.dumps({"families": families, "models": [_as_json(m) for m in known.models]}, indent=1))
        return
    console = make_console(pipe_width=PROSE_WIDTH)
    for family in known.families:
        print_trimmed(console, _family(family))
    console.print(
        "[bold]tropilla pull MODEL[/] gets one, [bold]--file TYPE[/] in another type than the first."
    )
    console.print()
    print_trimmed(console, _models(known.models))
    console.print()
    print_trimmed(console, _by_hand(known.models))
    console.print()
    console.print("* The makers ask you to read and accept their licence before you use these weights.")


def _models(models: Iterable[CatalogueModel]) -> Table:
    table = make_table("model", "weights", "context", "comes as", right=("weights", "context"))
    for model in models:
        numbers = (human_count(model.shape.n_parameters), str(model.shape.context_length))
        table.add_row(_starred(model), *numbers, ", ".join(types_of(model)) or "see below")
    return table


def _by_hand(models: Iterable[CatalogueModel]) -> Table:
    """Say how to get each model that comes in no listed type."""
    table = make_table("model", "how to get it")
    for model in models:
        if not types_of(model):
            table.add_row(_starred(model), model.how_to_get)
    return table


def _starred(model: CatalogueModel) -> str:
    return model.name + (" *" if model.gated else "")


def _family(family: Family) -> Padding:
    """Return a family's facts as a short paragraph under its name."""
    from rich.padding import Padding

    facts = [f"prompt format: {family.prompt_format}", f"licence: {family.licence}"]
    if family.recipe:
        facts.append(f"recipe: {family.recipe}")
    lines = [f"[bold]{family.title}[/]  {family.sizes}", f"data: {family.training_data}", " · ".join(facts)]
    return Padding("\n".join(lines), (0, 0, 1, 0), expand=False)


def types_of(model: CatalogueModel) -> list[str]:
    """Return the types in which a model can be pulled, the usual one first."""
    if isinstance(model.source, HuggingFaceSource):
        return list(model.source.files)
    if isinstance(model.source, WheelSource):
        return [model.source.member.split(".")[-2]]
    return []


def _as_json(model: CatalogueModel) -> dict[str, object]:
    entry = dataclasses.asdict(model)
    del entry["source"], entry["get"]
    more = {"parameters": model.shape.n_parameters, "types": types_of(model), "how_to_get": model.how_to_get}
    return {**entry, **more}
