"""Quantize a model file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tropilla.events import Event
from tropilla.formats.checkpoint import open_checkpoint
from tropilla.quant.destination import check_destination
from tropilla.quant.gguf_output import write_gguf
from tropilla.quant.target_types import Wanted, type_by_name


def quantize_file(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    type: str | Wanted,
    *,
    overwrite: bool = False,
) -> Iterator[Event]:
    """Write source, in any format that Tropilla reads, as a GGUF file whose matrices have one type or a mix.

    Vectors stay F32; matrices whose rows are no whole blocks get a type with shorter ones, which a Notice
    says. The file appears whole or not at all. Raises OptionError or UnsupportedError before any work if it
    cannot be done.
    """
    wanted = type_by_name(type if isinstance(type, str) else type.name)
    check_destination(Path(source), Path(destination), overwrite=overwrite)
    with open_checkpoint(source) as checkpoint:
        yield from write_gguf(checkpoint, Path(destination), wanted)
