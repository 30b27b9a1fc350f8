"""Print the catalogue: every family with its facts, then every model and how to get it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from tropilla.cli.console import make_console, make_table
from tropilla.cli.quantities import human_count
from tropilla.hub.catalogue import CatalogueModel, Family, HuggingFaceSource, WheelSource, catalogue

if TYPE_CHECKING:
    from rich.padding import Padding


def show_catalogue(*, as_json: bool) -> None:
    """Print families and models as two tables, or as one JSON object."""
    known = catalogue()
    if as_json:
        families = [dataclasses.asdict(family) for family in known.families]
        print(json.dumps({"families": families, "models": [_as_json(m) for m in known.models]}, indent=1))
        return
    console = make_console()
    for family in known.families:
        console.print(_family(family), soft_wrap=False)
    console.print()
    models = make_table("model", "weights", "context", "comes as", "how to get it", right=_NUMBERS)
    for model in known.models:
        numbers = (human_count(model.shape.n_parameters), str(model.shape.context_length))
        models.add_row(model.name, *numbers, ", ".join(types_of(model)) or "-", _how(model))
    console.print(models)
    console.print()
    console.print("* The makers ask you to read and accept their licence before you use these weights.")


_NUMBERS = ("weights", "context")


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


def _how(model: CatalogueModel) -> str:
    return model.how_to_get + (" *" if model.gated else "")


def _as_json(model: CatalogueModel) -> dict[str, object]:
    entry = dataclasses.asdict(model)
    del entry["source"], entry["get"]
    more = {"parameters": model.shape.n_parameters, "types": types_of(model), "how_to_get": model.how_to_get}
    return {**entry, **more}
