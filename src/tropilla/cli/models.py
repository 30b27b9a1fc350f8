"""tropilla models: what is in the library, what there is to get, and what fits this machine."""

from __future__ import annotations

import argparse
import json
from typing import Any

from tropilla.hub.disk import human_bytes
from tropilla.hub.library import InstalledModel, broken, installed, models_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def run(args: argparse.Namespace) -> int:
    """Print the chosen list."""
    models = installed()
    if args.json:
        print(json.dumps([_as_json(model) for model in models], indent=1))
        return 0
    _print_installed(models)
    return 0


def _as_json(model: InstalledModel) -> dict[str, Any]:  # Any: JSON
    return {
        "name": model.name,
        "path": str(model.path),
        "size_bytes": model.size_bytes,
        "licence": model.receipt.licence,
        "origin": model.receipt.origin,
    }


def _print_installed(models: list[InstalledModel]) -> None:
    if not models:
        print(f"The library ({models_folder()}) is empty; get a model with: tropilla pull smollm2")
    for model in models:
        print(f"{model.name}  {human_bytes(model.size_bytes)}  {model.receipt.licence}  {model.path}")
    for problem in broken():
        print(f"broken: {problem}")
