"""The flags that every verb with a model shares, and the model that they open."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tropilla.engine.engine_options import EngineOptions
from tropilla.engine.sampling import Sampling, themes
from tropilla.options import add_flags, limits_of

if TYPE_CHECKING:
    from tropilla.api import Model

DEFAULT_MODEL = "smollm2"


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Add --format, and a flag for each option of sampling and engine in groups by theme."""
    parser.add_argument(
        "--format", metavar="NAME", help="a released prompt format in place of the model's own"
    )
    for heading, names in themes().items():
        add_flags(parser.add_argument_group(f"sampling ({heading})"), Sampling, names)
    add_flags(parser.add_argument_group("engine"), EngineOptions)


def given_flags(options_class: type, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of a class that the command line names, without the defaults of the rest."""
    return {name: getattr(arguments, name) for name in limits_of(options_class) if hasattr(arguments, name)}


def model_opener(arguments: argparse.Namespace) -> Callable[[str], Model]:
    """Return a function that loads a model by name or path with the engine flags that were given."""
    given = given_flags(EngineOptions, arguments)

    def open_model(name: str) -> Model:
        from tropilla.api import load

        return load(name, prompt_format=arguments.format, **given)

    return open_model
